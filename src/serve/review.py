"""Join earlier predictions with what came of them, and compare that with what test promised."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bars import features
from bars.labels import NO_LABEL, triple_barrier
from bars.reading import bars_path, read_bars, split_at_gaps
from core.errors import CampaignError
from core.files import read_json
from core.places import CAMPAIGN
from judge.money import Trades, costs_by_asset, mean_net_draws
from judge.uncertainty import FEWEST_BLOCKS, DrawnDays
from report.numbers import minus
from serve.model import Recipe
from serve.signals import TRADE, Row

DRAWS, SEED, CONFIDENCE = 10_000, 0, 0.95
FIGURES = 4  # of an outcome that may drift, which are looked at together
FEWEST_TRADES = 10  # for an interval: a bootstrap of fewer shows hardly any error
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure; None where there is nothing to work it out from.

    interval: at `CONFIDENCE`. wide: at the confidence with which one of `FIGURES` together is missed as rarely as that; both None
    where there are too few days.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    wide: tuple[float, float] | None = None

    @classmethod
    def of(cls, value: float, drawn: np.ndarray) -> "Figure":
        """Take intervals from bootstrap draws."""
        interval, wide = (
            (float(np.quantile(drawn, alpha / 2)), float(np.quantile(drawn, 1 - alpha / 2)))
            for alpha in (1 - CONFIDENCE, (1 - CONFIDENCE) / FIGURES)
        )
        return cls(value, interval, wide)

    def misses(self, promised: float | None) -> bool:
        """Tell whether what was promised lies outside the wide interval."""
        return promised is not None and self.wide is not None and not self.wide[0] <= promised <= self.wide[1]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of the predictions of an asset, or of all.

    bars: predictions whose outcome is known. open: whose is not yet. days: with a known one. trades: that the calls opened.
    profits: share of bars that met the profit barrier. excess: mean probability less that share.
    hit_rate: of the trades. mean_return: of a trade after costs, a share of its entry price.
    """

    bars: int
    open: int
    days: int
    trades: int
    profits: Figure
    excess: Figure
    hit_rate: Figure
    mean_return: Figure


@dataclasses.dataclass(frozen=True)
class Joined:
    """Predictions of one asset beside their outcomes; R bars from the first predicted one on.

    y: int8 (R,), label; -1 where there is no prediction, or its outcome is not known.
    mirrored, returns, held, timestamps: as generate_data writes them. probability: float64 (R,), NaN without a prediction.
    called: bool (R,). open: predictions without an outcome.
    """

    y: np.ndarray
    mirrored: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    timestamps: np.ndarray
    probability: np.ndarray
    called: np.ndarray
    open: int


def join(root: Path, symbol: str, rows: Sequence[Row], recipe: Recipe) -> Joined:
    """Label the predicted bars of a symbol as generate_data labels bars.

    Raises:
        CampaignError: its bars cannot be used, or lack a predicted one.
    """
    bars = read_bars(bars_path(root, symbol), features.extra_columns(recipe.features))
    size = len(bars)
    y, mirrored, held = np.full(size, NO_LABEL, np.int8), np.full(size, NO_LABEL, np.int8), np.zeros(size, np.int16)
    returns, probability, called = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, bool)
    for where in split_at_gaps(bars.timestamps, recipe.max_gap):
        sequence = bars[where]
        atr = features.average_true_range(sequence) if recipe.barriers.kind == "atr" else None
        trades = triple_barrier(sequence, recipe.barriers, horizon=recipe.horizon, atr=atr)
        y[where], mirrored[where], returns[where], held[where] = trades.labels, trades.mirrored, trades.returns, trades.held
    times = np.array([row["timestamp"].removesuffix("Z") for row in rows], "datetime64[s]")
    places = np.searchsorted(bars.timestamps, times)
    is_there = (places < size) & (bars.timestamps[np.minimum(places, size - 1)] == times)
    if not is_there.all():
        found = f"{bars_path(root, symbol)} lacks the bar of {times[~is_there][0]} UTC"
        raise CampaignError(f"{found}, which was predicted; give the directory that has it")
    probability[places] = [row["probability"] for row in rows]
    called[places] = [row["call"] == TRADE for row in rows]
    is_predicted = np.isfinite(probability)
    unknown = int((is_predicted & (y == NO_LABEL)).sum())
    y[~is_predicted] = NO_LABEL
    first = int(places.min())
    parts = (y, mirrored, returns, held, bars.timestamps, probability, called)
    return Joined(*(part[first:] for part in parts), open=unknown)


def review(root: Path, rows: Sequence[Row], recipe: Recipe) -> dict[str, Outcome]:
    """Say what came of predictions, of all assets together and by symbol.

    Raises:
        CampaignError: bars cannot be used, or lack a predicted one.
    """
    symbols = sorted({row["symbol"] for row in rows})
    joined = {symbol: join(root, symbol, [row for row in rows if row["symbol"] == symbol], recipe) for symbol in symbols}
    by_id = costs_by_asset(read_json(CAMPAIGN.evaluation)["cost_per_trade"], list(recipe.asset_ids))
    costs = dict(zip(recipe.asset_ids, by_id.tolist(), strict=True))
    found = {ALL: measure(list(joined.values()), [costs[symbol] for symbol in symbols])}
    return found | {symbol: measure([joined[symbol]], [costs[symbol]]) for symbol in symbols}


def measure(parts: Sequence[Joined], costs: Sequence[float]) -> Outcome:
    """Measure some assets together; intervals by a bootstrap over blocks of days."""
    open_bars = sum(part.open for part in parts)
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("y", "mirrored", "returns", "held", "timestamps")
    }
    columns["asset_ids"] = np.repeat(np.arange(len(parts), dtype=np.int16), [len(part.y) for part in parts])
    if not (columns["y"] >= 0).any():
        nothing = Figure(None)
        return Outcome(0, open_bars, 0, 0, nothing, nothing, nothing, nothing)
    trades = Trades.of(columns, np.array(costs))
    probability = np.concatenate([part.probability for part in parts])[trades.rows]
    called = np.concatenate([part.called for part in parts])[trades.rows]
    days = int(trades.days.max()) + 1
    weights = DrawnDays.of([days], None, DRAWS, SEED).weights if days >= FEWEST_BLOCKS else None
    entered = trades.entries(called)
    money = trades.day_money(entered)
    draws_of_trades = weights if entered.sum() >= FEWEST_TRADES else None
    by_day = {
        "bars": np.bincount(trades.days),
        "profits": np.bincount(trades.days, weights=trades.y),
        "probability": np.bincount(trades.days, weights=probability),
    }
    return Outcome(
        bars=len(trades.y),
        open=open_bars,
        days=days,
        trades=int(entered.sum()),
        profits=ratio(by_day["profits"], by_day["bars"], weights),
        excess=ratio(by_day["probability"] - by_day["profits"], by_day["bars"], weights),
        hit_rate=ratio(money[1], money[0], draws_of_trades),
        mean_return=mean_return(money, draws_of_trades),
    )


def ratio(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray | None) -> Figure:
    """Divide sums over days, (D,), with an interval where there are draws of days, (W, D)."""
    if not counts.sum():
        return Figure(None)
    value = float(sums.sum() / counts.sum())
    if weights is None:
        return Figure(value)
    drawn_sums, drawn = np.einsum("wd,d->w", weights, sums), np.einsum("wd,d->w", weights, counts.astype(float))
    return Figure.of(value, np.where(drawn > 0, drawn_sums / np.maximum(drawn, 1), value))


def mean_return(money: np.ndarray, weights: np.ndarray | None) -> Figure:
    """Return the mean return of a trade after costs; `money` as `Trades.day_money`."""
    value = mean_net_draws(money[None], np.ones((1, money.shape[1])))
    if value is None:
        return Figure(None)
    drawn = mean_net_draws(money[None], weights) if weights is not None else None
    return Figure(float(value[0])) if drawn is None else Figure.of(float(value[0]), drawn)


@dataclasses.dataclass(frozen=True)
class Promise:
    """What test showed of the same model, by the names of `Outcome`; the excess of a calibrated probability is 0."""

    profits: float
    hit_rate: float | None
    mean_return: float | None
    excess: float = 0.0

    @classmethod
    def of(cls, model: str) -> "Promise":
        """Read it from what evaluate measured: of an architecture, or of a seed named as in predictions, such as ``mlp seed 2``.

        Raises:
            CampaignError: evaluate has judged no such model.
        """
        name, _, seed = model.partition(" seed ")
        judged = read_json(CAMPAIGN.evaluation)["models"].get(name)
        if judged is None or (seed and int(seed) not in judged["seeds"]):
            raise CampaignError(f"{CAMPAIGN.evaluation} has nothing on {model}, which predicted; judge it: dvc repro evaluate")
        test = judged["test"][judged["seeds"].index(int(seed))] if seed else judged["ensemble"]["test"]
        return cls(test["positive_share"], test["money"]["hit_rate"], test["money"]["mean_return_net"])


LABELS = {
    "profits": "share of profits",
    "excess": "mean probability less the share of profits",
    "hit_rate": "hit rate",
    "mean_return": "mean return of a trade",
}


def describe_drift(outcome: Outcome, promise: Promise) -> list[str]:
    """Name the figures that are further from what test promised than chance explains, over all of them together."""
    return [
        f"the {text} is {minus(f'{getattr(outcome, name).value:.2%}')}, on test it was {minus(f'{getattr(promise, name):.2%}')}"
        for name, text in LABELS.items()
        if getattr(outcome, name).misses(getattr(promise, name))
    ]
