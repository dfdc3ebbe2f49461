"""Join earlier predictions with what came of them, and compare that with what test showed of the same model."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from bars import features
from bars.labels import NO_LABEL, triple_barrier
from bars.reading import bars_path, read_bars, split_at_gaps
from core.errors import CampaignError
from core.files import read_array, read_json
from core.places import CAMPAIGN
from core.splits import read_split, sample_rows
from judge.money import Trades, costs_by_asset, mean_net_draws
from judge.uncertainty import FEWEST_BLOCKS, DrawnDays, Estimate
from serve.model import Model, Recipe
from serve.scoring import check_known
from serve.signals import TRADE, Row

DRAWS, SEED, CONFIDENCE = 10_000, 0, 0.95
FEWEST_TRADES = 10  # for an interval, and both hits and misses among them: a bootstrap of fewer shows hardly any error
ALL = "all"
LABELS = ("y", "mirrored", "returns", "held", "timestamps")  # of the arrays that generate_data writes


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure; None where there is nothing to work it out from.

    error: with its standard error, as `judge.uncertainty` has it; None where days or trades are too few to tell.
    """

    value: float | None
    error: Estimate | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval at `CONFIDENCE`."""
        if self.error is None:
            return None
        low, high = self.error.interval(CONFIDENCE)
        return low, high


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of the predictions of an asset, or of several.

    bars: predictions whose outcome is known. open: whose is not yet. lost: whose never will be, since bars break off behind.
    days: with a known one. trades: that the calls opened.
    profits: share of bars that met the profit barrier. excess: mean probability less that share.
    hit_rate: of the trades. mean_return: of a trade after costs, a share of its entry price.
    """

    bars: int
    open: int
    lost: int
    days: int
    trades: int
    profits: Figure
    excess: Figure
    hit_rate: Figure
    mean_return: Figure


FIGURES = {
    "profits": "share of profits",
    "excess": "mean probability less the share of profits",
    "hit_rate": "hit rate",
    "mean_return": "mean return of a trade",
}


@dataclasses.dataclass(frozen=True)
class Joined:
    """Predictions beside their outcomes, R bars, one asset after the other.

    y: int8 (R,), label; -1 where there is no prediction, or its outcome is not known.
    mirrored, returns, held, timestamps: as generate_data writes them. asset_ids: (R,).
    probability: float64 (R,). called: bool (R,). open, lost: as in `Outcome`.
    """

    y: np.ndarray
    mirrored: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    timestamps: np.ndarray
    asset_ids: np.ndarray
    probability: np.ndarray
    called: np.ndarray
    open: int = 0
    lost: int = 0

    @classmethod
    def together(cls, parts: "Sequence[Joined]") -> "Joined":
        """Put the bars of several assets one after the other."""
        arrays = [field.name for field in dataclasses.fields(cls) if field.name not in ("open", "lost")]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return cls(**columns, open=sum(part.open for part in parts), lost=sum(part.lost for part in parts))


def join(root: Path, symbol: str, rows: Sequence[Row], recipe: Recipe) -> Joined:
    """Label the predicted bars of a symbol as generate_data labels bars.

    Raises:
        CampaignError: its bars cannot be used, or lack a predicted one.
    """
    path = bars_path(root, symbol)
    bars = read_bars(path, features.extra_columns(recipe.features))
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
        found = f"{path} lacks the bar of {times[~is_there][0]} UTC"
        raise CampaignError(f"{found}, which was predicted; give the directory that has it")
    probability[places] = [row["probability"] for row in rows]
    called[places] = [row["call"] == TRADE for row in rows]
    is_predicted = np.isfinite(probability)
    unknown = is_predicted & (y == NO_LABEL)
    y[~is_predicted] = NO_LABEL
    open_bars = int(unknown[-recipe.horizon :].sum())
    ids = np.full(size, recipe.asset_ids[symbol], np.int16)
    parts = (y, mirrored, returns, held, bars.timestamps, ids, probability, called)
    first = int(places.min())
    return Joined(*(part[first:] for part in parts), open=open_bars, lost=int(unknown.sum()) - open_bars)


def read_test(model: Model, symbols: Sequence[str]) -> Joined:
    """Read what the model scored on test, of these assets. Raises CampaignError where it is missing or damaged."""
    arrays = read_split(CAMPAIGN.data, "test", *LABELS, "asset_ids")
    scores = read_array(CAMPAIGN.predictions_of(model.name, "test"))
    if model.seed is not None:
        scores = scores[[read_json(CAMPAIGN.evaluation)["models"][model.name]["seeds"].index(model.seed)]]
    mean, rows, least = scores.mean(axis=0), sample_rows(arrays["y"]), model.choices.money_threshold
    probability, called = np.full(len(arrays["y"]), np.nan), np.zeros(len(arrays["y"]), bool)
    probability[rows] = model.choices.calibration.apply(mean)
    called[rows] = mean >= least if least is not None else False
    is_reviewed = np.isin(arrays["asset_ids"], [model.recipe.asset_ids[symbol] for symbol in symbols])
    columns = {**arrays, "probability": probability, "called": called}
    return Joined(**{name: column[is_reviewed] for name, column in columns.items()})


def review(root: Path, rows: Sequence[Row], model: Model) -> tuple[dict[str, Outcome], Outcome]:
    """Say what came of predictions, of all assets together and by symbol, and what test showed of these assets.

    Args:
        rows: of bars that the model was not fitted on.

    Raises:
        CampaignError: bars cannot be used, or lack a predicted one, or are of an asset that the model does not know.
    """
    recipe, symbols = model.recipe, sorted({row["symbol"] for row in rows})
    check_known(symbols, recipe, "these predictions are of another campaign")
    joined = {symbol: join(root, symbol, [row for row in rows if row["symbol"] == symbol], recipe) for symbol in symbols}
    costs = costs_by_asset(read_json(CAMPAIGN.evaluation)["cost_per_trade"], list(recipe.asset_ids))
    found = {ALL: measure(Joined.together(list(joined.values())), costs)}
    found |= {symbol: measure(own, costs) for symbol, own in joined.items()}
    return found, measure(read_test(model, symbols), costs)


def measure(joined: Joined, costs: np.ndarray, *, draws: int = DRAWS) -> Outcome:
    """Measure what came of predictions; errors by a bootstrap over blocks of days. `costs`: by asset id."""
    if not (joined.y >= 0).any():
        nothing = Figure(None)
        return Outcome(0, joined.open, joined.lost, 0, 0, nothing, nothing, nothing, nothing)
    trades = Trades.of({name: getattr(joined, name) for name in (*LABELS, "asset_ids")}, costs)
    probability, called = joined.probability[trades.rows], joined.called[trades.rows]
    days = int(trades.days.max()) + 1
    drawn = DrawnDays.of([days], None, draws, SEED) if days >= FEWEST_BLOCKS else None
    entered = trades.entries(called)
    money = trades.day_money(entered)
    count, hits = int(entered.sum()), int(money[1].sum())
    of_trades = drawn if count >= FEWEST_TRADES and 0 < hits < count else None
    by_day = np.bincount(trades.days).astype(float)
    profits = np.bincount(trades.days, weights=trades.y)
    excess = np.bincount(trades.days, weights=probability) - profits
    return Outcome(
        bars=len(trades.y),
        open=joined.open,
        lost=joined.lost,
        days=days,
        trades=count,
        profits=ratio(profits, by_day, drawn),
        excess=ratio(excess, by_day, drawn),
        hit_rate=ratio(money[1], money[0], of_trades),
        mean_return=mean_return(money, of_trades),
    )


def ratio(sums: np.ndarray, counts: np.ndarray, drawn: DrawnDays | None) -> Figure:
    """Divide sums over days, (D,), by counts; with an error where there are draws of days."""
    if not counts.sum():
        return Figure(None)
    value = float(sums.sum() / counts.sum())
    if drawn is None:
        return Figure(value)
    drawn_sums, drawn_counts = (np.einsum("wd,d->w", drawn.weights, own) for own in (sums, counts))
    return with_error(value, np.where(drawn_counts > 0, drawn_sums / np.maximum(drawn_counts, 1), value), counts, drawn)


def mean_return(money: np.ndarray, drawn: DrawnDays | None) -> Figure:
    """Return the mean return of a trade after costs; `money` as `Trades.day_money`."""
    value = mean_net_draws(money[None], np.ones((1, money.shape[1])))
    if value is None:
        return Figure(None)
    if drawn is None:
        return Figure(float(value[0]))
    return with_error(float(value[0]), mean_net_draws(money[None], drawn.weights), money[0], drawn)


def with_error(value: float, draws: np.ndarray, counts: np.ndarray, drawn: DrawnDays) -> Figure:
    """Add the error that draws show; none where they do not differ, or fewer than `FEWEST_BLOCKS` days have anything at all."""
    if np.ptp(draws) < 1e-12 or (counts > 0).sum() < FEWEST_BLOCKS:
        return Figure(value)
    return Figure(value, Estimate.of([value], draws - value, drawn.blocks))


def describe_drift(outcome: Outcome, test: Outcome) -> list[str]:
    """Name the figures that differ from those of test beyond chance, over all of `FIGURES` together (Bonferroni).

    Both have errors: test, too, was a few days.
    """
    pairs = {name: (getattr(outcome, name), getattr(test, name)) for name in FIGURES}
    compared = {name: pair for name, pair in pairs.items() if pair[0].error and pair[1].error}
    return [
        f"the {FIGURES[name]} is {own.value:.2%}, on test it was {other.value:.2%}".replace("-", "−")
        for name, (own, other) in compared.items()
        if p_value(own.error, other.error) < (1 - CONFIDENCE) / len(compared)
    ]


def p_value(one: Estimate, other: Estimate) -> float:
    """Return that of two independent estimates being equal, two-sided."""
    variances = [(own.standard_error**2, own.degrees_of_freedom) for own in (one, other)]
    difference = Estimate.of_variances(one.value - other.value, variances)
    return float(2 * stats.t.sf(abs(difference.value) / difference.standard_error, difference.degrees_of_freedom))
