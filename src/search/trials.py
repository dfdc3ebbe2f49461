"""Trials of a search as values, and what to try next: a function of the trials before, so that no kill changes it."""

import csv
import dataclasses
import hashlib
import io
import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.space import Values, decode

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
BASELINE = 0  # number of the trial that has the settings of params.yaml


@dataclasses.dataclass(frozen=True)
class Trial:
    """One set of settings, and how well it did.

    number: from 0, which is the baseline. first, size: of its batch, number of the first trial and of trials.
    values: by setting. drawn: the same as the sampler has them; empty of the baseline.
    scores: of each seed that was trained, higher is better; the first alone where it was pruned.
    state: complete, pruned, or failed. reason: of a failure.
    """

    number: int
    first: int
    size: int
    values: Values
    drawn: Mapping[str, Any]
    scores: Sequence[float]
    state: str
    reason: str = ""

    @property
    def score(self) -> float | None:
        """Mean over seeds; None of a failed trial."""
        return statistics.fmean(self.scores) if self.scores else None


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How trials are drawn.

    kind: tpe (tree-structured Parzen estimators, Bergstra et al. 2011) or random. seed: of its draws.
    startup: so many trials are drawn at random first.
    """

    kind: str
    seed: int
    startup: int

    def propose(self, done: Sequence[Trial], space: "Mapping[str, BaseDistribution]", count: int) -> list[dict[str, Any]]:
        """Draw the next `count` trials, as their `drawn`, after those that are done; the same input, the same trials."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = int.from_bytes(hashlib.sha256(json.dumps([self.seed, len(done)]).encode()).digest()[:4])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.kind == "random":
                sampler = optuna.samplers.RandomSampler(seed=seed)
            else:
                sampler = optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=self.startup, multivariate=True, constant_liar=True
                )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.add_trials([to_optuna(trial, space) for trial in done if trial.drawn])
            return [dict(study.ask(dict(space)).params) for _ in range(count)]


def to_optuna(trial: Trial, space: "Mapping[str, BaseDistribution]") -> "optuna.trial.FrozenTrial":
    """Make Optuna's form of a trial, which `from_optuna` reads."""
    import optuna

    drawn = {"params": dict(trial.drawn), "distributions": dict(space)} if trial.drawn else {}
    content = {field.name: getattr(trial, field.name) for field in dataclasses.fields(trial)}
    attributes = {"user_attrs": {"trial": json.dumps(content)}}
    match trial.state:
        case "complete":
            state = {"state": optuna.trial.TrialState.COMPLETE, "value": trial.score}
        case "pruned":
            state = {"state": optuna.trial.TrialState.PRUNED, "intermediate_values": {0: trial.score}}
        case _:
            state = {"state": optuna.trial.TrialState.FAIL}
    return optuna.trial.create_trial(**drawn, **attributes, **state)


def from_optuna(trial: "optuna.trial.FrozenTrial") -> Trial:
    """Read a trial that `to_optuna` made. Raises KeyError of another's."""
    return Trial(**json.loads(trial.user_attrs["trial"]))


def decoded(drawn: Mapping[str, Any], space: "Mapping[str, BaseDistribution]") -> dict[str, Any]:
    """Return the settings that drawn values stand for."""
    return {key: decode(space[key], value) for key, value in drawn.items()}


def whole_batches(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials in order of their numbers, without those of a batch that is not all there."""
    present = {trial.number: trial for trial in trials}
    kept: list[Trial] = []
    while (number := len(kept)) in present:
        batch = [present.get(other) for other in range(number, number + present[number].size)]
        if None in batch:
            break
        kept += batch
    return kept


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the complete trial with the highest score, the first of several; the baseline is complete."""
    return max((trial for trial in trials if trial.state == COMPLETE), key=lambda trial: (trial.score, -trial.number))


def table(trials: Sequence[Trial], seeds: Sequence[int]) -> str:
    """Write trials as CSV: number, batch, state, score, that of each seed, and the settings."""
    keys = list(trials[BASELINE].values)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "batch", "state", "score", *(f"score_seed_{seed}" for seed in seeds), *keys])
    for trial in trials:
        scores = [*trial.scores, *[""] * (len(seeds) - len(trial.scores))]
        settings = [json.dumps(trial.values[key]) for key in keys]
        writer.writerow([trial.number, trial.first, trial.state, "" if trial.score is None else trial.score, *scores, *settings])
    return text.getvalue()
