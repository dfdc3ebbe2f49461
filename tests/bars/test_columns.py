"""Columns of the files as features, and symbols that look like numbers, through the stage."""

import json
from pathlib import Path

import numpy as np
import pytest

import generate_data
from scaffold import make_frame, refusal, write_params, write_symbol
from tools import doctor

MARKET = {"bars": "bars", "profit": 0.02, "stop": 0.01}


def write_market(**columns: float) -> None:
    for number, symbol in enumerate(("000001", "600519")):
        frame = make_frame(900, seed=number)
        write_symbol(Path("bars"), symbol, frame.assign(**{name: frame["Close"] * value for name, value in columns.items()}))


def test_a_column_of_a_computed_features_name_is_warned_of(desk, capsys):
    write_market(rsi_14=1.0, mood=1.0)
    write_params(desk, data=MARKET | {"features": ["rsi_14", "mood"]})
    generate_data.main()
    warning = "warning: the column rsi_14 of 000001, 600519 is not used: the computed feature rsi_14 hides it; rename"
    assert f"generate_data: {warning}" in capsys.readouterr().err
    doctor.main()
    assert warning in capsys.readouterr().out
    write_params(desk, data=MARKET | {"features": ["return_1", "mood"]})
    generate_data.main()
    assert "is not used" not in capsys.readouterr().err


def test_a_column_may_be_empty_where_no_row_is_used(desk):
    write_market(mood=1.0)
    write_params(desk, data=MARKET | {"features": ["mood"]})
    generate_data.main()
    before = np.load("data/training_data/train_X.npy")
    frame = make_frame(900).assign(mood=lambda frame: frame["Close"])
    frame.iloc[:100, frame.columns.get_loc("mood")] = np.nan
    write_symbol(Path("bars"), "000001", frame)
    generate_data.main()
    np.testing.assert_array_equal(np.load("data/training_data/train_X.npy"), before)
    frame.iloc[100, frame.columns.get_loc("mood")] = np.nan
    write_symbol(Path("bars"), "000001", frame)
    assert "NaN in mood, not counted those of the first 100 bars, in 1 of 900 rows" in refusal(generate_data.main)


@pytest.mark.parametrize(
    ("written", "finding"),
    [
        (
            "[600519, 000001]",
            'item 1 of data.symbols is 600519; it must be text, in quotes: "600519"; item 2 of data.symbols is 1;',
        ),
        ("[000001]", 'item 1 of data.symbols is 1; it must be text, in quotes: "1" or "000001"'),
    ],
    ids=["both", "zeros"],
)
def test_symbols_of_digits_need_quotes(desk, written, finding):
    write_market()
    write_params(desk, data=MARKET | {"symbols": ["REPLACED"], "features": ["return_1"]})
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("[REPLACED]", written))
    assert finding in refusal(generate_data.main)
    quoted = params.replace("[REPLACED]", '["600519", "000001"]')
    Path("params.yaml").write_text(quoted)
    generate_data.main()
    assert json.loads(Path("data/training_data/asset_id_mapping.json").read_text()) == {"000001": 0, "600519": 1}
