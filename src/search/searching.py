"""Search an architecture's settings: ask for a batch of trials, train them, keep them, and go on after a kill where it was."""

import contextlib
import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import inputs
from core.cross_fitting import halves
from core.errors import CampaignError, format_value
from core.files import project_root, read_array, read_json, write_array
from core.lock import lock_directory
from core.params import PARAMS, read_section
from core.places import CAMPAIGN
from core.splits import read_split
from evaluate import ARRAYS, Evaluate
from judge.money import Trades, costs_by_asset
from learn.architecture import Architecture, NetworkSettings
from learn.train_stage import Train, plan_trainings
from learn.trainings import Failed, Loop, Runner, Trained, Training, checkpoint_directory, do_not_watch, running
from search.inner_folds import cut_inner_folds
from search.objective import Validation, score
from search.settings import Search
from search.space import Values, check_space, present_values, read_space, replace
from search.studies import Study, key_of, open_study
from search.trials import BASELINE, COMPLETE, FAILED, PRUNED, Sampler, Trial, decoded
from watch.tracking import Writer
from watch.watcher import watching

Place = tuple[int, int, int]  # number of a trial, seed, and number of the fold
STATES = Path(".search")  # what searches keep, under the project's root; git-ignored


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides a search's trials but their number.

    own, train: sections of params.yaml.
    folds: directories of the splits that trials are judged on; the campaign's own alone where there are no inner folds.
    baselines: the training of trial 0 with the first seed, by directory of splits: the campaign's, and the folds'.
    """

    architecture: Architecture
    settings: Search
    own: NetworkSettings
    train: Train
    space: dict[str, Any]
    folds: Sequence[Path]
    baselines: Mapping[Path, Training]

    @classmethod
    def of(cls, architecture: Architecture, settings: Search) -> "Plan":
        """Read what else is needed from params.yaml and the data.

        Raises:
            CampaignError: settings or space cannot be used, or there are no data.
        """
        if clash := sorted({*settings.seeds} & {*settings.fresh_seeds}):
            raise CampaignError(f"{PARAMS}: search.fresh_seeds has {clash[0]}, which search.seeds has too; take another")
        own, train = read_section(architecture.name, architecture.settings), read_section("train", Train)
        space = read_space(architecture.name, settings.space.get(architecture.name, {}))
        check_space(architecture, space, own, train)
        folds = [CAMPAIGN.data] if settings.folds is None else cut_inner_folds(settings.folds)
        directories = list(dict.fromkeys([CAMPAIGN.data, *folds]))
        trainings = plan_trainings(architecture, train, directories, settings.seeds[:1])
        return cls(architecture, settings, own, train, space, folds, dict(zip(directories, trainings, strict=True)))

    @property
    def parts(self) -> dict[str, str]:
        """What decides the trials, by what people call it."""
        names = ("batch", "seeds", "objective", "sampler", "pruner", "startup_trials", "seed")
        searched = {name: getattr(self.settings, name) for name in names}
        code = {name: text for name, text in inputs.CODE_DIGESTS.items() if name.startswith(("search/", "judge/"))}
        hashes = [read_json(fold / "metadata.json")["content_hash"] for fold in self.folds]
        return {
            "data": ", ".join(hashes),
            "settings, code or processor": self.baselines[self.folds[0]].fingerprint(),
            "code of the search": key_of(code),
            "settings of the search": key_of(searched | {"space": self.settings.space[self.architecture.name]}),
        }

    @property
    def baseline_values(self) -> dict[str, Any]:
        """The values that params.yaml has of the settings that are searched."""
        baseline = self.baselines[CAMPAIGN.data]
        return present_values(list(self.space), baseline.arguments, vars(baseline.loop))

    def training(self, number: int, values: Values, seed: int, splits: Path = CAMPAIGN.data) -> Training:
        """Say how a trial is trained with a seed, on the splits of a directory."""
        network, loop = replace(self.architecture, values, self.own, self.train)
        baseline = self.baselines[splits]
        return dataclasses.replace(
            baseline,
            arguments={**baseline.arguments, **network},
            loop=Loop(**loop.model_dump() | {"precision": baseline.loop.precision}),
            seed=seed,
            label=f"trial {number}" if number != BASELINE else "baseline",
        )

    def trainings(self, number: int, values: Values, seeds: Sequence[int]) -> dict[Place, Training]:
        """Say how a trial is trained with each seed on each fold."""
        return {
            (number, seed, fold): self.training(number, values, seed, splits)
            for seed in seeds
            for fold, splits in enumerate(self.folds)
        }


def read_validation(splits: Path) -> Validation:
    """Read validation from a directory of splits."""
    settings, metadata = read_section("evaluate", Evaluate), read_json(splits / "metadata.json")
    arrays = read_split(splits, "val", *ARRAYS)
    trades = Trades.of(arrays, costs_by_asset(settings.cost_per_trade, metadata["assets"]))
    return Validation(trades, halves(arrays["y"], arrays["timestamps"], metadata["horizon"]), settings.min_trades)


@dataclasses.dataclass(frozen=True)
class Searching:
    """A search that goes on: its plan, what it knows, and where it keeps the logits of each trial.

    vals: validation of each fold.
    tell: is called with the trials so far after each one.
    """

    plan: Plan
    vals: Sequence[Validation]
    study: Study
    directory: Path
    tell: Callable[[Sequence[Trial]], None]

    @classmethod
    @contextlib.contextmanager
    def of(cls, plan: Plan, name: str | None, tell: Callable[[Sequence[Trial]], None]) -> "Iterator[Searching]":
        """Open the study `name`; None takes one that belongs to what decides the trials.

        Raises:
            CampaignError: the storage cannot be used, another process searches there, or the study is of something else.
        """
        name = name or f"{plan.architecture.name}-{key_of(plan.parts)}"
        if not re.fullmatch(r"[\w-][\w.-]*", name):
            raise CampaignError(f"the study's name is {format_value(name)}; take letters, digits, dots and hyphens alone")
        with lock_directory(project_root() / STATES / name, "this search") as directory:
            study = open_study(name, plan.parts, plan.space, directory)
            yield cls(plan, [read_validation(fold) for fold in plan.folds], study, directory, tell)

    def run(self, count: int) -> list[Trial]:
        """Run trials until there are `count` beside the baseline; returns them all, the baseline first.

        Raises:
            CampaignError: the storage fails, or every trial of a batch does. What is finished is kept.
        """
        done = self.study.trials()
        if done:
            self._clear(done[done[-1].first :])
        while len(done) <= count:
            done += self._run_batch(done, min(self.plan.settings.batch, count + 1 - len(done)))
        for trial in done:
            if trial.state != FAILED and not self._logits_of(trial.number).exists():  # the study came from another machine
                self._restore(trial)
        return done[: count + 1]

    def logits(self, trial: Trial) -> np.ndarray:
        """Read the logits of a trial, float32 (S, 2, N) as in `search.objective.pr_auc`, S the seeds that were trained.

        Those of several folds follow each other.
        """
        return read_array(self._logits_of(trial.number))

    def _logits_of(self, number: int) -> Path:
        return self.directory / "logits" / f"{number:05}.npy"

    def _run_batch(self, done: Sequence[Trial], size: int) -> list[Trial]:
        """Draw the next `size` trials, train them, and add them to the study."""
        plan, settings, first = self.plan, self.plan.settings, len(done)
        sampler = Sampler(settings.sampler, settings.seed, settings.startup_trials)
        drawn = sampler.propose(done, plan.space, size - (not done))
        drawn = drawn if done else [{}, *drawn]
        values = [decoded(own, plan.space) if own else plan.baseline_values for own in drawn]
        numbers = range(first, first + size)
        trainings: dict[Place, Training] = {}
        for number, own in zip(numbers, values, strict=True):
            trainings |= plan.trainings(number, own, settings.seeds)
        with running(list(trainings.values())) as runner:
            place_of = {place: position for position, place in enumerate(trainings)}
            outcomes = self._train(runner, {place: own for place, own in place_of.items() if place[1] == settings.seeds[0]})
            left = self._survivors({number: self._of_seed(outcomes, number, settings.seeds[0]) for number in numbers})
            others = {place: own for place, own in place_of.items() if place[0] in left and place not in outcomes}
            outcomes |= self._train(runner, others)
            batch = [
                self._judge(Trial(number, first, size, own, drawing, [], COMPLETE), outcomes)
                for number, own, drawing in zip(numbers, values, drawn, strict=True)
            ]
            if all(trial.state == FAILED for trial in batch):
                raise CampaignError(f"every trial of the batch failed: {batch[0].reason}; what is finished is kept")
            self.study.add(batch)
        for number in range(len(batch)):
            self.tell([*done, *batch[: number + 1]])
        return batch

    def _train(self, runner: Runner, positions: Mapping[Place, int]) -> dict[Place, Trained | Failed]:
        """Run some of the runner's trainings, by their positions; equal ones once. What fails is tried again.

        First beside the same others, which goes on after their finished epochs; what fails again was beside others, alone.
        """
        watch = functools.partial(watching, writer=Writer()) if sys.stderr.isatty() else do_not_watch
        first_at: dict[Path, int] = {}
        for position in positions.values():
            first_at.setdefault(runner.directories[position], position)

        def outcomes(directories: Sequence[Path]) -> dict[Path, Trained | Failed]:
            trainings = [runner.trainings[first_at[directory]] for directory in directories]
            own = dataclasses.replace(runner, trainings=trainings, directories=directories)
            return dict(zip(directories, own.outcomes(watch), strict=True))

        found = outcomes(list(first_at))
        if any(isinstance(outcome, Failed) for outcome in found.values()):
            found = outcomes(list(first_at))
        for directory in [directory for directory, outcome in found.items() if isinstance(outcome, Failed)]:
            found |= outcomes([directory])
        return {place: found[runner.directories[position]] for place, position in positions.items()}

    def _of_seed(self, outcomes: Mapping[Place, Trained | Failed], number: int, seed: int) -> np.ndarray | Failed:
        """Return the logits of a trial and seed, float32 (2, N), or how the first of its folds failed."""
        own = [outcomes[number, seed, fold] for fold in range(len(self.plan.folds))]
        failed = [outcome for outcome in own if isinstance(outcome, Failed)]
        return failed[0] if failed else np.concatenate([outcome.half_logits for outcome in own], axis=1)

    def _survivors(self, by_trial: Mapping[int, np.ndarray | Failed]) -> list[int]:
        """Choose the trials that get their other seeds: the better half by the first one, and the baseline."""
        scores = {
            number: score(self.plan.settings.objective, self.vals, logits)
            for number, logits in by_trial.items()
            if not isinstance(logits, Failed)
        }
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        kept = ranked if self.plan.settings.pruner == "none" else ranked[: -(-len(by_trial) // 2)]
        return sorted({*kept, *({BASELINE} & scores.keys())})

    def _judge(self, trial: Trial, outcomes: Mapping[Place, Trained | Failed]) -> Trial:
        """Score a trial, and keep its logits."""
        seeds = self.plan.settings.seeds
        own = [self._of_seed(outcomes, trial.number, seed) for seed in seeds if (trial.number, seed, 0) in outcomes]
        if failed := [found for found in own if isinstance(found, Failed)]:
            if trial.number == BASELINE:
                raise CampaignError(f"the baseline fails: {failed[0].reason}")
            return dataclasses.replace(trial, state=FAILED, reason=failed[0].reason)
        logits = np.stack(own)
        write_array(self._logits_of(trial.number), logits)
        scores = [score(self.plan.settings.objective, self.vals, row) for row in logits]
        return dataclasses.replace(trial, scores=scores, state=COMPLETE if len(own) == len(seeds) else PRUNED)

    def _restore(self, trial: Trial) -> None:
        """Train a trial again whose logits are not here: the study was begun on another machine."""
        trainings = self.plan.trainings(trial.number, trial.values, self.plan.settings.seeds[: len(trial.scores)])
        with running(list(trainings.values())) as runner:
            again = self._judge(trial, self._train(runner, {place: position for position, place in enumerate(trainings)}))
        if again.state == FAILED:
            raise CampaignError(f"trial {trial.number} cannot be trained again: {again.reason}")

    def _clear(self, batch: Sequence[Trial]) -> None:
        """Remove the checkpoints of a batch that is in the study: a kill may have come between."""
        seed = self.plan.settings.seeds[:1]
        trainings = [own for trial in batch for own in self.plan.trainings(trial.number, trial.values, seed).values()]
        left = [training for training in trainings if checkpoint_directory(training).exists()]
        if left:
            with running(left):
                pass
