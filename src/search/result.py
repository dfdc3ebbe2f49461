"""What a search found, as one value that its report shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from search.contest import Contest
from search.luck import Luck
from search.settings import Search
from search.trials import Trial

ADVICE = {
    "better": "On test it is better than the baseline, beyond chance.",
    "worse": "On test it is worse than the baseline, beyond chance.",
    "not shown": "On test it is not shown to be better than the baseline.",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What was found of one architecture.

    label: its name for people. study: that the trials are kept under. simulated: whether the bars are.
    best: trial with the highest score.
    importances: share of the scores' variance that each setting explains, by fANOVA; empty of few trials.
    contest: None where no trial scores above the baseline.
    command: makes the best settings those of params.yaml, for one experiment.
    """

    name: str
    label: str
    study: str
    simulated: bool
    settings: Search
    trials: Sequence[Trial]
    best: Trial
    importances: Mapping[str, float]
    luck: Luck
    contest: Contest | None
    command: str

    @property
    def choice(self) -> str:
        """Return the sentence that stands above all others."""
        if self.contest is None:
            return f"None of {len(self.trials) - 1} trials scores above the baseline on validation."
        verdict = self.contest.verdict
        word = {"better": "Better", "worse": "Worse", "not shown": "Not shown to be better"}[verdict]
        return f"{word}: the best of {len(self.trials) - 1} trials, trained anew with fresh seeds, against the baseline on test."

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, for other programs; a measure that the contest lacks is None."""
        contest = self.contest and dataclasses.asdict(self.contest) | {"verdict": self.contest.verdict}
        return {
            "architecture": self.name,
            "study": self.study,
            "simulated": self.simulated,
            "choice": self.choice,
            "command": self.command,
            "settings": self.settings.model_dump(exclude={"architectures", "space"}) | {"space": self.settings.space[self.name]},
            "best_trial": self.best.number,
            "trials": [_describe_trial(trial) for trial in self.trials],
            "importances": dict(self.importances),
            "luck": dataclasses.asdict(self.luck),
            "contest": contest,
        }


def _describe_trial(trial: Trial) -> dict[str, Any]:
    kept = ("number", "state", "scores", "values", "reason")
    return {"score": trial.score} | {key: getattr(trial, key) for key in kept}


def apply_command(name: str, values: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """Write the ``dvc exp run`` that sets what differs from the present values; ``++`` adds a key that is not there yet."""
    changed = {key: value for key, value in values.items() if value != present[key]}
    return " ".join(["dvc exp run", *(f"-S '++{name}.{key}={_hydra(value)}'" for key, value in changed.items())])


def _hydra(value: Any) -> str:
    """Write a value as DVC reads it from -S."""
    return "[" + ",".join(map(_hydra, value)) + "]" if isinstance(value, list) else str(value)
