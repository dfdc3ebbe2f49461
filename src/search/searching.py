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
from search.objective import Validation, score
from search.settings import Search
from search.space import Values, check_space, present_values, read_space, replace
from search.studies import Study, key_of, open_study
from search.trials import BASELINE, COMPLETE, FAILED, PRUNED, Sampler, Trial, decoded
from watch.tracking import Writer
from watch.watcher import watching

Place = tuple[int, int]  # number of a trial, and seed
STATES = Path(".search")  # what searches keep, under the project's root; git-ignored


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides a search's trials but their number.

    own, train: sections of params.yaml. baseline: the training of trial 0 with the first seed.
    """

    architecture: Architecture
    settings: Search
    own: NetworkSettings
    train: Train
    space: dict[str, Any]
    baseline: Training
    data_hash: str

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
        [baseline] = plan_trainings(architecture, train, [CAMPAIGN.data], settings.seeds[:1])
        data_hash = read_json(CAMPAIGN.data / "metadata.json")["content_hash"]
        return cls(architecture, settings, own, train, space, baseline, data_hash)

    @property
    def parts(self) -> dict[str, str]:
        """What decides the trials, by what people call it."""
        names = ("batch", "seeds", "objective", "sampler", "pruner", "startup_trials", "seed")
        searched = {name: getattr(self.settings, name) for name in names}
        code = {name: text for name, text in inputs.CODE_DIGESTS.items() if name.startswith(("search/", "judge/"))}
        return {
            "data": self.data_hash,
            "settings, code or processor": self.baseline.fingerprint(),
            "code of the search": key_of(code),
            "settings of the search": key_of(searched | {"space": self.settings.space[self.architecture.name]}),
        }

    @property
    def baseline_values(self) -> dict[str, Any]:
        """The values that params.yaml has of the settings that are searched."""
        return present_values(list(self.space), self.baseline.arguments, vars(self.baseline.loop))

    def training(self, number: int, values: Values, seed: int) -> Training:
        """Say how a trial is trained with a seed."""
        network, loop = replace(self.architecture, values, self.own, self.train)
        precision = self.baseline.loop.precision
        return dataclasses.replace(
            self.baseline,
            arguments={**self.baseline.arguments, **network},
            loop=Loop(**loop.model_dump() | {"precision": precision}),
            seed=seed,
            label=f"trial {number}" if number != BASELINE else "baseline",
        )


def read_validation() -> Validation:
    """Read validation from the campaign's data."""
    settings, metadata = read_section("evaluate", Evaluate), read_json(CAMPAIGN.data / "metadata.json")
    arrays = read_split(CAMPAIGN.data, "val", *ARRAYS)
    trades = Trades.of(arrays, costs_by_asset(settings.cost_per_trade, metadata["assets"]))
    return Validation(trades, halves(arrays["y"], arrays["timestamps"], metadata["horizon"]), settings.min_trades)


@dataclasses.dataclass(frozen=True)
class Searching:
    """A search that goes on: its plan, what it knows, and where it keeps the logits of each trial.

    tell: is called with the trials so far after each one.
    """

    plan: Plan
    val: Validation
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
            yield cls(plan, read_validation(), open_study(name, plan.parts, plan.space, directory), directory, tell)

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
        """Read the logits of a trial, float32 (S, 2, N) as in `search.objective.pr_auc`, S the seeds that were trained."""
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
        trainings = {
            (number, seed): plan.training(number, own, seed)
            for number, own in zip(numbers, values, strict=True)
            for seed in settings.seeds
        }
        with running(list(trainings.values())) as runner:
            place_of = {place: position for position, place in enumerate(trainings)}
            outcomes = self._train(runner, {place: place_of[place] for place in place_of if place[1] == settings.seeds[0]})
            left = self._survivors({number: outcomes[number, settings.seeds[0]] for number in numbers})
            outcomes |= self._train(runner, {(n, seed): place_of[n, seed] for n in left for seed in settings.seeds[1:]})
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
        """Run some of the runner's trainings, by their positions; equal ones once. One that fails is tried again, alone."""
        watch = functools.partial(watching, writer=Writer()) if sys.stderr.isatty() else do_not_watch
        first_at: dict[Path, int] = {}
        for position in positions.values():
            first_at.setdefault(runner.directories[position], position)

        def outcomes(directories: Sequence[Path]) -> dict[Path, Trained | Failed]:
            trainings = [runner.trainings[first_at[directory]] for directory in directories]
            own = dataclasses.replace(runner, trainings=trainings, directories=directories)
            return dict(zip(directories, own.outcomes(watch), strict=True))

        found = outcomes(list(first_at))
        for directory in [directory for directory, outcome in found.items() if isinstance(outcome, Failed)]:
            found |= outcomes([directory])
        return {place: found[runner.directories[position]] for place, position in positions.items()}

    def _survivors(self, outcomes: Mapping[int, Trained | Failed]) -> list[int]:
        """Choose the trials that get their other seeds: the better half by the first one, and the baseline."""
        scores = {
            number: score(self.plan.settings.objective, self.val, outcome.half_logits)
            for number, outcome in outcomes.items()
            if isinstance(outcome, Trained)
        }
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        kept = ranked if self.plan.settings.pruner == "none" else ranked[: -(-len(outcomes) // 2)]
        return sorted({*kept, *({BASELINE} & scores.keys())})

    def _judge(self, trial: Trial, outcomes: Mapping[Place, Trained | Failed]) -> Trial:
        """Score a trial, and keep its logits."""
        seeds = self.plan.settings.seeds
        own = [outcomes[trial.number, seed] for seed in seeds if (trial.number, seed) in outcomes]
        for outcome in own:
            if isinstance(outcome, Failed):
                if trial.number == BASELINE:
                    raise CampaignError(f"the baseline fails: {outcome.reason}")
                return dataclasses.replace(trial, state=FAILED, reason=outcome.reason)
        logits = np.stack([outcome.half_logits for outcome in own])
        write_array(self._logits_of(trial.number), logits)
        scores = [score(self.plan.settings.objective, self.val, row) for row in logits]
        return dataclasses.replace(trial, scores=scores, state=COMPLETE if len(own) == len(seeds) else PRUNED)

    def _restore(self, trial: Trial) -> None:
        """Train a trial again whose logits are not here: the study was begun on another machine."""
        seeds = self.plan.settings.seeds[: len(trial.scores)]
        trainings = {(trial.number, seed): self.plan.training(trial.number, trial.values, seed) for seed in seeds}
        with running(list(trainings.values())) as runner:
            again = self._judge(trial, self._train(runner, {place: position for position, place in enumerate(trainings)}))
        if again.state == FAILED:
            raise CampaignError(f"trial {trial.number} cannot be trained again: {again.reason}")

    def _clear(self, batch: Sequence[Trial]) -> None:
        """Remove the checkpoints of a batch that is in the study: a kill may have come between."""
        trainings = [self.plan.training(trial.number, trial.values, self.plan.settings.seeds[0]) for trial in batch]
        left = [training for training in trainings if checkpoint_directory(training).exists()]
        if left:
            with running(left):
                pass
