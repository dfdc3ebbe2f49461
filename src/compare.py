"""Compare the models: whether a network is worth a search, or any model a trade, and what was learnt.

Validation chooses, in two halves that judge each other's choices; test only reports. A difference counts only where chance does
not explain it, over all questions of its kind together.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import csv
import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from core.cross_fitting import halves
from core.errors import CampaignError, format_value, print_stderr
from core.files import read_array, read_json, write_csv, write_json, write_text
from core.params import Settings, read_section
from core.pipeline import read_labels
from core.places import CAMPAIGN, Places
from core.run import run
from core.splits import SCORED_SPLITS, read_split
from judge.comparison import Comparison, compare_models
from judge.evaluation import Evaluation, read_evaluation
from judge.figures import ModelScores
from judge.money import Trades, costs_by_asset
from judge.names import Roster
from judge.train_record import TrainRecord, list_settings
from report import committed
from report.decisions import decision
from report.markdown import comparison
from report.page import page
from watch import ledger, tracking

PLOTS = Path("plots")
REPORTS = Path("reports")
CURVES = ("pr", "roc", "calibration", "threshold")
LEARNING_COLUMNS = ("seed", "epoch", "val_f1", "train_loss", "val_loss")

Rows = list[dict[str, Any]]


class Compare(Settings):
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0, le=2**63 - 1)
    block_days: int | None = Field(ge=1, le=365)
    confidence: float = Field(gt=0.5, le=0.9999)
    margin: float = Field(ge=0, le=1)
    min_val_f1: float = Field(ge=0, le=1)
    max_train_val_gap: float = Field(ge=0, le=1)
    max_epoch_spread: float = Field(ge=0, le=1)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the stages before left.

    metadata: of the data. evaluation: of every model. trained: by network.
    trades: by split. scores: by model. halves: int8 (N,), the half of each sample of validation.
    learning: rows of plots/learning_curves.csv; numbers are text.
    """

    metadata: dict[str, Any]
    evaluation: Evaluation
    trained: dict[str, TrainRecord]
    trades: dict[str, Trades]
    scores: dict[str, ModelScores]
    halves: np.ndarray
    learning: Rows


def load(places: Places, roster: Roster) -> Inputs:
    """Read what the stages before left in `places`.

    Raises:
        CampaignError: a file is missing or damaged, or the networks have different seeds.
    """
    evaluation = read_evaluation(places.evaluation)
    if missing := [name for name in roster.labels if name not in evaluation.models]:
        raise CampaignError(f"{places.evaluation} lacks {', '.join(missing)}; measure again: dvc repro evaluate")
    records = {name: read_json(places.train_record_of(name)) for name in roster.networks}
    check_seeds({name: evaluation.models[name].seeds for name in roster.networks})
    metadata = read_json(places.data / "metadata.json")
    columns = ("y", "mirrored", "returns", "held", "asset_ids", "timestamps")
    arrays = {split: read_split(places.data, split, *columns) for split in SCORED_SPLITS}
    learning = [
        {"model": label} | {column: row[column] for column in LEARNING_COLUMNS}
        for name, label in roster.networks.items()
        for row in read_csv(places.models_of(name) / "training_history.csv")
    ]
    costs = costs_by_asset(evaluation.cost_per_trade, metadata["assets"])
    return Inputs(
        metadata=metadata,
        evaluation=evaluation,
        trained={
            name: TrainRecord.from_json(name, record, [row for row in learning if row["model"] == roster.networks[name]])
            for name, record in records.items()
        },
        trades={split: Trades.of(part, costs) for split, part in arrays.items()},
        scores={name: read_scores(places, name) for name in roster.labels},
        halves=halves(arrays["val"]["y"], arrays["val"]["timestamps"], metadata["horizon"]),
        learning=learning,
    )


def read_scores(places: Places, name: str) -> ModelScores:
    """Read what evaluate scored with one model. Raises CampaignError where an array is missing or damaged."""
    return ModelScores(
        val=read_array(places.predictions_of(name, "val")),
        val_halves=read_array(places.half_predictions_of(name)),
        test=read_array(places.predictions_of(name, "test")),
    )


def check_seeds(seeds: Mapping[str, list[int | None]]) -> None:
    """Raise CampaignError where networks, which are compared seed by seed, have different seeds."""
    if len({tuple(own) for own in seeds.values()}) > 1:
        found = ", ".join(f"{name} has {format_value(own)}" for name, own in seeds.items())
        raise CampaignError(f"the seeds of the networks differ, {found}; train all of them with the same: dvc repro")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as text. Raises CampaignError where it is missing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None


def write(result: Comparison, inputs: Inputs, roster: Roster) -> None:
    """Write metrics/compare.json, plots/learning_curves.csv and the reports."""
    write_json(Path("metrics/compare.json"), result.to_json())
    write_csv(PLOTS / "learning_curves.csv", inputs.learning)
    shown_with, settings = (result, inputs.metadata, roster), list_settings(inputs.trained.values())
    curves = {"learning": inputs.learning} | {kind: read_csv(PLOTS / f"{kind}_curves.csv") for kind in CURVES}
    write_text(REPORTS / "comparison.md", comparison(*shown_with, settings))
    write_text(REPORTS / "comparison.html", page(*shown_with, settings, curves))
    write_text(REPORTS / "decisions.md", decision(*shown_with))


def compare(inputs: Inputs, roster: Roster, settings: Compare) -> Comparison:
    """Compare all models by the campaign's rules."""
    with threadpool_limits(1):  # matrices are small: threads would wait for each other most of the time
        return compare_models(
            roster,
            inputs.evaluation,
            inputs.trained,
            inputs.trades,
            inputs.halves,
            inputs.scores,
            simulated=inputs.metadata["simulated"],
            **settings.model_dump(),
        )


def machine_note(trained_with: committed.Kinds) -> str:
    """Note that the committed networks were trained on another kind of machine than these; empty where they were not."""
    there = committed.trained_with()
    if not committed.differing(there, trained_with):
        return ""
    return (
        f"the committed networks were trained with {committed.described(there)}, these with "
        f"{committed.described(trained_with)}; what that means for git checkout: python src/campaign.py verify --committed"
    )


def look_of(inputs: Inputs, roster: Roster) -> ledger.Look:
    """Describe this look at test, for the ledger."""
    models = inputs.evaluation.models
    return ledger.Look.at(
        "campaign",
        [CAMPAIGN.data],
        ledger.settings_of(*roster.networks),
        {name: statistics.fmean(own.f1_score_positive_class for own in models[name].test) for name in roster.labels},
        {
            name: ledger.daily_returns(inputs.trades["test"], inputs.scores[name].test, models[name].money_thresholds)
            for name in roster.labels
        },
    )


@tracking.update_at_end()
def main() -> None:
    settings = read_section("compare", Compare)
    roster = Roster(read_labels())
    inputs = load(CAMPAIGN, roster)
    result = compare(inputs, roster, settings)
    write(result, inputs, roster)
    print_stderr("compare: " + " ".join(result.verdict))
    if note := machine_note(result.trained_with):
        print_stderr(f"compare: {note}")
    ledger.note(look_of(inputs, roster))


if __name__ == "__main__":
    run(main)
