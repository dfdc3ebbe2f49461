"""Simulate hourly bars of several assets, with the traits of real hourly crypto returns and a known signal.

Everything follows from the seed: one random stream for the market, one for each asset, so that an additional asset changes no
other. Below, hour t of asset i has K = 12 steps k. Rhythms are in UTC; e and n are standard normal; weekend is 0 or 1;
cycle(p, T) = cos(2 pi (hour[t] - p) / T); x[t] without k is the sum of x[t, k] over k:

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
    drift       d[t]    = signal s[t] (1.6 tanh(D[t-1]) + 0.5 cycle(21, 24))
    trend       D[t]    = 0.9 D[t-1] + 0.7 q[t] (z[t] + d[t] / s[t])
    log price   x[t]    = (1 - 1/5000) x[t-1] + s[t] z[t] + d[t]

The signal in words: moves made on high volume continue for some hours, and moves made on low volume are reversed. The hours
around 21 UTC drift up, those around 9 UTC down. The last 24 bars show nearly all of it; but return and volume count as a
product, hour by hour, so that the order inside the window matters.

Constants: 0.9 balances the two kinds of move. The returns of two hours, one to three apart, correlate by 0.03 to 0.05 at a
signal of 0.3, by 0.10 to 0.15 at 0.7 and by 0.15 to 0.24 at 1. With 1.6 and 0.5 the root mean square of the drift, in standard
deviations of an hour, is 0.7 to 0.8 times `signal`. At signal 0 volatility is predictable and direction is not. A signal of 1,
which some thousand bars suffice to find, is far above any real market.

The price is pulled back to its start, too weakly to trade on. This keeps prices in range for a century of hours: at signal 1
between a 500th of the start and 20,000 times it. They never fall below one tick. Pull and drift are spread evenly over the steps
of the hour. High and Low are the extremes of the steps and the Open.

Imperfections of real bars are added. Prices are on a tick, and opens often lie a little off the previous close. About every 1000
hours a few are missing in all assets at once, and the second asset lacks 100 hours.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import datetime
import io
import math
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

from core.errors import CampaignError, join_first
from core.files import write_bytes, write_json
from core.params import Settings, read_section
from core.run import run

OUT = Path("data/simulated")
STEPS = 12  # an hour
OUTAGE_SPACING = 1000  # hours; one outage of all assets in each
MAX_OUTAGE = 11  # hours
HALTED_ASSET = 1  # its number
HALT = 100  # hours


def iso_date(value: object) -> object:
    """Check a date in ISO 8601, as text: DVC, JSON and people see the same value, unlike of a YAML date."""
    try:
        if isinstance(value, str) and str(datetime.date.fromisoformat(value)) == value and "1970" <= value < "2100":
            return value
    except ValueError:
        pass
    raise ValueError('a date from 1970 to 2099 in quotes, such as "2022-01-03"')


class Market(Settings):
    seed: int = Field(ge=0, le=2**32 - 1)
    assets: int = Field(ge=1, le=99)
    bars: int = Field(ge=300, le=1_000_000)
    start: Annotated[str, BeforeValidator(iso_date)]
    signal: float = Field(ge=0, le=1)


class Shocks(NamedTuple):
    """Random shocks with volatility clustering: a (A for the market) and h (H) of the equations."""

    steps: np.ndarray  # (bars, STEPS), variance 1 / STEPS each
    variance: np.ndarray  # (bars,), mean about 1, known before the hour


def linear_recursion(factor: np.ndarray | float, term: np.ndarray, first: float = 0.0) -> np.ndarray:
    """Compute y[t] = factor[t] y[t-1] + term[t], (bars,), from y[-1] = `first`.

    Python's floats are used, whose sums and products have the same bits on every machine.
    """
    factors = np.broadcast_to(factor, term.shape).tolist()
    values = accumulate(zip(factors, term.tolist(), strict=True), lambda y, at: at[0] * y + at[1], initial=first)
    next(values)
    return np.fromiter(values, float, len(term))


def follow_trend(shock: np.ndarray, surprise: np.ndarray, daily: np.ndarray, signal: float) -> np.ndarray:
    """Compute 1.6 tanh(D[t-1]) + `daily`, the drift in units of signal s[t], (bars,).

    D follows the whole move, drift included: that is what the bars show of it.
    """
    trend, drifts = 0.0, []
    for z, q, rhythm in zip(shock.tolist(), surprise.tolist(), daily.tolist(), strict=True):
        drifts.append(1.6 * math.tanh(trend) + rhythm)
        trend = 0.9 * trend + 0.7 * q * (z + signal * drifts[-1])
    return np.array(drifts)


def lag(values: np.ndarray, first: float = 0.0) -> np.ndarray:
    """Shift `values`, (bars,), by one bar; `first` comes before them."""
    return np.concatenate([[first], values[:-1]])


def draw_shocks(rng: Generator, bars: int) -> Shocks:
    """Draw Student's t with jumps, and the GARCH(1, 1) variance that it leads to."""
    steps = rng.standard_normal((bars, STEPS))
    steps *= np.sqrt(4 / rng.chisquare(6, bars) / STEPS)[:, None]
    jumps = np.flatnonzero(rng.random(bars) < 1 / 400)
    steps[jumps, rng.integers(STEPS, size=len(jumps))] += 4 * rng.standard_normal(len(jumps))
    square = lag(steps.sum(axis=1), first=1.0) ** 2
    return Shocks(steps, linear_recursion(0.12 * square + 0.85, np.full(bars, 0.03), first=1.0))


def cycle(hours: np.ndarray, peak: float, period: float = 24.0) -> np.ndarray:
    """Compute a cosine of the hour with its maximum at `peak`, (bars,)."""
    return np.cos(2 * np.pi * (hours - peak) / period)


def spread_evenly(index: int, low: float, high: float, step: float) -> float:
    """Choose asset `index`'s value between `low` and `high`, so that those of any number of assets are spaced evenly.

    Args:
        step: irrational share by which the value of the next asset is higher, modulo the range (Weyl's sequence).
    """
    return low + (high - low) * ((index + 1) * step % 1.0)


def simulate(*, seed: int, assets: int, bars: int, start: str, signal: float) -> Iterator[tuple[str, pd.DataFrame]]:
    """Simulate the market, one asset at a time.

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
    for block in range(0, bars, OUTAGE_SPACING):
        first = block + rng.integers(1, OUTAGE_SPACING - MAX_OUTAGE)
        open_for_all[first : first + rng.integers(1, MAX_OUTAGE, endpoint=True)] = False
    for index in range(assets):
        rng = default_rng(SeedSequence(seed, spawn_key=(1 + index,)))
        traded = open_for_all.copy()
        if index == HALTED_ASSET:
            traded[bars * 2 // 5 :][:HALT] = False
        yield f"SIM{1 + index:02}", simulate_asset(rng, index, hours, market, signal)[traded]


def simulate_asset(rng: Generator, index: int, hours: pd.DatetimeIndex, market: Shocks, signal: float) -> pd.DataFrame:
    """Simulate the bars of asset `index` in all `hours`, by the equations at the top of this file."""
    bars = len(hours)
    level, share = spread_evenly(index, 0.007, 0.016, step=0.618), spread_evenly(index, 0.35, 0.75, step=0.414)
    hour, weekend = hours.hour.to_numpy(), hours.day_of_week.to_numpy() >= 5

    own = draw_shocks(rng, bars)
    variance = share * market.variance + (1 - share) * own.variance
    steps = np.sqrt(share * market.variance / variance)[:, None] * market.steps
    steps += np.sqrt((1 - share) * own.variance / variance)[:, None] * own.steps
    shock = steps.sum(axis=1)
    rhythm = np.exp(0.12 * cycle(hour, 15) + 0.08 * cycle(hour, 1, 12) - 0.13 * weekend)
    sigma = level * rhythm * np.sqrt(variance)

    volume = 0.5 * np.log(np.abs(shock) + 0.1) + 0.8 * np.log(sigma / level) + 0.3 * cycle(hour, 15) - 0.3 * weekend
    volume += linear_recursion(0.9, 0.3 * rng.standard_normal(bars))
    surprise = np.tanh(volume - linear_recursion(1 - 1 / 24, volume / 24, first=volume[0]) - 0.9)

    drift = signal * sigma * follow_trend(shock, surprise, 0.5 * cycle(hour, 21), signal)
    close = linear_recursion(1 - 1 / 5000, sigma * shock + drift)
    previous = lag(close)
    drift_and_pull = close - previous - sigma * shock

    steps *= sigma[:, None]
    steps += (drift_and_pull / STEPS)[:, None]
    path = np.cumsum(steps, axis=1, out=steps)
    path += previous[:, None]
    opening = previous + 0.02 * sigma * rng.standard_normal(bars) * (rng.random(bars) < 0.7)
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


def find_foreign(directory: Path) -> list[str]:
    """List the files in `directory` that this stage does not make, sorted. DVC would record them as part of the out."""
    made_here = re.compile(r"SIMULATED\.json|SIM\d\d(/1Hour(/data\.parquet)?)?")
    foreign: list[str] = []
    for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
        name = path.relative_to(directory).as_posix()
        is_own = made_here.fullmatch(name.removesuffix(".tmp")) and not path.is_symlink()  # .tmp: of a killed process
        if not is_own and not (foreign and name.startswith(f"{foreign[-1]}/")):
            foreign.append(name)
    return foreign


def check_directory(directory: Path) -> None:
    """Raise CampaignError where `directory` holds anything that this stage does not make."""
    if foreign := find_foreign(directory):
        raise CampaignError(
            f"{directory} holds {join_first(foreign)}, not of this market; DVC would take it for a part of it, and clear it away "
            "with it; move it, bars of your own to data/historical for example"
        )


def main() -> None:
    settings = read_section("market", Market)
    check_directory(OUT)
    symbols = set()
    for symbol, frame in simulate(**settings.model_dump()):
        content = io.BytesIO()
        frame.to_parquet(content, compression="zstd")
        write_bytes(OUT / symbol / "1Hour" / "data.parquet", content.getvalue())
        symbols.add(symbol)
    for path in OUT.iterdir():  # assets of an earlier, larger market; `dvc repro` has removed them before it starts this
        if path.is_dir() and path.name not in symbols:
            shutil.rmtree(path)
    note = "Simulated bars, made by simulate_market: prices of nothing, and no result on them is evidence."
    write_json(OUT / "SIMULATED.json", {"simulated": True, "note": note, "market": settings.model_dump()})


if __name__ == "__main__":
    run(main)
