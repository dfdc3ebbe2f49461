"""Write a search to MLflow from its result: a run for all of it, in that a run for each trial, and in those one for each seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import read_json
from core.splits import DATA
from watch import ledger, tracking
from watch.run_values import RUN_TAGS, changed_points, describe_code, flatten
from watch.store import Store

NOTE = "Scores are of validation, cross-fitted, higher is better; the tag state says which trials were pruned or failed."
STATUSES = {"failed": "FAILED"}  # of a trial's run, by state; others are finished


def write_runs(store: Store, path: Path) -> str:
    """Write the runs of the search whose result is the JSON file `path`, or complete those that it has already.

    Returns:
        The id of the run that stands for the whole search.

    Raises:
        CampaignError: the file is missing or damaged.
    """
    result = read_json(path)
    study, name = result["study"], result["architecture"]
    tags = {**RUN_TAGS, "phase": "search", "model_type": name, "search": study, "process": tracking.this_process()}
    tags |= describe_code()
    known = store.find_own(f"tags.search = '{study}'")
    run = known.info.run_id if known else store.create(f"search {study}", tags)
    if not (known and known.data.params):
        store.log(run, params=flatten({"search": result["settings"]}))
    _write_trials(store, run, tags, result)
    own = {"verdict": (result["contest"] or {}).get("verdict", "not shown"), "best_trial": result["best_trial"]}
    note = {"mlflow.note.content": f"{result['choice']}\n\n{NOTE}"}
    store.log(run, metrics=changed_points(store, run, _figures(result)), tags=own | note | ledger.looks_tag(DATA))
    for file in sorted(path.parent.glob(f"{name}*")):
        store.client.log_artifact(run, str(file), "report")
    store.end((run,), "FINISHED")
    return run


def _figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the numbers of the whole search; others than numbers are left out by whoever logs them."""
    trials, luck = {trial["number"]: trial for trial in result["trials"]}, result["luck"]
    measures = (result["contest"] or {}).get("measures", {})
    return {
        "trials": len(trials) - 1,
        "baseline_score": trials[0]["score"],
        "best_score": trials[result["best_trial"]]["score"],
        "overfitting_probability": luck["overfitting"],
        "deflated_sharpe_probability": (luck["deflated"] or {}).get("probability"),
        "superior_p_value": luck["superior"],
        **{f"{key}_difference": measure["answer"]["difference"] for key, measure in measures.items() if measure},
    }


def _write_trials(store: Store, run: str, tags: Mapping[str, str], result: Mapping[str, Any]) -> None:
    """Write the runs of trials that have none yet below `run`, with its tags."""
    found = store.find(f"tags.`mlflow.parentRunId` = '{run}'")
    finished = {child.data.tags["trial"] for child in found if child.info.status != "RUNNING"}
    for trial in result["trials"]:
        number = str(trial["number"])
        if number in finished:
            continue
        own = {**tags, "mlflow.parentRunId": run, "trial": number, "state": trial["state"]}
        child = store.create("baseline" if number == "0" else f"trial {number}", own)
        score = [("score", trial["score"], 0)] if trial["score"] is not None else []
        store.log(child, params=flatten({result["architecture"]: trial["values"]}), metrics=score)
        for seed, value in zip(result["settings"]["seeds"], trial["scores"], strict=False):
            of_seed = store.create(f"trial {number} seed {seed}", {**own, "mlflow.parentRunId": child, "seed": str(seed)})
            store.log(of_seed, metrics=[("score", value, 0)])
            store.end((of_seed,), "FINISHED")
        store.end((child,), STATUSES.get(trial["state"], "FINISHED"))
