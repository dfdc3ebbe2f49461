"""A feature that knows the future in one hour of the day stops `dvc repro`, and nothing is written."""

import pytest

from scaffold import Clone

pytestmark = pytest.mark.slow

HONEST = '    return {f"return_{n}": talib.ROCP(bars.close, n) for n in (1, 4, 24)}\n'
LEAKY = """
    columns = {f"return_{n}": talib.ROCP(bars.close, n) for n in (1, 4, 24)}
    is_leaky = bars.timestamps.astype("datetime64[h]").astype(int) % 24 == 17
    ahead = np.append(bars.close[8:] / bars.close[:-8] - 1, np.zeros(8))
    return columns | {"return_4": np.where(is_leaky, ahead, columns["return_4"])}
"""


def test_a_feature_that_knows_the_future_in_one_hour_of_the_day_stops_dvc_repro(tmp_path):
    clone = Clone(tmp_path)
    source = clone.directory / "src/bars/features.py"
    code = source.read_text()
    assert HONEST in code
    source.write_text(code.replace(HONEST, LEAKY.lstrip("\n")))
    done = clone.run("dvc repro generate_data", fails=True)
    assert "generate_data: feature return_4 knows the future: later bars change the value" in done.stderr
    assert not (clone.directory / "data/training_data").exists()
