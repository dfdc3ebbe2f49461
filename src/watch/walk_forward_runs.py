"""Write walk-forward to MLflow from its files: a run for all of it, and in that a run for each architecture and fold."""

import contextlib
import math
import statistics
from collections.abc import Mapping
from typing import Any

from core.errors import CampaignError
from core.files import read_json
from core.params import read_section
from core.pipeline import read_generated_yaml
from judge.evaluation import Judged, read_evaluation
from judge.names import REFERENCES
from judge.scores import leaderboard_row
from walk_forward.folds import FOLDS, PROJECT, WalkForward, places_of
from watch import ledger, tracking
from watch.run_values import RUN_TAGS, changed_points, describe_code, directory_md5, flatten, missing_means, read_history
from watch.store import MAX_TEXT, Store

EVALUATIONS = PROJECT / "metrics/evaluate"
JUDGEMENT = PROJECT / "metrics/walk_forward.json"
REPORTS = (JUDGEMENT, PROJECT / "reports/walk_forward.html", PROJECT / "reports/walk_forward.md")
TAGS = RUN_TAGS | {"phase": "walk_forward"}
NOTE = "Metrics are means over folds, of each model's means over seeds; _std is their standard deviation over folds."
FOLD_NOTE = "Curves and figures are means over seeds. The tag threshold is the best seed's."
OVER_FOLDS = (  # what of a model's row of the leaderboard is averaged over folds
    *("val_f1_cross_fitted", "val_f1_score_positive_class", "val_pr_auc"),
    *("test_f1_score_positive_class", "test_pr_auc", "test_direction_auc", "test_total_return_net"),
)

Folds = Mapping[str, Mapping[str, Judged]]  # how well each model did, by fold, oldest first, and model


def is_judged() -> bool:
    """Tell whether a walk-forward and its judgement are here."""
    return FOLDS.is_file() and JUDGEMENT.is_file()


def write_runs(store: Store, **tags: str) -> str:
    """Write the runs of the walk-forward that is here, or complete those that these very evaluations have already.

    Args:
        tags: of runs that are new, besides their own.

    Returns:
        The id of the run that stands for all folds.

    Raises:
        CampaignError: a file is missing or damaged, or the judgement is about other evaluations.
    """
    folds = {fold: read_evaluation(places_of(fold).evaluation).models for fold in read_json(FOLDS)}
    judgement = read_json(JUDGEMENT)
    _check_judgement(judgement, folds)
    bars = read_json(places_of(next(iter(folds))).data / "metadata.json")["source"]
    tags |= {**TAGS, "evaluate_md5": directory_md5(EVALUATIONS), "bars": bars, "process": tracking.this_process()}
    tags |= describe_code()
    known = store.find_own(f"tags.evaluate_md5 = '{tags['evaluate_md5']}'")
    run = known.info.run_id if known else store.create(f"walk-forward {tags['dvc_exp_name']}".strip(), tags)
    if not (known and known.data.params):
        store.log(run, params=_read_settings())

    _write_folds(store, run, tags, folds)
    note = "\n\n".join([" ".join(judgement["verdict"]), NOTE])[:MAX_TEXT]
    looks = ledger.looks_tag(*(places_of(fold).data for fold in folds))
    store.log(run, metrics=changed_points(store, run, _average(folds)), tags={"mlflow.note.content": note} | looks)
    for file in REPORTS:
        if file.is_file():
            store.client.log_artifact(run, str(file), "report")
    store.end((run,), "FINISHED")
    return run


def _check_judgement(judgement: Mapping[str, Any], folds: Folds) -> None:
    """Raise CampaignError where the judgement is not about these evaluations: they were made anew, and not judged yet."""
    own = {name: model["f1"]["by_fold"] for name, model in judgement["models"].items()}
    is_about_these = [fold["name"] for fold in judgement["folds"]] == list(folds) and all(
        models.keys() == own.keys()
        and all(math.isclose(own[name][number], leaderboard_row(models[name])["test_f1_score_positive_class"]) for name in own)
        for number, models in enumerate(folds.values())
    )
    if not is_about_these:
        raise CampaignError(f"{JUDGEMENT} is about other results than {EVALUATIONS} has; run: cd walk_forward; dvc repro")


def _read_settings() -> dict[str, Any]:
    """Read the settings that DVC recorded for these folds; those of params.yaml where DVC did not cut them."""
    with contextlib.suppress(CampaignError, KeyError):
        recorded = read_generated_yaml(PROJECT / "dvc.lock")["stages"]["cut_folds"]["params"]["../params.yaml"]
        return {key: value for key, value in flatten(recorded).items() if key.startswith("walk_forward.")}
    return flatten({"walk_forward": read_section("walk_forward", WalkForward).model_dump()})


def _write_folds(store: Store, run: str, tags: Mapping[str, str], folds: Folds) -> None:
    """Write the runs below `run` that are not finished yet: one an architecture and fold, with `run`'s tags."""
    children = {
        (child.data.tags["model_type"], child.data.tags["fold"]): child.info
        for child in store.find(f"tags.`mlflow.parentRunId` = '{run}'")
    }
    for fold, models in folds.items():
        for name in [name for name in models if name not in REFERENCES]:
            child = children.get((name, fold))
            if child is None or child.status != "FINISHED":
                own = {**tags, "mlflow.parentRunId": run, "model_type": name, "fold": fold}
                _write_fold(store, child and child.run_id, own, models[name])


def _write_fold(store: Store, run: str | None, tags: Mapping[str, str], judged: Judged) -> None:
    """Write the run of one architecture on one fold.

    Args:
        run: its id, where it was begun already.
        tags: of a new run; they name the architecture, the fold and the run above.
    """
    name, places = tags["model_type"], places_of(tags["fold"])
    trained = read_json(places.train_record_of(name))
    own = {
        "data_hash": read_json(places.data / "metadata.json")["content_hash"],
        "precision": trained["precision"],
        "best_seed": judged.best_seed,
        "threshold": judged.thresholds[judged.best],
        "mlflow.note.content": FOLD_NOTE,
    }
    run = run or store.create(f"{name} {tags['fold']}", tags)
    params = flatten({"train": trained["settings"], name: trained["architecture"]})
    epochs = missing_means(store, run, read_history(places.models_of(name)), len(trained["seeds"]))
    store.log(run, params=params, metrics=epochs, tags=own)
    figures = {key: value for key, value in trained.items() if key != "best_seed"} | leaderboard_row(judged)
    store.log(run, metrics=changed_points(store, run, figures))
    store.end((run,), "FINISHED")


def _average(folds: Folds) -> dict[str, float]:
    """Average figures of every model over the folds that have them, with their standard deviation, by ``<model>.<figure>``."""
    figures: dict[str, float] = {}
    for name in next(iter(folds.values())):
        rows = [leaderboard_row(models[name]) for models in folds.values()]
        for key in OVER_FOLDS:
            values = [row[key] for row in rows if row[key] is not None]
            if values:
                figures[f"{name}.{key}"] = statistics.fmean(values)
            if len(values) > 1:
                figures[f"{name}.{key}_std"] = statistics.stdev(values)
    return figures
