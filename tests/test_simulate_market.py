"""The simulated market has what its docstring promises, measured on the bars alone."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simulate_market
from core.errors import CampaignError
from core.params import check_section
from simulate_market import HALT, MAX_OUTAGE, STEPS, Market, Shocks, follow_trend, simulate, simulate_asset

DEFAULTS = {"seed": 9, "assets": 6, "bars": 4000, "start": "2022-01-03", "signal": 0.3}
LARGE = DEFAULTS | {"assets": 4, "bars": 40_000}
HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def default() -> dict[str, pd.DataFrame]:
    return dict(simulate(**DEFAULTS))


@pytest.fixture(scope="module")
def large() -> dict[str, pd.DataFrame]:
    return dict(simulate(**LARGE))


def pairs_with_no_signal(
    market: dict[str, pd.DataFrame],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    without = dict(simulate(**LARGE | {"signal": 0.0}))
    return zip(market.values(), without.values(), strict=True)


def returns(frame: pd.DataFrame) -> pd.Series:
    """Compute hourly log returns; NaN across a gap, so that every return keeps its calendar hour."""
    return np.log(frame["Close"]).asfreq("h").diff()


def positives(frame: pd.DataFrame) -> pd.Series:
    """Find the bars where +5 % comes before -2 % within 8 bars; slow and plain on purpose."""
    close, high, low = (frame[name].tolist() for name in ("Close", "High", "Low"))
    labels = []
    for row in range(len(frame) - 8):
        label = False
        for ahead in range(row + 1, row + 9):
            if low[ahead] <= close[row] * 0.98:
                break
            if high[ahead] >= close[row] * 1.05:
                label = True
                break
        labels.append(label)
    return pd.Series(labels, index=frame.index[:-8])


def normalised(frame: pd.DataFrame) -> pd.Series:
    """Divide returns by the volatility known before the hour."""
    move = returns(frame)
    return move / (move**2).ewm(span=48).mean().shift() ** 0.5


def trend_of_bars(frame: pd.DataFrame) -> pd.Series:
    """Estimate D of the module's docstring from bars alone."""
    volume = np.log(frame["Volume"]).asfreq("h")
    surprise = np.tanh(volume - volume.ewm(alpha=1 / 24).mean() - 0.9)
    return (0.7 * surprise * normalised(frame)).ewm(alpha=0.1).mean() * 10


def t_value(one: pd.Series, other: pd.Series) -> float:
    """Compute the t value of the correlation, over the hours where both are known."""
    both = pd.concat([one, other], axis=1).dropna()
    r = both.corr().iloc[0, 1]
    return r * np.sqrt((len(both) - 2) / (1 - r**2))


def write_params(folder: Path, **changes: object) -> None:
    (folder / "params.yaml").write_text(json.dumps({"market": DEFAULTS | {"bars": 400, "assets": 2} | changes}))


def run_main(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> dict[str, bytes]:
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_params(folder, **changes)
    simulate_market.main()
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("data/**/*")) if p.is_file()}


def test_main_writes_the_same_bytes_twice_and_others_for_another_seed(tmp_path, monkeypatch):
    once, again, other = (run_main(tmp_path / name, monkeypatch, seed=seed) for name, seed in zip("abc", (9, 9, 10), strict=True))
    assert list(once) == [
        "data/simulated/SIM01/1Hour/data.parquet",
        "data/simulated/SIM02/1Hour/data.parquet",
        "data/simulated/SIMULATED.json",
    ]
    assert once == again
    assert all(once[name] != other[name] for name in once)


def test_files_hold_the_simulated_bars(tmp_path, monkeypatch):
    run_main(tmp_path / "a", monkeypatch)
    for symbol, frame in simulate(**DEFAULTS | {"bars": 400, "assets": 2}):
        pd.testing.assert_frame_equal(pd.read_parquet(f"data/simulated/{symbol}/1Hour/data.parquet"), frame)
    marker = json.loads(Path("data/simulated/SIMULATED.json").read_text())
    assert marker["simulated"] is True and "Simulated bars" in marker["note"] and marker["market"]["seed"] == 9


@pytest.mark.parametrize(
    "name", ["BTC/1Hour/data.parquet", "SIM02/1Hour/notes.txt", "SIM100/x", "README", "SIM01/1Day/data.parquet"]
)
def test_foreign_files_beside_the_bars_are_named_and_left_alone(tmp_path, monkeypatch, name):
    before = run_main(tmp_path / "a", monkeypatch)
    strange = Path("data/simulated") / name
    strange.parent.mkdir(parents=True, exist_ok=True)
    strange.write_text("mine")
    write_params(tmp_path / "a", seed=10)
    shown = {"BTC/1Hour/data.parquet": "BTC", "SIM100/x": "SIM100", "SIM01/1Day/data.parquet": "SIM01/1Day"}.get(name, name)
    with pytest.raises(CampaignError, match=f"data/simulated holds {shown}, not of this market; DVC would take it for a part"):
        simulate_market.main()
    assert strange.read_text() == "mine"
    assert all(Path(path).read_bytes() == content for path, content in before.items()), "and nothing is written"
    strange.rename(tmp_path / "elsewhere")
    for parent in strange.parents[: len(Path(name).parents) - 1]:
        if not list(parent.iterdir()):
            parent.rmdir()
    simulate_market.main()


def test_leftovers_of_an_earlier_run_are_removed(tmp_path, monkeypatch):
    run_main(tmp_path / "a", monkeypatch, assets=3)
    Path("data/simulated/SIM03/1Hour/data.parquet.tmp").touch()
    Path("data/simulated/SIMULATED.json.tmp").touch()
    Path("data/simulated/SIM04/1Hour").mkdir(parents=True)
    write_params(tmp_path / "a", assets=1)
    simulate_market.main()
    assert sorted(path.name for path in Path("data/simulated").iterdir()) == ["SIM01", "SIMULATED.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"start": "2022-1-3"},
            "market.start is '2022-1-3'; it must be a date from 1970 to 2099 in quotes",
        ),
        ({"start": "20220103"}, "market.start"),
        ({"start": "2022-02-30"}, "market.start"),
        ({"start": 2022}, "market.start"),
        (
            {"signal": -0.1},
            "market.signal is -0.1; it must be greater than or equal to 0",
        ),
        ({"assets": 0}, "market.assets"),
        ({"bars": 299}, "market.bars"),
        ({"noise": 1}, "market.noise is unknown"),
    ],
)
def test_bad_settings_are_refused_by_name(change, message):
    with pytest.raises(CampaignError) as caught:
        check_section("market", DEFAULTS | change, Market)
    assert message in str(caught.value)


def test_the_schema_and_simulate_name_the_same_settings():
    assert list(Market.model_fields) == list(inspect.signature(simulate).parameters)


def test_an_additional_asset_changes_no_other(default):
    more = dict(simulate(**DEFAULTS | {"assets": 7}))
    assert list(more) == [f"SIM{number:02}" for number in range(1, 8)]
    for symbol, frame in default.items():
        pd.testing.assert_frame_equal(more[symbol], frame, check_exact=True)


def test_bars_are_coherent(large):
    for frame in large.values():
        assert list(frame) == ["Open", "High", "Low", "Close", "Volume"] and (frame.dtypes == "float64").all()
        assert np.isfinite(frame).all(axis=None) and (frame > 0).all(axis=None)
        body = frame[["Open", "Close"]]
        above, below = frame["High"] - body.max(axis=1), body.min(axis=1) - frame["Low"]
        assert (above >= 0).all() and (below >= 0).all()
        assert (above > 0).mean() > 0.6 and (below > 0).mean() > 0.6, "extremes of a path, not of its ends"


def test_prices_never_fall_below_one_tick():
    """Without the floor of one tick such prices would be rounded to zero, and the bars refused."""
    bars = 400
    crash = Shocks(np.full((bars, STEPS), -0.5), np.ones(bars))
    frame = simulate_asset(np.random.default_rng(1), 0, pd.date_range("2022-01-03", periods=bars, freq="h"), crash, 0.0)
    assert frame["Low"].min() in (1e-5, 1e-4, 1e-3)
    assert (frame[["Open", "High", "Low", "Close"]] > 0).all(axis=None)


@pytest.mark.slow
def test_prices_stay_in_range_for_a_century_at_the_strongest_signal():
    for _, frame in simulate(**DEFAULTS | {"seed": 7, "assets": 2, "bars": 876_000, "start": "1970-01-01", "signal": 1.0}):
        start = frame["Open"].iloc[0]
        assert frame["Low"].min() > start / 1000 and frame["High"].max() < start * 1e5


def test_opens_are_near_the_previous_close_and_sometimes_equal(default):
    for frame in default.values():
        step = frame.index.to_series().diff() == HOUR
        jump = np.log(frame["Open"] / frame["Close"].shift())[step]
        assert 0.2 < (jump == 0).mean() < 0.5
        assert jump.std() < 0.1 * returns(frame).std()


def test_timestamps_are_increasing_hours_in_utc(default):
    for frame in default.values():
        assert frame.index.name == "timestamp" and str(frame.index.tz) == "UTC"
        assert frame.index[0] == pd.Timestamp("2022-01-03", tz="UTC")
        steps = frame.index.to_series().diff().dropna()
        assert (steps >= HOUR).all() and (steps % HOUR == pd.Timedelta(0)).all()


def test_outages_are_short_and_shared_and_one_asset_halts_for_long(default):
    calendar = pd.date_range("2022-01-03", periods=DEFAULTS["bars"], freq="h", tz="UTC")
    missing = {symbol: calendar.difference(frame.index) for symbol, frame in default.items()}
    shared = missing["SIM01"]
    runs = shared.to_series().groupby((shared.to_series().diff() != HOUR).cumsum()).size()
    assert 2 <= len(runs) <= 5 and runs.max() <= MAX_OUTAGE
    for symbol, gap in missing.items():
        if symbol == "SIM02":
            assert shared.isin(gap).all() and len(gap.difference(shared)) <= HALT
            assert default[symbol].index.to_series().diff().max() > 96 * HOUR
        else:
            assert gap.equals(shared)


def test_volatility_clusters_and_returns_do_not(large):
    for frame, none in pairs_with_no_signal(large):
        move = returns(frame)
        assert all(move.abs().autocorr(lag) > 0.1 for lag in (1, 6))
        assert all(abs(move.autocorr(lag)) < 0.1 for lag in (1, 2, 6, 24))
        assert all(abs(returns(none).autocorr(lag)) < 0.05 for lag in (1, 2, 6, 24))
        assert move.kurt() > 3, "excess kurtosis of a normal distribution is 0"


def test_assets_differ_in_volatility_and_move_together(large):
    table = pd.DataFrame({symbol: returns(frame) for symbol, frame in large.items()})
    assert table.std().max() > 1.5 * table.std().min()
    pairs = table.corr().to_numpy()[np.triu_indices(len(large), 1)]
    assert pairs.min() > 0.3 and pairs.max() < 0.85 and np.ptp(pairs) > 0.05


def test_days_and_weeks_have_a_rhythm(large):
    for frame in large.values():
        move, volume = returns(frame).abs(), np.log(frame["Volume"])
        assert move[move.index.hour == 14].mean() > 1.2 * move[move.index.hour == 6].mean()
        assert volume[volume.index.hour == 15].mean() > volume[volume.index.hour == 4].mean() + 0.4
        for series, least in ((np.log(move[move > 0]), 0.08), (volume, 0.2)):
            weekend = series.index.day_of_week >= 5
            assert series[~weekend].mean() > series[weekend].mean() + least


def test_volume_rises_with_the_size_of_the_move(large):
    for frame in large.values():
        assert np.log(frame["Volume"]).corr(returns(frame).abs()) > 0.3
        assert np.log(frame["Volume"]).autocorr() > 0.6


def test_the_signal_can_be_found_unless_it_is_zero(large):
    for frame, none in pairs_with_no_signal(large):
        for bars, present in ((frame, True), (none, False)):
            ahead = normalised(bars).shift(-1)
            by_trend = t_value(ahead, np.tanh(trend_of_bars(bars)))
            by_hour = t_value(
                ahead,
                pd.Series(np.cos(2 * np.pi * (ahead.index.hour + 1 - 21) / 24), ahead.index),
            )
            assert (min(by_trend, by_hour) > 8) if present else (max(abs(by_trend), abs(by_hour)) < 4)


@pytest.mark.parametrize("signal", [0.3, 0.7, 1.0])
def test_bars_show_the_drift(signal, monkeypatch):
    """D follows the whole move. A trend of shocks alone, which no bar shows, correlated with this by 0.4 at most."""
    trends = []

    def spy(shock: np.ndarray, surprise: np.ndarray, daily: np.ndarray, signal: float) -> np.ndarray:
        drift = follow_trend(shock, surprise, daily, signal)
        trends.append((drift - daily) / 1.6)
        return drift

    monkeypatch.setattr(simulate_market, "follow_trend", spy)
    market = {"assets": 1, "bars": 8000, "signal": signal}
    ((_, frame),) = simulate(**DEFAULTS | market)
    hours = pd.date_range(DEFAULTS["start"], periods=market["bars"], freq="h", tz="UTC")
    both = pd.concat([pd.Series(trends[0], hours), np.tanh(trend_of_bars(frame)).shift()], axis=1).dropna()
    assert both.iloc[100:].corr().iloc[0, 1] > 0.9


def test_moves_continue_after_high_volume_and_are_reversed_after_low(large):
    for frame in large.values():
        move, volume = normalised(frame), np.log(frame["Volume"]).asfreq("h")
        high = volume > volume.ewm(alpha=1 / 24).mean() + 0.9
        assert move.shift(-1)[high].corr(move[high]) > 0.1
        assert move.shift(-1)[~high].corr(move[~high]) < -0.02


def test_the_share_of_positives_is_workable_in_every_split(default):
    labels = pd.concat([positives(frame) for frame in default.values()])
    hours = (labels.index - labels.index.min()) / HOUR / DEFAULTS["bars"]
    for low, high in ((0, 0.7), (0.7, 0.85), (0.85, 1)):
        assert 0.06 < labels[(hours >= low) & (hours < high)].mean() < 0.16
