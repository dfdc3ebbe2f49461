"""Explain in sentences what the tables of the reports show and how it was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

from judge.comparison import Comparison
from report.numbers import level_text

SIMULATED = "SIMULATED market: these figures show that the campaign works, not that a model makes money."
RECOMPUTED = ("rows_recomputed", "values_recomputed")  # figures of the leak audit that say how much was looked at


def explain_chance(confidence: float) -> str:
    """Explain what "beyond chance" means."""
    return (
        "Validation chose epochs, thresholds, calibrations and what to search; test reports, and decides what is worth a "
        "trade. Beyond chance: among all questions of a kind together, even one false finding has a probability of "
        f"{level_text(1 - confidence)} at most. What is not beyond chance may be there all the same: these days do not show "
        "it."
    )


def explain_references(one_column: str) -> str:
    """Explain the models that need no search; `one_column`: the feature of the one of that name."""
    return (
        "References need no search. Logistic regression and gradient boosting see the same windows as the networks; one "
        f"column is a logistic regression on {one_column} of the last bar, the column that ranks the labels of train best; "
        "asset prior scores each asset by its share of profits in train, whatever its bars show; always positive calls every "
        "sample."
    )


def explain_cross_fitting(minimum: float, confidence: float) -> str:
    """Explain the figure and the test that decide on a search."""
    return (
        "Cross-fitted: epoch and threshold are chosen on one half of validation and F1 is counted on the other half, then the "
        "other way round, so that F1 is not flattered by the choice. The test asks of each network whether this F1 exceeds "
        "that of the best reference, one-sided; p is corrected for the number of networks, and ≥ is the lower end of the "
        f"difference's interval. Worth a search: p below {1 - confidence:.4g} and F1 above {minimum:g}."
    )


GATES = (
    "✓ passed, ✗ failed, with the value; the threshold is in brackets, behind the gate's name where all networks share one. A "
    'gate "beyond chance" can fail although its value is above the threshold. p is corrected for the number of models that '
    "were asked. The return is the total on test; its p is that of the mean daily return."
)
SHIFT_TEST = (
    "Each asset's labels are shifted in time (a circular shift), so that they no longer belong to the scores, and the "
    "threshold is chosen anew; the highest F1 of all shifts is what a model reaches that knows the assets, but not the time. "
    "Validation F1 is here that at the epoch and threshold that are best on all of validation. In simulations, networks that "
    "knew nothing of the time passed in 7 to 10 of 100 cases."
)
RANKING = (
    "PR AUC is average precision; scores that know nothing reach the share of profits, {chance:.3f}. Direction AUC: see the "
    "next section."
)
PROBABILITIES = (
    "The calibration maps a model's scores to probabilities: sigmoid(a · log odds + b), a and b fitted on validation. Brier "
    "skill: by which share the Brier score is below that of telling every sample the share of profits on validation. "
    "Calibration error: mean distance of probability and share of profits over 15 bins. In the confidence set are the models "
    "that these days do not tell from the one with the lowest log loss (model confidence set; p above {level})."
)
DIRECTION = (
    "Direction AUC ranks the samples whose long trade won against those whose mirrored short trade would have won: the "
    "probability that a winner of the first kind has the higher score. 0.5 is a coin. A model that knows volatility alone "
    "scores both kinds high, and stays at 0.5; its other figures can be good all the same."
)
TRAINING = (
    "Validation F1 is that at the best epoch and threshold, so it is flattered, and the gap to train is understated. The "
    "spread is the standard deviation of validation F1 over the best epoch and two epochs on each side: a large one means a "
    "lucky peak."
)
WHY_NOT_F1 = (
    "F1 knows neither costs nor the size of a return, so its threshold is not chosen for trading. These are the trades it "
    "would have made on test, to compare; nothing is tested here."
)
DIFFERENCES = (
    "Intervals and p are corrected for all questions in these tables together. Tie: the whole interval lies within "
    "±{margin:g}, a difference that does not matter, and one of that size would have shown. Cannot be told apart: with {seen} "
    "the difference is within chance; it would have shown with a probability of 80% from the size in the column before on."
)
ERROR_UNKNOWN = (
    "The error of some differences is not known (one seed, or too few days): whatever they are, nothing is called clear or a tie."
)
GROUPS = "Where profits are frequent, F1 is higher for any model: compare along a row."


def explain_intervals(result: Comparison) -> str:
    """Say what intervals cover, and from which days they come."""
    days, blocks = result.days, result.block_days
    one_seed = any(model.seeds == model.seeds[:1] and model.kind == "network" for model in result.models.values())
    spread = "without the spread over seeds, which a single one does not show" if one_seed else "with the spread over seeds"
    return (
        f"Intervals: {level_text(result.confidence)}, each by itself (not corrected for the number of models), from "
        f"{result.draws:,} bootstrap draws of blocks of days, {spread}. Those in the column of validation "
        f"come from its {days['val']} days (blocks of {blocks['val']}), those in columns of test from its {days['test']} days "
        f"(blocks of {blocks['test']}); that of test F1 counts the choice of the threshold on validation, too. They cover the "
        "sampling error of days like these, not a change of regime. F1 is a mean over seeds; the ensemble is the mean score "
        "of the seeds, and a model without seeds has neither spread nor ensemble."
    )


def count_test_assets(result: Comparison) -> int:
    """Count the assets that have samples on test."""
    return len(next(iter(result.models.values())).test["by_asset"])


def explain_threshold() -> str:
    """Explain which threshold the trades of a model are taken at."""
    return (
        "Trades are taken at a threshold of their own: the one with the highest mean return of a trade after costs on "
        "validation, of those that trade often enough there (evaluate.min_trades). Where none of them earns anything on "
        "validation, the choice is not to trade."
    )


def explain_stakes(result: Comparison) -> str:
    """Explain costs, positions and stakes."""
    assets = count_test_assets(result)
    stake = f"1/{assets} of the current equity (there are {assets} assets)" if assets > 1 else "all of the current equity"
    return (
        f"{describe_cost(result.cost_per_trade)} An asset holds one position at a time: of overlapping signals only the first "
        f"is traded, so the hit rate is not the precision. A trade stakes {stake}, at most the free cash, and nothing after "
        "ruin. The largest drawdown counts closed trades, as a share of the peak; that of buy and hold counts every bar. A "
        "day, net, is the mean daily return on stakes that stay those of the first day; its interval is that of one model by "
        "itself. Buy and hold buys every asset once, with equal stakes, and pays one round trip. Figures of models are means "
        "over seeds."
    )


def describe_cost(cost: float | Mapping[str, float]) -> str:
    """Say what a round trip costs."""
    if not isinstance(cost, Mapping):
        return f"A round trip costs {cost:.2%} of the entry price."
    low, high = min(cost.values()), max(cost.values())
    return f"A round trip costs {low:.2%} to {high:.2%} of the entry price, by asset."


def list_costs(cost: float | Mapping[str, float]) -> str:
    """List the costs by asset; empty where there is one for all."""
    if not isinstance(cost, Mapping):
        return ""
    return f"Costs of a round trip: {', '.join(f'{symbol} {own:.2%}' for symbol, own in cost.items())}."


def explain_break_even(break_even_precision: float | None) -> str:
    """Explain what hit rates have to reach."""
    at_barriers = "Each trade has barriers of its own, so no single rate holds for all."
    if break_even_precision is not None:
        at_barriers = f"It is {break_even_precision:.1%} if every trade ends at a barrier; trades that time out move it."
    return (
        "Break-even is the hit rate at which these trades would earn nothing after costs, given what their hits and misses "
        'return. "any": misses, too, return more than they cost; "none": not even hits do; a dash: there is none, as of '
        f"trades that all hit. {at_barriers} Mean trade, gross, is also the cost of a round trip at which the trades would "
        "earn nothing."
    )


def describe_trade(metadata: Mapping[str, Any]) -> str:
    """Say when a trade wins."""
    profit, stop = metadata["profit"], metadata["stop"]
    distances = f"+{profit:.1%} before −{stop:.1%}"
    unit = ""
    if metadata["barrier"] == "atr":
        distances = f"+{profit:g} ATR before −{stop:g} ATR"
        unit = " (ATR: average true range over the 14 bars up to entry)"
    return f"A trade wins at {distances}{unit} within {metadata['horizon']} bars."


def describe_hours(metadata: Mapping[str, Any]) -> str:
    """Say how long windows and trades last by the clock."""
    window, trade = (
        f"{duration['bars']} bars lasts {duration['median']:.0f} h in the median and at most {duration['percentile_95']:.0f} "
        "h in 95 % of the samples"
        for duration in (metadata["hours"]["window"], metadata["hours"]["trade"])
    )
    return f"A window of {window}. A trade of {trade}, unless a barrier ends it before."


def warn_of_longer_bars(metadata: Mapping[str, Any]) -> str:
    """Name the assets in which a bar is not an hour of trading; empty where there is none."""
    assets = metadata["hours"]["assets_with_longer_bars"]
    if not assets:
        return ""
    return (
        f"Bars are not hours in {', '.join(assets)}: sessions are short, or hours without trades have no bar. Read "
        f"{metadata['lookback']} and {metadata['horizon']} bars as bars, not as hours."
    )


def leak_figures(metadata: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the figures in which a leak would show, with their names."""
    yield from ((name, value) for name, value in metadata["leak_audit"].items() if name not in RECOMPUTED)


def explain_recomputed(metadata: Mapping[str, Any]) -> str:
    """Say in how many rows values that know the future were looked for, and which columns could not be."""
    rows, values = (metadata["leak_audit"][name] for name in RECOMPUTED)
    text = (
        f"Values that know the future were looked for in {rows:,} rows ({values:,} values): they were recomputed from "
        "histories cut off right after them, at each hour of the day of each asset. Other rows were not looked at."
    )
    if columns := metadata["extra_columns"]:
        text += f" Columns of the files cannot be checked so, whatever they know: {', '.join(columns)}."
    return text


def setting(value: Any) -> str:
    """Write the value of a setting, texts of a list in quotes."""
    texts = isinstance(value, list) and any(isinstance(entry, str) for entry in value)
    return "[" + ", ".join(f"'{entry}'" for entry in value) + "]" if texts else str(value)
