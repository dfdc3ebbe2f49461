"""Estimate the memory, disk and time that a campaign needs, from its settings, its bars and a few timed steps."""

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from bars.labels import NO_LABEL
from core.machine import core_count
from core.splits import gather_windows, sample_rows
from judge.names import REFERENCES
from judge.uncertainty import draw_days
from learn.dataset import Split
from learn.device import device
from learn.fit import fit_side_by_side, predict
from learn.member import Member
from learn.training import Loop
from watch import tracking

GIB = 2**30
PROCESS_BYTES = 0.4 * GIB  # Python with torch or scikit-learn and what they load
FLOAT32, FLOAT64 = 4, 8  # bytes
GENERATE_BYTES_PER_BAR = 85  # beside its features as float64
TRAIN_BYTES_PER_ROW = 90  # beside its features as float32, likewise below
EVALUATE_BYTES_PER_ROW = 60
DISK_BYTES_PER_ROW = 32
BOOSTING_BYTES_PER_VALUE = 10  # for each value of the windows that gradient boosting is fitted on, beside them
REPORT_BYTES = 20e6  # reports, plots and metrics
COPIES_ON_DISK = 2  # in the working tree and in DVC's cache

STAGE_START_SECONDS = 4.0  # Python, its imports and its processes
MODEL_EXPORT_SECONDS = 3.0  # for each model that `evaluate` leaves in MLflow, beyond what runs beside it
GENERATE_PER_READING = 1.7  # duration of generate_data in durations of its reading
COMPARE_PER_DRAWING = 2.0  # duration of compare in durations of drawing its days
COMPARE_PER_EXPORT = 0.25  # `compare` finds the models exported, and only updates their runs
SCORING_PER_FITTING = 0.25  # cost of a window that references score, in windows that they are fitted on
TIMED_STEPS = 20  # of training
TIMED_WINDOWS = 4000  # that references are fitted on
TIMED_ROUNDS = 10  # of boosting
TIMED_DRAWS = 100  # of the bootstrap
MEASURED_WINDOWS = 32  # whose memory in a training step is measured


@dataclasses.dataclass(frozen=True)
class DataSize:
    """What the configured data come to.

    bars, features, assets: counts. rows, samples: counts by split. test_days: days on which test has rows.
    reading_seconds: time that it took to read and label the bars.
    """

    bars: int
    rows: Mapping[str, int]
    samples: Mapping[str, int]
    features: int
    assets: int
    test_days: int
    reading_seconds: float

    @property
    def all_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def judged(self) -> int:
        """Samples of validation and test."""
        return self.samples["val"] + self.samples["test"]


@dataclasses.dataclass(frozen=True)
class Network:
    """An architecture of configured size. arguments: of its class `kind`, all but `n_assets`."""

    name: str
    kind: type[nn.Module]
    arguments: Mapping[str, Any]
    loop: Loop

    def build(self, n_assets: int) -> nn.Module:
        return self.kind(**self.arguments, n_assets=n_assets)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the configured campaign comes to.

    seeds: trainings of each network. members: how many of them share a process. side_by_side: how many processes run at once.
    fitted: train windows that the references are fitted on. fit_logistic, fit_boosting: with their settings bound.
    draws: of the bootstrap.
    simulate_asset: simulates one asset's bars; None where the bars are a user's own.
    """

    data: DataSize
    lookback: int
    networks: tuple[Network, ...]
    seeds: int
    members: int
    side_by_side: int
    fitted: int
    fit_logistic: Callable[..., object]
    fit_boosting: Callable[..., object]
    boosting_rounds: int
    draws: int
    simulate_asset: Callable[[], object] | None

    def batch(self, network: Network) -> int:
        """Windows of a training step."""
        return min(network.loop.batch_size, self.data.samples["train"])


@dataclasses.dataclass(frozen=True)
class StageTime:
    """Seconds that a stage takes at least and at most; `epoch` is the time for an epoch of all seeds, where it trains."""

    stage: str
    least: float
    most: float
    epoch: float | None = None


# --- memory and disk --------------------------------------------------------------------------------------------------


def estimate_memory(plan: Plan) -> tuple[str, float]:
    """Return the kind of stage that needs most memory, and how many bytes."""
    data = plan.data
    features32 = FLOAT32 * data.features
    step = max(plan.batch(network) * measure_window_bytes(network, data, plan.lookback) for network in plan.networks)
    training = PROCESS_BYTES + data.all_rows * (features32 + TRAIN_BYTES_PER_ROW) + step
    window_values = plan.lookback * data.features
    needed = {
        "generate_data": PROCESS_BYTES + data.bars * (FLOAT64 * data.features + GENERATE_BYTES_PER_BAR),
        "train": PROCESS_BYTES + plan.side_by_side * training,
        "fit_references": PROCESS_BYTES
        + window_values * (FLOAT32 * (plan.fitted + data.judged) + BOOSTING_BYTES_PER_VALUE * plan.fitted),
        "evaluate": PROCESS_BYTES + 2 * data.all_rows * (features32 + EVALUATE_BYTES_PER_ROW),
    }
    return max(needed.items(), key=lambda entry: entry[1])


def measure_window_bytes(network: Network, data: DataSize, lookback: int) -> float:
    """Measure the memory of a training step for each window of its batch, an upper bound.

    That is what autograd keeps for the backward pass, and as much again for the gradients.
    """
    model, kept = network.build(data.assets), {}
    X, y, asset_ids = draw_rows(MEASURED_WINDOWS, data, lookback)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = 0 if isinstance(tensor, nn.Parameter) else storage.nbytes()
        return tensor

    split = Split.of(X, y, asset_ids, lookback=lookback)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(*split.gather(torch.arange(MEASURED_WINDOWS))[:2])  # noqa: F841 - keeps alive all that autograd kept
    return 2 * sum(kept.values()) / MEASURED_WINDOWS


def estimate_disk(plan: Plan) -> float:
    """Return the bytes that the campaign leaves, in the working tree and in DVC's cache together."""
    data = plan.data
    predictions = FLOAT64 * data.judged * (len(plan.networks) * plan.seeds + len(REFERENCES))
    weights = sum(count_parameters(network.build(data.assets)) for network in plan.networks)
    models = FLOAT32 * (plan.seeds + 1) * weights  # the best one lies there twice
    rows = data.all_rows * (FLOAT32 * data.features + DISK_BYTES_PER_ROW)
    halves = 2 * FLOAT32 * data.samples["val"] * plan.seeds * len(plan.networks)  # logits for cross-fitting
    return COPIES_ON_DISK * (rows + predictions + models + halves + REPORT_BYTES)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# --- time -------------------------------------------------------------------------------------------------------------


def estimate_times(plan: Plan) -> Iterator[StageTime]:
    """Yield the rough time of each stage, in running order."""
    data = plan.data
    if plan.simulate_asset is not None:
        yield _fixed_time("simulate_market", data.assets * measure_seconds(plan.simulate_asset))
    yield _fixed_time("generate_data", GENERATE_PER_READING * data.reading_seconds)
    scoring = 0.0
    for network in plan.networks:
        per_trained, per_scored = measure_window_seconds(network, plan)
        yield estimate_training(network, plan, per_trained, per_scored)
        scoring += per_scored * data.judged * plan.seeds
    yield _fixed_time("fit_references", estimate_references(plan))
    exports = 0.0 if tracking.is_off() else MODEL_EXPORT_SECONDS * len(plan.networks)
    yield _fixed_time("evaluate", scoring + exports)
    drawing = measure_seconds(lambda: draw_days(data.test_days, 1, TIMED_DRAWS, 0)) / TIMED_DRAWS * plan.draws
    yield _fixed_time("compare", COMPARE_PER_DRAWING * drawing + COMPARE_PER_EXPORT * exports)


def _fixed_time(stage: str, seconds: float) -> StageTime:
    return StageTime(stage, STAGE_START_SECONDS + seconds, STAGE_START_SECONDS + seconds)


def estimate_training(network: Network, plan: Plan, per_trained: float, per_scored: float) -> StageTime:
    """Estimate a train stage: at least `patience` epochs after the first, at most all.

    Args:
        per_trained: seconds that a window costs all members of a group in training. per_scored: one of them in scoring.
    """
    cores = core_count() if device() == "cpu" else 1
    groups = -(-plan.seeds // plan.members)
    turns = -(-groups // plan.side_by_side) * max(1.0, plan.side_by_side / cores)
    epoch = (per_trained * plan.data.samples["train"] + plan.members * per_scored * plan.data.samples["val"]) * turns
    fewest = min(network.loop.patience + 1, network.loop.epochs)
    least, most = (STAGE_START_SECONDS + epochs * epoch for epochs in (fewest, network.loop.epochs))
    return StageTime(f"train_{network.name}", least, most, epoch)


def measure_window_seconds(network: Network, plan: Plan) -> tuple[float, float]:
    """Measure the seconds that a window costs a group's members in training, and one in scoring, after an epoch that warms up."""
    X, y, asset_ids = draw_rows(plan.batch(network) * TIMED_STEPS, plan.data, plan.lookback)
    split = Split.of(X, y, asset_ids, lookback=plan.lookback, device=device())
    loop, halves = dataclasses.replace(network.loop, epochs=2), np.zeros(len(split), np.int8)
    models = [network.build(plan.data.assets) for _ in range(plan.members)]
    epochs = fit_side_by_side([Member(model, split, split, halves=halves, seed=0, loop=loop) for model in models])
    next(epochs)
    both = measure_seconds(lambda: next(epochs))
    scoring = measure_seconds(lambda: predict(models[0], split))
    return max(both - plan.members * scoring, 0.0) / len(split), scoring / len(split)


def estimate_references(plan: Plan) -> float:
    """Estimate the seconds of fitting the references, from fits on few windows and of few rounds."""
    few, rounds = min(plan.fitted, TIMED_WINDOWS), min(plan.boosting_rounds, TIMED_ROUNDS)
    X, y, _ = draw_rows(few, plan.data, plan.lookback)
    X = X.cumsum(axis=0) / few**0.5  # correlated in time, as real features are: the optimum takes longer to find
    train, nothing_judged = (gather_windows(X, sample_rows(y), plan.lookback), y[sample_rows(y)]), {}
    with contextlib.redirect_stderr(io.StringIO()):  # a warning about this fit says nothing of the real one
        logistic = measure_seconds(lambda: plan.fit_logistic(*train, nothing_judged))
    boosting = measure_seconds(lambda: plan.fit_boosting(*train, nothing_judged, rounds=rounds, min_leaf=max(1, few // 40)))
    share = (plan.fitted + SCORING_PER_FITTING * plan.data.judged) / few
    return share * (logistic + boosting * plan.boosting_rounds / rounds)


def draw_rows(size: int, data: DataSize, lookback: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw rows with `size` samples: X float32 (R, F), y int8 (R,) of both classes, and asset ids int64 (R,)."""
    rng = np.random.default_rng(0)
    rows = size + lookback - 1
    y = np.append(np.full(lookback - 1, NO_LABEL, np.int8), (rng.random(size) < 0.1).astype(np.int8))
    y[lookback - 1 : lookback + 1] = 0, 1
    return rng.normal(size=(rows, data.features)).astype(np.float32), y, rng.integers(0, data.assets, rows)


def measure_seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
