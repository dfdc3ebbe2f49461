"""Compare the models: ranking, gates, intervals, money, and what to search first.

Models are chosen on validation and judged on test. A difference counts only when its interval, corrected for the number of
pairs, excludes zero; otherwise it is a tie, and said so.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import csv
import dataclasses
import statistics
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

import stage
import tracking
from core import committed
from core.chance import FEWEST_BLOCKS, Estimate, block_length, day_counts, draw_days, drawn_f1, f1, f1_at_other_times, holm_levels
from core.errors import CampaignError, shown
from core.money import Trades
from core.names import NAMES, NETWORKS, REFERENCES
from report.decisions import decision
from report.markdown import comparison
from report.page import page

JUDGED = ("val", "test")
CURVES = ("pr", "roc", "calibration", "threshold")
F1 = "f1_score_positive_class"
MOVES = 499  # of the labels in time, for `f1_at_other_times`


class Compare(stage.Settings):
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0, le=2**63 - 1)
    block_days: int | None = Field(ge=1, le=365)
    confidence: float = Field(gt=0.5, le=0.9999)
    min_val_f1: float = Field(ge=0, le=1)
    max_train_val_gap: float = Field(ge=0, le=1)
    max_seed_spread: float = Field(ge=0, le=1)


@dataclasses.dataclass(frozen=True)
class Called:
    """What one model's seeds call positive on one split, day by day, and what the bootstrap makes of it.

    seeds: S of them, None for a model without. f1, daily: F1 (S,) and mean daily return (S,) of each seed.
    drawn_f1, drawn_daily: mean over seeds in each bootstrap draw, (draws,); the same draw is the same days for all models.
    """

    seeds: list[int | None]
    f1: list[float]
    daily: list[float]
    drawn_f1: np.ndarray
    drawn_daily: np.ndarray

    @classmethod
    def of(cls, trades: Trades, called: np.ndarray, seeds: list[int | None], weights: np.ndarray, cost: float) -> "Called":
        """From calls, bool (S, N), and how often each day is drawn, (draws, D)."""
        counts = np.stack([day_counts(trades.y, row, trades.days) for row in called])
        daily = np.stack([trades.daily(trades.taken(row), cost) for row in called])
        drawn_daily = np.einsum("wd,d->w", weights, daily.mean(axis=0))  # the bits of a BLAS product depend on the cores
        return cls(
            seeds=seeds,
            f1=[float(f1(seed.sum(axis=1))) for seed in counts],
            daily=daily.mean(axis=1).tolist(),
            drawn_f1=drawn_f1(counts, weights),
            drawn_daily=drawn_daily / weights.sum(axis=1),
        )

    def has_one_seed(self) -> bool:
        """As no reference has: those have none."""
        return len(self.seeds) == 1 and self.seeds[0] is not None


def difference(one: Called, other: Called, blocks: float) -> Estimate:
    """F1 of `one` less that of `other`, on the same days and, where both have them, the same seeds."""
    if one.seeds == other.seeds:
        by_seed = [a - b for a, b in zip(one.f1, other.f1, strict=True)]
    else:  # one of them has no seeds
        by_seed = [a - b for a in one.f1 for b in other.f1]
    return Estimate.of(by_seed, one.drawn_f1 - other.drawn_f1, blocks)


def paired_differences(models: dict[str, Called], blocks: float, confidence: float) -> list[dict[str, Any]]:
    """Every pair's difference in F1, the better model first.

    Returns:
        better, worse, difference; interval, as wide as Holm's correction over all pairs asks for; p_value and, corrected,
        p_holm; clear: whether the interval excludes zero. Never of a network with one seed, whose luck nobody knows.
    """
    ordered = [
        (one, other) if statistics.fmean(models[one].f1) >= statistics.fmean(models[other].f1) else (other, one)
        for one, other in combinations(models, 2)
    ]
    estimates = [difference(models[better], models[worse], blocks) for better, worse in ordered]
    levels = holm_levels([estimate.p_value() for estimate in estimates], 1 - confidence)
    return [
        {
            "better": better,
            "worse": worse,
            "difference": estimate.value,
            "interval": [max(-1.0, min(1.0, end)) for end in estimate.interval(1 - level)],
            "p_value": estimate.p_value(),
            "p_holm": p_holm,
            "clear": p_holm < 1 - confidence and not (models[better].has_one_seed() or models[worse].has_one_seed()),
        }
        for (better, worse), estimate, (p_holm, level) in zip(ordered, estimates, levels, strict=True)
    ]


def is_clear(pairs: list[dict[str, Any]], better: str, worse: str) -> bool:
    """Whether `better` beats `worse` beyond chance."""
    return any(pair["clear"] and pair["better"] == better and pair["worse"] == worse for pair in pairs)


def gate(name: str, passed: bool, value: Any, threshold: Any, *, decides: bool = False, percent: bool = False) -> dict[str, Any]:
    """`decides`: whether it sets an architecture aside; `percent`: whether its numbers are written as such."""
    found = {"gate": name, "passed": bool(passed), "value": value, "threshold": threshold}
    return found | {"decides": decides, "percent": percent}


def gates(
    name: str,
    train: dict[str, Any],
    means: dict[str, dict[str, float]],
    test_pairs: list[dict[str, Any]],
    *,
    floors: dict[str, float],
    paid: dict[str, Any],
    earns: bool,
    settings: Compare,
) -> list[dict[str, Any]]:
    """The gates of one architecture, each with pass or fail, its number and its threshold.

    Args:
        train: metrics/train/<name>.json.
        means: F1 mean over seeds by split and model.
        floors: what its validation F1 has to exceed, by name.
        paid: its `money` on test.
        earns: whether its return there is above zero beyond chance.
    """
    val_f1 = means["val"][name]
    gap = train["train_f1_score_positive_class"] - val_f1
    spread = train["val_f1_score_positive_class_std"]
    unconverged = [seed["seed"] for seed in train["seeds"] if not seed["stopped_early"]]
    spread = spread if len(train["seeds"]) > 1 else None  # one seed says nothing of others
    stable = spread is not None and spread <= settings.max_seed_spread
    hit_rate, break_even = paid["hit_rate"], paid["break_even_hit_rate"]
    pays = hit_rate is not None and break_even is not None and hit_rate > break_even
    result = [
        *(gate(f"validation F1 above {floor}", val_f1 > least, val_f1, least, decides=True) for floor, least in floors.items()),
        gate("converged: seeds that did not stop early", not unconverged, unconverged, []),
        gate("stable: spread of validation F1 over seeds", stable, spread, settings.max_seed_spread),
        gate("train-validation F1 gap", gap < settings.max_train_val_gap, gap, settings.max_train_val_gap),
        gate("test hit rate above break-even", pays, hit_rate, break_even, percent=True),
        gate("test return after costs above zero, beyond chance", earns, paid["total_return_net"], 0.0, percent=True),
    ]
    for reference in REFERENCES:
        beats = is_clear(test_pairs, name, reference)
        f1_test = means["test"][name], means["test"][reference]
        result.append(gate(f"beats {NAMES[reference]} on test, beyond chance", beats, *f1_test))
    return result


def recommend(means: dict[str, float], floors: dict[str, dict[str, float]], pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """What to search first, from validation alone, so that test stays unseen.

    Args:
        means: validation F1 by architecture, mean over seeds.
        floors: by architecture, what its validation F1 has to exceed to be worth a search, by name.
        pairs: `paired_differences` on validation.

    Returns:
        primary (None where no architecture is worth it), secondary, set_aside, and a reason for each architecture.
    """
    order = sorted(means, key=lambda name: -means[name])
    reasons = {}
    for name in order:
        if missed := [f"{floor} ({least:.3f})" for floor, least in floors[name].items() if means[name] <= least]:
            reasons[name] = f"validation F1 {means[name]:.3f} is not above {' or '.join(missed)}"
    worthy = [name for name in order if name not in reasons]
    if not worthy:
        return {"primary": None, "secondary": [], "set_aside": order, "reasons": reasons}
    primary, *others = worthy
    reasons[primary] = f"highest validation F1, {means[primary]:.3f}"
    secondary = [name for name in others if not is_clear(pairs, primary, name)]
    for name in others:
        gap = means[primary] - means[name]
        tie = f"{gap:.3f} below {NAMES[primary]} on validation, within chance: a tie"
        reasons[name] = tie if name in secondary else f"{gap:.3f} below {NAMES[primary]} on validation, beyond chance"
    aside = [name for name in order if name != primary and name not in secondary]
    return {"primary": primary, "secondary": secondary, "set_aside": aside, "reasons": reasons}


def earning(models: dict[str, Called], blocks: float, confidence: float) -> list[str]:
    """Those whose return a day is above zero beyond chance, corrected for their number (Holm); none with one seed."""
    estimates = {name: Estimate.of(model.daily, model.drawn_daily, blocks) for name, model in models.items()}
    levels = holm_levels([estimate.p_value() for estimate in estimates.values()], 1 - confidence)
    return [
        name
        for (name, estimate), (p_holm, _) in zip(estimates.items(), levels, strict=True)
        if estimate.value > 0 and p_holm < 1 - confidence and not models[name].has_one_seed()
    ]


def verdict(means: dict[str, float], pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """The model that beats every other one on test beyond chance; None, with the ties of the first, where there is none."""
    first = max(means, key=lambda name: means[name])
    ties = [name for name in means if name != first and not is_clear(pairs, first, name)]
    return {"first": first, "winner": None if ties else first, "ties": ties}


def mean_or_none(values: list[Any]) -> float | None:
    """None where one of `values` is None."""
    return None if any(value is None for value in values) else statistics.fmean(values)


def scores(seeds: list[dict[str, Any]], ensemble: dict[str, Any], estimate: Estimate, confidence: float) -> dict[str, Any]:
    """One model's figures on one split, means over `seeds` as `evaluate` judged them.

    Args:
        ensemble: the same figures of the scores averaged over seeds.
        estimate: of F1.
    """
    by_seed = [row[F1] for row in seeds]
    low, high = estimate.interval(confidence)
    keys = ("pr_auc", "roc_auc", "precision", "recall", "f1_at_0.5", "precision_at_0.5", "recall_at_0.5", "brier_score")
    keys += ("log_loss", "expected_calibration_error", "expected_calibration_error_scaled")
    return {
        "f1": {
            "mean": statistics.fmean(by_seed),
            "std": statistics.stdev(by_seed) if len(by_seed) > 1 else None,
            "interval": [max(low, 0.0), min(high, 1.0)],
            "by_seed": by_seed,
        },
        "ensemble_f1": ensemble[F1],
        "pr_auc_chance": seeds[0]["positive_share"],
        **{key: statistics.fmean(row[key] for row in seeds) for key in keys},
        "std": {key: statistics.stdev(row[key] for row in seeds) if len(seeds) > 1 else None for key in keys},
    }


def money(seeds: list[dict[str, Any]], estimate: Estimate, confidence: float) -> dict[str, Any]:
    """One model's money figures, means over seeds; `estimate` is of the daily return."""
    rows = [row["money"] for row in seeds]
    return {
        **{key: mean_or_none([row[key] for row in rows]) for key in rows[0]},
        "return_per_day_interval": estimate.interval(confidence),
    }


def by_group(seeds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Tables by asset or month, means over seeds."""
    return {group: {key: mean_or_none([table[group][key] for table in seeds]) for key in row} for group, row in seeds[0].items()}


def made_or_lost(total: float) -> str:
    """A total return, a share of the capital, in words; with constant stakes it can be less than −1."""
    return f"made {total:.1%} of" if total > 0 else f"lost {-total:.1%} of" if total > -1 else "lost all of"


def sentences(result: dict[str, Any]) -> list[str]:
    """The verdict: who leads on test, what to search, what it would have paid, and whether a network is ready to trade."""
    judged, search, models = result["test_verdict"], result["search_first"], result["models"]

    def names(of: list[str]) -> str:
        return ", ".join(NAMES[name] for name in of)

    first = judged["first"]
    f1_first = models[first]["test"]["f1"]["mean"]
    others = "every other model" if len(judged["ties"]) == len(models) - 1 else names(judged["ties"])
    if judged["winner"]:
        leads = f"{NAMES[first]} has the best test F1 ({f1_first:.3f}), beyond chance against every other model."
    else:
        leads = f"No winner: {NAMES[first]} leads on test (F1 {f1_first:.3f}), tied within chance with {others}."
    primary = search["primary"]
    if primary is None:
        primary = max(NETWORKS, key=lambda name: models[name]["val"]["f1"]["mean"])
        advice = f"No architecture is shown to be worth a search. The best, {NAMES[primary]}: {search['reasons'][primary]}."
    else:
        ties = "ties" if len(search["secondary"]) > 1 else "a tie"
        then = f", then {names(search['secondary'])} ({ties})" if search["secondary"] else ""
        aside = f"; set aside {names(search['set_aside'])}" if search["set_aside"] else ""
        advice = f"Search {NAMES[primary]} first{then}{aside}."
    if result["earning"]:
        ready = f"Test returns after costs above zero, beyond chance: {names(result['earning'])}."
    else:
        ready = "No network's test return after costs is above zero beyond chance: none is ready to be traded."
    paid = models[primary]["test"]["money"]
    if not paid["trades"]:
        return [leads, advice, f"{NAMES[primary]} took no trade on test.", ready]
    low, high = paid["return_per_day_interval"]
    sure = f" (the {result['confidence']:.0%} interval of its daily return includes zero)" if low <= 0 <= high else ""
    needed = paid["break_even_hit_rate"]
    hits = "" if needed is None else f"; {paid['hit_rate']:.1%} of them hit the profit barrier, and {needed:.1%} would break even"
    pays = (
        f"On test {NAMES[primary]} would have {made_or_lost(paid['total_return_net'])} the capital after costs, in "
        f"{paid['trades']:,.0f} trades{sure}{hits}."
    )
    return [leads, advice, pays, ready]


def unlike(used: dict[str, dict[str, str]]) -> list[str]:
    """A sentence where the networks were not trained alike; `used` has each one's precision, torch and processor."""
    different = []
    for what in next(iter(used.values())):
        values = {name: row[what] for name, row in used.items()}
        if len(set(values.values())) > 1:
            different.append(f"{what} " + ", ".join(f"{value} ({NAMES[name]})" for name, value in values.items()))
    if not different:
        return []
    return [f"Not trained alike: {'; '.join(different)}. Differences between them may come from that: train all on one machine."]


def elsewhere(used: committed.Kinds) -> str:
    """A line where the committed networks were trained on another kind of machine than these, else empty."""
    there = committed.trained_with()
    if not committed.differing(there, used):
        return ""
    return (
        f"the committed networks were trained with {committed.described(there)}, these with {committed.described(used)}; what "
        "that means for git checkout: python src/verify.py committed"
    )


def convergence(train: dict[str, Any]) -> dict[str, Any]:
    """When and how calmly the seeds of one architecture converged; `train` is its metrics/train/<arch>.json."""
    seeds = train["seeds"]
    return {
        "best_epochs": [seed["best_epoch"] for seed in seeds],
        "epochs": [seed["epochs"] for seed in seeds],
        "train_f1": statistics.fmean(seed["train_f1_score_positive_class"] for seed in seeds),
        "val_f1": statistics.fmean(seed["val_f1_score_positive_class"] for seed in seeds),
        "val_f1_range_last_10_epochs": statistics.fmean(seed["val_f1_spread_last_10_epochs"] for seed in seeds),
    }


def losing(models: dict[str, Any], ranking: list[str]) -> list[str]:
    """Models that look good and lose: test F1 above always-positive, and less than nothing earned after costs."""
    chance = models["always_positive"]["test"]["f1"]["mean"]
    return [
        name
        for name in ranking
        if models[name]["test"]["f1"]["mean"] > chance and models[name]["test"]["money"]["total_return_net"] < 0
    ]


def check_seeds(seeds: dict[str, list[int]]) -> None:
    """Raises CampaignError when architectures, which are compared seed by seed, have different ones."""
    if len({tuple(own) for own in seeds.values()}) > 1:
        found = ", ".join(f"{name} has {shown(own)}" for name, own in seeds.items())
        raise CampaignError(f"the seeds of the networks differ, {found}; train all of them with the same: dvc repro")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file. Raises CampaignError where it is missing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None


@tracking.mirroring()
def main() -> None:
    settings = stage.read_section("compare", Compare)
    metadata = stage.read_json(stage.DATA / "metadata.json")
    evaluated = stage.read_json(Path("metrics/evaluate.json"))
    trained = {name: stage.read_json(Path("metrics/train") / f"{name}.json") for name in NETWORKS}
    check_seeds({name: evaluated["models"][name]["seeds"] for name in NETWORKS})
    cost = evaluated["cost_per_trade"]

    called: dict[str, dict[str, Called]] = {}
    blocks, days = {}, {}
    at_other_times = {}
    for split in JUDGED:
        trades = Trades.of(stage.read_split(split, "y", "returns", "held", "asset_ids", "timestamps"))
        days[split] = int(trades.days.max()) + 1
        block = min(settings.block_days or block_length(days[split]), days[split] // FEWEST_BLOCKS)
        blocks[split] = days[split] / block
        weights = draw_days(days[split], block, settings.draws, settings.seed)
        called[split] = {}
        for name in NAMES:
            model = evaluated["models"][name]
            scored = stage.read_array(Path("data/predictions") / f"{name}_{split}.npy")
            above = scored >= np.array(model["thresholds"])[:, None]
            called[split][name] = Called.of(trades, above, model["seeds"], weights, cost)
            if split == "val" and name in NETWORKS:
                by_seed = (f1_at_other_times(trades.y, row, trades.asset_ids, MOVES) for row in scored)
                at_other_times[name] = statistics.fmean(by_seed)

    models: dict[str, Any] = {}
    for name in NAMES:
        model = evaluated["models"][name]
        models[name] = {"kind": "network" if name in NETWORKS else "reference", "seeds": model["seeds"]}
        for split in JUDGED:
            of_f1 = Estimate.of(called[split][name].f1, called[split][name].drawn_f1, blocks[split])
            models[name][split] = scores(model[split], model["ensemble"][split], of_f1, settings.confidence)
        best = model["seeds"].index(model["best_seed"])
        of_return = Estimate.of(called["test"][name].daily, called["test"][name].drawn_daily, blocks["test"])
        models[name]["test"] |= {
            "temperature": statistics.fmean(model["temperatures"]),
            "confusion": {key: model["test"][best][key] for key in ("tp", "fp", "fn", "tn")},
            "money": money(model["test"], of_return, settings.confidence),
            "by_asset": by_group(model["by_asset"]),
            "by_month": by_group(model["by_month"]),
        }
        if name in NETWORKS:
            models[name]["training"] = convergence(trained[name])
    means = {split: {name: models[name][split]["f1"]["mean"] for name in NAMES} for split in JUDGED}
    pairs = {split: paired_differences(called[split], blocks[split], settings.confidence) for split in JUDGED}
    networks = {name: called["test"][name] for name in NETWORKS}
    earn = earning(networks, blocks["test"], settings.confidence)
    best = max(REFERENCES, key=lambda name: means["val"][name])
    floors = {
        name: {
            "the minimum": settings.min_val_f1,
            "always-positive": means["val"]["always_positive"],
            f"{NAMES[best]}, the best reference": means["val"][best],
            "the best F1 of the shift test": at_other_times[name],
        }
        for name in NETWORKS
    }
    result = {
        "simulated": metadata["simulated"],
        "confidence": settings.confidence,
        "draws": settings.draws,
        "block_days": {split: round(days[split] / blocks[split]) for split in JUDGED},
        "days": days,
        "break_even_precision": evaluated["break_even_precision"],
        "cost_per_trade": cost,
        "one_column": evaluated["one_column"],
        "ranking": sorted(NAMES, key=lambda name: -models[name]["val"]["f1"]["mean"]),
        "test_verdict": verdict(means["test"], pairs["test"]),
        "earning": earn,
        "search_first": recommend({name: means["val"][name] for name in NETWORKS}, floors, pairs["val"]),
        "gates": {
            name: gates(
                name,
                trained[name],
                means,
                pairs["test"],
                floors=floors[name],
                paid=models[name]["test"]["money"],
                earns=name in earn,
                settings=settings,
            )
            for name in NETWORKS
        },
        "models": models,
        "pairs": pairs,
    }
    used = {name: {"precision": record["precision"]} | record["environment"] for name, record in trained.items()}
    result = {"verdict": sentences(result) + unlike(used), "losing": losing(models, result["ranking"])} | result
    result |= {"trained_with": used}  # git holds this file: it says on what kind of machine the committed results were made
    stage.write_json(Path("metrics/compare.json"), result)

    history = {name: read_rows(Path("models") / name / "training_history.csv") for name in NETWORKS}
    learning = [
        {"model": NAMES[name]} | {key: row[key] for key in ("seed", "epoch", "val_f1", "train_loss", "val_loss")}
        for name, rows in history.items()
        for row in rows
    ]
    stage.write_csv(Path("plots/learning_curves.csv"), learning)
    curves = {kind: read_rows(Path("plots") / f"{kind}_curves.csv") for kind in CURVES}
    result |= {"settings": {"train": next(iter(trained.values()))["settings"] | {"trained with": committed.described(used)}}}
    result["settings"] |= {name: trained[name]["architecture"] for name in NETWORKS}
    stage.write_text(Path("reports/comparison.md"), comparison(result, metadata))
    stage.write_text(Path("reports/comparison.html"), page(result, metadata, {"learning": learning} | curves))
    stage.write_text(Path("reports/decisions.md"), decision(result, metadata))
    stage.say("compare: " + " ".join(result["verdict"]))
    if note := elsewhere(used):
        stage.say(f"compare: {note}")


if __name__ == "__main__":
    stage.run(main)
