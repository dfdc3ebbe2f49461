"""Simulated hourly bars of several assets, with the traits of real hourly crypto returns and a known signal.

All bars are made up. Everything follows from the seed: one random stream for the market, one for each asset, so that
one asset more changes no other. Hour t of asset i, with K = 12 steps k inside each hour, rhythms in UTC, e and n
standard normal, cycle(p, T) = cos(2 pi (hour[t] - p) / T), weekend 0 or 1, and x[t] alone the sum of x[t, k] over k:

    shocks      a[t, k] = n[t, k] sqrt(w[t] / K) + jump,   w[t] = 4 / chi2(6): Student's t over the hour, variance 1;
                jump    = 4 e in one step of about 1 hour in 400, otherwise 0
    clustering  h[t]    = 0.03 + (0.12 a[t-1]^2 + 0.85) h[t-1]: GARCH(1, 1), mean about 1.2
    factor      the market has shocks and clustering of its own, A and H; b is the asset's share of it, 0.35 to 0.75
    variance    g[t]    = b H[t] + (1 - b) h[t]
                z[t, k] = (sqrt(b H[t]) A[t, k] + sqrt((1 - b) h[t]) a[t, k]) / sqrt(g[t])
    volatility  s[t]    = level exp(0.12 cycle(15, 24) + 0.08 cycle(1, 12) - 0.13 weekend) sqrt(g[t]);
                level 0.7 % to 1.6 %, fixed for each asset
    log volume  v[t]    = 0.5 log(|z[t]| + 0.1) + 0.8 log(s[t] / level) + 0.3 cycle(15, 24) - 0.3 weekend + u[t];
                u[t]    = 0.9 u[t-1] + 0.3 e
    surprise    q[t]    = tanh(v[t] - m[t] - 0.9),   m[t] = m[t-1] + (v[t] - m[t-1]) / 24
    trend       D[t]    = 0.9 D[t-1] + 0.7 q[t] z[t]
    drift       d[t]    = signal s[t] (1.6 tanh(D[t-1]) + 0.5 cycle(21, 24))
    log price   x[t]    = (1 - 1/5000) x[t-1] + s[t] z[t] + d[t]

The signal in words: moves made on high volume go on for some hours, moves made on low volume are taken back, and the
hours around 21 UTC drift up, those around 9 UTC down. The last 24 bars show nearly all of it, but return and volume
count as a product, hour by hour, so that the order inside the window matters. 0.9 balances the two kinds of move, which
leaves the return of an hour nearly uncorrelated with that of the hour before (by 0.02 to 0.05 at 0.3, and 0.4 at 1); 1.6
and 0.5 make `signal` the drift's root mean square in standard deviations of an hour. At 0 volatility can be foreseen and
direction cannot. The values that a few thousand bars suffice to find, around 0.3, are far above any real market.

The pull of the price to its start, too weak to trade on, keeps prices in range for a century of hours, where the signal
is no stronger than that; at 1 they can fall to a tick, and never below. It and the drift are spread evenly over the steps
of the hour; High and Low are the extremes of the steps and the Open.

Then come the ways in which real bars are imperfect: prices on a tick, opens that often lie a little off the previous
close, a few hours missing about every 1000 in all assets at once, and 100 missing hours in the second asset.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import datetime
import io
import re
import shutil
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence, default_rng
from pydantic import BeforeValidator, Field

import stage
from core.errors import CampaignError, few

OUT = Path("data/simulated")
STEPS = 12  # steps an hour: High and Low are extremes of a path
OUTAGE_EVERY, OUTAGE_LONGEST = 1000, 11  # hours
HALTED, HALT = 1, 100  # which asset, hours


def iso_date(value: object) -> object:
    """Text, not a YAML date: the same value for DVC, for JSON and for a reader."""
    try:
        if isinstance(value, str) and str(datetime.date.fromisoformat(value)) == value and "1970" <= value < "2100":
            return value
    except ValueError:
        pass
    raise ValueError('a date from 1970 to 2099 in quotes, such as "2022-01-03"')


class Market(stage.Settings):
    seed: int = Field(ge=0, le=2**32 - 1)
    assets: int = Field(ge=1, le=99)
    bars: int = Field(ge=300, le=1_000_000)
    start: Annotated[str, BeforeValidator(iso_date)]
    signal: float = Field(ge=0, le=1)


class Shocks(NamedTuple):
    steps: np.ndarray  # (bars, STEPS), variance 1 / STEPS each
    variance: np.ndarray  # (bars,), mean about 1, known before the hour


def recursion(factor: np.ndarray | float, term: np.ndarray, first: float = 0.0) -> np.ndarray:
    """y[t] = factor[t] y[t-1] + term[t], (bars,), with y[-1] = `first`: plain floats, the same bits everywhere."""
    factors = np.broadcast_to(factor, term.shape).tolist()
    values = accumulate(zip(factors, term.tolist(), strict=True), lambda y, at: at[0] * y + at[1], initial=first)
    next(values)
    return np.fromiter(values, float, len(term))


def lagged(values: np.ndarray, first: float = 0.0) -> np.ndarray:
    return np.concatenate([[first], values[:-1]])


def draw_shocks(rng: Generator, bars: int) -> Shocks:
    steps = rng.standard_normal((bars, STEPS))
    steps *= np.sqrt(4 / rng.chisquare(6, bars) / STEPS)[:, None]
    jumps = np.flatnonzero(rng.random(bars) < 1 / 400)
    steps[jumps, rng.integers(STEPS, size=len(jumps))] += 4 * rng.standard_normal(len(jumps))
    square = lagged(steps.sum(axis=1), first=1.0) ** 2
    return Shocks(steps, recursion(0.12 * square + 0.85, np.full(bars, 0.03), first=1.0))


def wave(hours: np.ndarray, peak: float, period: float = 24.0) -> np.ndarray:
    return np.cos(2 * np.pi * (hours - peak) / period)


def spread(index: int, low: float, high: float, turn: float) -> float:
    """A value for asset `index`: however many assets there are, theirs lie evenly between `low` and `high`."""
    return low + (high - low) * ((index + 1) * turn % 1.0)


def simulate(*, seed: int, assets: int, bars: int, start: str, signal: float) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield symbol and bars, one asset at a time.

    Args:
        bars: Hours in the calendar; outages take a few away.
        start: Day on which the calendar starts at 0:00 UTC.
        signal: Root mean square of the drift that can be foreseen, in standard deviations of an hour.

    Yields:
        Symbol and frame: index `timestamp` (UTC, opening time), columns Open, High, Low, Close, Volume as float64.
    """
    hours = pd.date_range(start, periods=bars, freq="h", tz="UTC", name="timestamp", unit="us")
    rng = default_rng(SeedSequence(seed, spawn_key=(0,)))
    market = draw_shocks(rng, bars)
    open_for_all = np.ones(bars, dtype=bool)
    for block in range(0, bars, OUTAGE_EVERY):
        first = block + rng.integers(1, OUTAGE_EVERY - OUTAGE_LONGEST)
        open_for_all[first : first + rng.integers(1, OUTAGE_LONGEST, endpoint=True)] = False
    for index in range(assets):
        rng = default_rng(SeedSequence(seed, spawn_key=(1 + index,)))
        traded = open_for_all.copy()
        if index == HALTED:
            traded[bars * 2 // 5 :][:HALT] = False
        yield (
            f"SIM{1 + index:02}",
            simulate_asset(rng, index, hours, market, signal)[traded],
        )


def simulate_asset(rng: Generator, index: int, hours: pd.DatetimeIndex, market: Shocks, signal: float) -> pd.DataFrame:
    """The bars of asset `index` for all `hours`; see the top of this file for the equations."""
    bars = len(hours)
    level, share = (
        spread(index, 0.007, 0.016, turn=0.618),
        spread(index, 0.35, 0.75, turn=0.414),
    )
    hour, weekend = hours.hour.to_numpy(), hours.day_of_week.to_numpy() >= 5

    own = draw_shocks(rng, bars)
    variance = share * market.variance + (1 - share) * own.variance
    steps = np.sqrt(share * market.variance / variance)[:, None] * market.steps
    steps += np.sqrt((1 - share) * own.variance / variance)[:, None] * own.steps
    shock = steps.sum(axis=1)
    rhythm = np.exp(0.12 * wave(hour, 15) + 0.08 * wave(hour, 1, 12) - 0.13 * weekend)
    sigma = level * rhythm * np.sqrt(variance)

    volume = 0.5 * np.log(np.abs(shock) + 0.1) + 0.8 * np.log(sigma / level) + 0.3 * wave(hour, 15) - 0.3 * weekend
    volume += recursion(0.9, 0.3 * rng.standard_normal(bars))
    surprise = np.tanh(volume - recursion(1 - 1 / 24, volume / 24, first=volume[0]) - 0.9)

    trend = lagged(recursion(0.9, 0.7 * surprise * shock))
    drift = signal * sigma * (1.6 * np.tanh(trend) + 0.5 * wave(hour, 21))
    close = recursion(1 - 1 / 5000, sigma * shock + drift)
    before = lagged(close)
    drift = close - before - sigma * shock

    steps *= sigma[:, None]
    steps += (drift / STEPS)[:, None]
    path = np.cumsum(steps, axis=1, out=steps)
    path += before[:, None]
    opening = before + 0.02 * sigma * rng.standard_normal(bars) * (rng.random(bars) < 0.7)
    logs = {
        "Open": opening,
        "High": np.maximum(opening, path.max(axis=1)),
        "Low": np.minimum(opening, path.min(axis=1)),
        "Close": path[:, -1],
    }
    price, turnover = 10 ** rng.uniform(0, 3), 10 ** rng.uniform(4, 7)
    decimals = 5 - int(np.log10(price))  # a tick also hides the last bits, which differ between processors
    frame = pd.DataFrame(
        {name: np.maximum(np.round(price * np.exp(log), decimals), 10.0**-decimals) for name, log in logs.items()},
        index=hours,
    )
    frame["Volume"] = np.round(turnover * np.exp(volume), 2)
    return frame


def foreign(directory: Path) -> list[str]:
    """Names of what lies in `directory` and this stage does not make, which DVC would record as part of its out; sorted."""
    made = re.compile(r"SIMULATED\.json|SIM\d\d(/1Hour(/data\.parquet)?)?")
    found: list[str] = []
    for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
        name = path.relative_to(directory).as_posix()
        own = made.fullmatch(name.removesuffix(".tmp")) and not path.is_symlink()  # .tmp: half a file of a killed process
        if not own and not (found and name.startswith(f"{found[-1]}/")):
            found.append(name)
    return found


def main() -> None:
    settings = stage.read_section("market", Market).model_dump()
    if found := foreign(OUT):
        said = f"{OUT} holds {few(found)}, not of this market; DVC would take it for a part of it, and clear it away with it"
        raise CampaignError(f"{said}; move it, bars of your own to data/historical for example")
    written = set()
    for symbol, frame in simulate(**settings):
        content = io.BytesIO()
        frame.to_parquet(content, compression="zstd")
        stage.write_bytes(OUT / symbol / "1Hour" / "data.parquet", content.getvalue())
        written.add(OUT / symbol)
    for path in OUT.iterdir():  # assets of a larger market before, by this stage's own hand; DVC clears them away itself
        if path.is_dir() and path not in written:
            shutil.rmtree(path)
    note = "Simulated bars, made by simulate_market: prices of nothing, and no result on them is evidence."
    stage.write_json(OUT / "SIMULATED.json", {"simulated": True, "note": note, "market": settings})


if __name__ == "__main__":
    stage.run(main)
