"""Measure every network's seeds and the references on validation and test.

Thresholds are chosen on validation and used unchanged on test. A model's figure is the mean over its seeds, never the best of
them.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from core.cross_fitting import halves
from core.errors import CampaignError, print_stderr
from core.fan_out import fan_out
from core.files import read_array, read_json, write_array, write_bytes, write_csv, write_json
from core.metrics import Ranking, f1_precision_recall, sigmoid
from core.params import Settings, read_section
from core.pipeline import read_labels
from core.places import CAMPAIGN, Places
from core.png import Figure, to_png
from core.run import run
from core.splits import SCORED_SPLITS, read_split
from core.task import Task
from judge.equity import buy_and_hold
from judge.evaluation import Evaluation, Judged, SplitMetrics
from judge.money import Trades, break_even_precision, costs_by_asset
from judge.names import NO_CURVE, REFERENCES, Roster
from judge.scores import Curves, Predictions, compute_curves, judge_model, leaderboard_row
from learn.dataset import Split
from learn.device import device, prepare_process
from learn.fit import predict
from learn.models import load_model
from watch import tracking

ARRAYS = ("y", "mirrored", "asset_ids", "timestamps", "returns", "held", "closes")  # of each split
F1_TOLERANCE = 1e-3  # of validation F1 against what training reported: another machine's rounding moves it less


class Evaluate(Settings):
    cost_per_trade: Any  # a number, or one by symbol
    min_trades: int = Field(ge=1, le=1_000_000)

    @field_validator("cost_per_trade")
    @classmethod
    def _costs(cls, value: Any) -> float | dict[str, float]:
        """Check by hand: of a union pydantic would report a problem for each of its types."""
        costs = value.values() if isinstance(value, dict) and value else [value]
        if not all(type(cost) in (int, float) and 0 <= cost < 1 for cost in costs):
            raise ValueError("a number from 0 to below 1, or such a number for each symbol")
        return {str(symbol): float(cost) for symbol, cost in value.items()} if isinstance(value, dict) else float(value)


def predict_network(places: Places, name: str, val_y: np.ndarray) -> Predictions:
    """Predict validation and test with every trained seed of an architecture.

    Args:
        places: where its models and the splits are.
        name: of the architecture.
        val_y: labels of the samples of validation, (N,).

    Raises:
        CampaignError: no seed is trained, a model file is damaged, belongs to other data, or was trained with another source.
    """
    models, command = places.models_of(name), places.training_command(name)
    files = sorted(models.glob("seed_*.pt"), key=lambda path: int(path.stem.split("_")[1]))
    if not files:
        raise CampaignError(f"{models} holds no trained seed; run {command}")
    inputs = models, places.data
    predicted = fan_out([Task(f"scores of {file}", predict_seed, inputs, (file.name,), uses_gpu=True) for file in files])
    for file, (content, by_split) in zip(files, predicted, strict=True):
        check_reported_f1(file, content, val_y, by_split["val"], command)
    return Predictions(
        seeds=[content["seed"] for content, _ in predicted],
        thresholds=[content["threshold"] for content, _ in predicted],
        **{split: np.stack([by_split[split] for _, by_split in predicted]) for split in SCORED_SPLITS},
        val_halves=np.stack([read_half_scores(file, len(val_y), command) for file in files]),
    )


def read_half_scores(path: Path, samples: int, command: str) -> np.ndarray:
    """Read the scores for cross-fitting that a training left beside its model file, float64 (2, N).

    Args:
        path: of the model file.
        samples: N, of validation. command: trains the architecture anew.

    Raises:
        CampaignError: they are missing, damaged or of other samples.
    """
    file = path.with_name(f"{path.stem}_val_half_logits.npy")
    logits = read_array(file)
    if logits.shape != (2, samples):
        raise CampaignError(
            f"{file} is of shape {logits.shape}, validation has {samples:,} samples: it belongs to other data; run {command}"
        )
    return sigmoid(logits)


def predict_seed(models: Path, data: Path, file: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Load one model file of the directory `models`, and predict validation and test of the splits in the directory `data`.

    Returns:
        What the file holds beside the weights, and by split the probabilities, float64 (N,).

    Raises:
        CampaignError: as `load_model` does, or the splits are missing or damaged.
    """
    prepare_process()
    model, content = load_model(models / file)
    lookback = read_json(data / "metadata.json")["lookback"]
    scores = {}
    for name in SCORED_SPLITS:
        split = Split.of(**read_split(data, name, "X", "y", "asset_ids"), lookback=lookback, device=device())
        scores[name] = sigmoid(predict(model.to(split.X.device), split))
    return {key: value for key, value in content.items() if key != "weights"}, scores


def check_reported_f1(path: Path, content: Mapping[str, Any], val_y: np.ndarray, val_scores: np.ndarray, command: str) -> None:
    """Make sure that a model scores the validation F1 that its training reported.

    Args:
        path: of the model file. content: what it holds.
        val_y, val_scores: labels and scores of the samples of validation, (N,).
        command: trains the architecture anew.

    Raises:
        CampaignError: it does not, so that model and data do not belong together.
    """
    f1, *_ = f1_precision_recall(val_y, val_scores, content["threshold"])
    reported = content["val_f1_score_positive_class"]
    if abs(f1 - reported) > F1_TOLERANCE:
        raise CampaignError(
            f"{path} scores validation F1 {f1:.4f}, training reported {reported:.4f}: model and data do not belong together; "
            f"run {command}"
        )


def read_reference(references: Path, name: str, val_y: np.ndarray) -> Predictions:
    """Read the scores that fit_references left in a directory, and choose the threshold on validation.

    Raises:
        CampaignError: they are missing or damaged.
    """
    scores = {split: read_array(references / f"{name}_{split}.npy")[None] for split in SCORED_SPLITS}
    thresholds = [Ranking.of(val_y, scores["val"][0]).best_threshold()]
    return Predictions(seeds=[None], thresholds=thresholds, **scores, val_halves=np.stack([scores["val"]] * 2, axis=1))


def confusion_png(label: str, metrics: SplitMetrics) -> bytes:
    """Draw a model's confusion matrix on test: counts, and shares of the true class.

    Args:
        label: the model's name for people.
        metrics: of one seed.
    """
    counts = np.array([[metrics.tn, metrics.fp], [metrics.fn, metrics.tp]])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3.6, 3.2))
    panel = figure.subplots()
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if share[i, j] > 0.6 else "black"
        panel.text(j, i, f"{count:,}\n{share[i, j]:.0%}", ha="center", va="center", color=colour)
    panel.set_xticks([0, 1], ["no trade", "trade"])
    panel.set_yticks([0, 1], ["no profit", "profit"], rotation=90, va="center")
    panel.set(xlabel="called", ylabel="true", title=f"{label}, test")
    panel.grid(visible=False)
    return to_png(figure)


def write_model(name: str, label: str, judged: Judged) -> None:
    """Write one model's row of the leaderboard and its confusion matrix, and report the row."""
    row = leaderboard_row(judged)
    write_json(Path("metrics/test") / f"{name}.json", row)
    write_bytes(Path("plots/confusion") / f"{name}.png", confusion_png(label, judged.test[judged.best]))
    f1, pr_auc = row["test_f1_score_positive_class"], row["test_pr_auc"]
    print_stderr(f"evaluate: {name:20} test F1 {f1:.3f}, PR AUC {pr_auc:.3f}, mean over {len(judged.seeds)}")


def write_curves(by_label: Mapping[str, Curves]) -> None:
    """Write ``plots/<kind>_curves.csv`` for each kind of curve, the models one after the other."""
    for kind in (field.name for field in dataclasses.fields(Curves)):
        rows = [{"model": label, **point} for label, of_model in by_label.items() for point in getattr(of_model, kind)]
        write_csv(Path("plots") / f"{kind}_curves.csv", rows)


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """One model on one set of splits. curves: of the test split; None where the scores have too few points for one."""

    judged: Judged
    curves: Curves | None


def evaluate(
    places: Places, names: Iterable[str], settings: Evaluate, report: Callable[[str, Evaluated], None]
) -> dict[str, Evaluated]:
    """Score validation and test with all models, choose on validation, and write scores, choices and all metrics to `places`.

    Args:
        names: of the models, in the order in which they are shown.
        report: called with each model's name and what was found, as soon as it is.

    Raises:
        CampaignError: models or data are missing, damaged, or do not belong together; a cost belongs to no symbol.
    """
    metadata = read_json(places.data / "metadata.json")
    costs = costs_by_asset(settings.cost_per_trade, metadata["assets"])
    arrays = {split: read_split(places.data, split, *ARRAYS) for split in SCORED_SPLITS}
    trades = {split: Trades.of(part, costs) for split, part in arrays.items()}
    half = halves(arrays["val"]["y"], arrays["val"]["timestamps"], metadata["horizon"])

    prepare_process()  # before there are threads
    found: dict[str, Evaluated] = {}
    references, val_y = places.models_of("references"), trades["val"].y
    for name in names:
        is_reference = name in REFERENCES
        predictions = read_reference(references, name, val_y) if is_reference else predict_network(places, name, val_y)
        judged = judge_model(predictions, trades, half, metadata["assets"], settings.min_trades)
        write_array(places.predictions_of(name, "val"), predictions.val)
        write_array(places.predictions_of(name, "test"), predictions.test)
        write_array(places.half_predictions_of(name), predictions.val_halves)
        curves = None if name in NO_CURVE else compute_curves(trades["test"], predictions.test[judged.best])
        found[name] = Evaluated(judged, curves)
        report(name, found[name])

    write_json(places.choices, {name: own.judged.choices for name, own in found.items()})
    barriers = (metadata[key] for key in ("barrier", "profit", "stop"))
    Evaluation(
        break_even_precision=break_even_precision(*barriers, float(costs.mean())),
        cost_per_trade=settings.cost_per_trade,
        one_column=read_json(references / "one_column.json")["column"],
        buy_and_hold={split: buy_and_hold(part, costs) for split, part in arrays.items()},
        models={name: own.judged for name, own in found.items()},
        data=metadata["content_hash"],
    ).write(places.evaluation)
    return found


@tracking.update_at_end()
def main() -> None:
    settings = read_section("evaluate", Evaluate)
    labels = Roster(read_labels()).labels
    found = evaluate(CAMPAIGN, labels, settings, lambda name, own: write_model(name, labels[name], own.judged))
    write_curves({labels[name]: own.curves for name, own in found.items() if own.curves is not None})


if __name__ == "__main__":
    run(main)
