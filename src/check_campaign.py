"""Before a long run: is everything there, and what will it take? For people; no stage runs it.

Usage: python src/check_campaign.py    (make check)

Each line is ok, a warning or a problem with its cure; times are rough, from a few timed steps on rows like the campaign's.
Exit code 1 where there is a problem.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import contextlib
import dataclasses
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import compare
import evaluate
import fit_references
import mirror
import simulate_market
import stage
import tracking
import train_cnn_lstm
import train_gru
import train_lstm
import train_mlp
from core import labels
from core.bars import Bars, from_frame, path_of, read_bars
from core.chance import draw_days
from core.dataset import Split
from core.errors import MOST, CampaignError, few
from core.fit import fit, multiplies_bfloat16, predict, prepare_process
from core.windows import samples, windows
from generate_data import MARKER, SPLITS, Data, Rows, choose_symbols, cut_times, read_rows, split_and_scale
from training import Train, device, resolve_precision

SCHEMAS: dict[str, type[stage.Settings]] = {
    "market": simulate_market.Market,
    "data": Data,
    "train": Train,
    "mlp": train_mlp.Settings,
    "lstm": train_lstm.Settings,
    "gru": train_gru.Settings,
    "cnn_lstm": train_cnn_lstm.Settings,
    "references": fit_references.References,
    "evaluate": evaluate.Evaluate,
    "compare": compare.Compare,
}
GIB = 2**30
WRITTEN = (".dvc", ".checkpoints", "data", "models", "metrics", "plots", "reports")  # directories of a project
PROCESS = 0.4 * GIB  # of memory for Python with torch or scikit-learn and what they load
BOOSTING = 10  # bytes of memory that gradient boosting takes for each value of the windows it is fitted on, beside them
STEPS = 20  # of training that are timed
START = 4.0  # seconds that a stage takes for Python, its imports and its processes
EXPORT = 3.0  # seconds for each model that `evaluate` leaves in MLflow, beyond what runs beside it
SPARE = 1.2  # as much again as needed, below which there is a warning
COLOURS = {"ok": "32", "warning": "33", "problem": "31"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line: `level` is ok, warning or problem; `cure` says what to do about the latter two."""

    level: str
    what: str
    figure: str
    cure: str = ""


@dataclasses.dataclass(frozen=True)
class Load:
    """What the configured data come to: bars, rows and samples by split, F features, assets, days of test, seconds it took to
    read them."""

    bars: int
    rows: dict[str, int]
    samples: dict[str, int]
    features: int
    assets: int
    days: int
    seconds: float


def settings_found() -> tuple[dict[str, Any], list[Finding]]:
    """Every section that is valid, and what is to be said of the others. Raises CampaignError where none can be read."""
    sections, refused = {}, []
    for name, schema in SCHEMAS.items():
        try:
            sections[name] = stage.read_section(name, schema)
        except CampaignError as error:
            refused.append(str(error))
    if len(set(refused)) == 1 and not sections:
        raise CampaignError(refused[0])
    findings = [Finding("problem", "parameters", text.removeprefix(f"{stage.PARAMS}: "), "correct it") for text in refused]
    if unread := few(sorted(set(map(str, stage.read_params())) - set(SCHEMAS))):
        cure = "remove it, or name its schema in SCHEMAS of src/check_campaign.py"
        findings.append(Finding("warning", "parameters", f"section {unread} is checked by nobody", cure))
    return sections, findings or [Finding("ok", "parameters", f"{len(sections)} sections of {stage.PARAMS} are valid")]


def machine(sections: dict[str, Any]) -> Iterator[Finding]:
    """The accelerator, the precision it leads to, and the cores."""
    train = sections["train"]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        where = f"{torch.cuda.get_device_name()}, {size(free)} of {size(total)} free"
    else:
        where = "no GPU that this build can use, the CPU trains"
    yield precision_found(f"{where}; torch {torch.__version__}", sections)
    cores = stage.cores()
    try:
        side_by_side = stage.jobs(len(train.seeds))
    except CampaignError as error:
        yield Finding("problem", "cores", str(error))
        return
    figure = f"{cores}, {len(train.seeds)} seeds, {side_by_side} side by side"
    if device() == "cpu" and side_by_side > 2 * cores:
        yield Finding("warning", "cores", figure, f"more than two a core slow each other down: CAMPAIGN_JOBS={cores}")
    else:
        yield Finding("ok", "cores", figure)


def precision_found(where: str, sections: dict[str, Any]) -> Finding:
    """What the networks train in; a problem where one cannot train in the precision that is set."""
    trained: dict[str, list[str]] = {}
    refused = {}
    for name in evaluate.ARCHITECTURES:
        if {name, "data"} <= set(sections):
            try:
                trained.setdefault(precision(name, sections), []).append(name)
            except CampaignError as error:
                refused[name] = str(error).removeprefix(f"{stage.PARAMS}: ")
    if refused:
        figure, cure = next(iter(refused.values())).split("; ")
        return Finding("problem", "accelerator", figure.replace("this network", ", ".join(refused)), cure)
    used = ", ".join(each if len(trained) == 1 else f"{each} ({', '.join(names)})" for each, names in trained.items())
    figure = f"{where}, {used}" if used else where
    if "bfloat16" in trained and device() == "cpu" and not multiplies_bfloat16():
        return Finding("warning", "accelerator", figure, "bfloat16 is emulated here, slower than float32: train.precision: auto")
    return Finding("ok", "accelerator", figure)


def precision(name: str, sections: dict[str, Any]) -> str:
    """What a network trains in. Raises CampaignError where this processor cannot train it in what is set."""
    data = sections["data"]
    sizes = {"n_features": len(data.features), "n_assets": 1, "lookback": data.lookback}
    arguments = sections[name].model_dump() | sizes
    wanted = sections["train"].precision
    return resolve_precision(wanted, lambda: evaluate.ARCHITECTURES[name](**arguments), sizes["n_features"], data.lookback)


def bars_found(sections: dict[str, Any]) -> tuple[Load | None, list[Finding]]:
    """Read the bars as generate_data will; where those of this market are not on disk they are simulated for it."""
    data, market = sections["data"], sections["market"]
    root, note, simulated = Path(data.bars), "", {}
    if root == simulate_market.OUT and (strange := simulate_market.foreign(root)):
        cure = "move it: DVC would take it for a part of the market, and clear it away with it"
        return None, [Finding("problem", "bars", f"{root} holds {few(strange)}, not of this market", cure)]
    if root == simulate_market.OUT and not is_simulated(market):
        note = "simulated market, not on disk yet: "
        simulated = {path_of(root, symbol): frame for symbol, frame in simulate_market.simulate(**market.model_dump())}

    def read(path: Path, extra: Sequence[str]) -> Bars:
        return from_frame(simulated[path], extra) if simulated else read_bars(path, extra)

    try:
        names = [path.parts[-3] for path in simulated]
        symbols = choose_symbols(root, data.symbols, names or None)
        began = time.perf_counter()
        found = read_rows(root, symbols, data, read)
        seconds = time.perf_counter() - began
    except CampaignError as error:
        return None, [Finding("problem", "bars", str(error))]
    if bad := [rows for rows in found if isinstance(rows, str)]:
        more = [f"and {len(bad) - MOST:,} symbols more; python src/check_data.py lists all"] if len(bad) > MOST else []
        return None, [Finding("problem", "bars", reason) for reason in bad[:MOST] + more]
    good = [rows for rows in found if isinstance(rows, Rows)]
    cuts = cut_times(np.concatenate([rows.timestamps for rows in good]), data.splits)
    try:
        splits, _, thin = split_and_scale(good, symbols, cuts, data)
    except CampaignError as error:
        return None, [Finding("problem", "bars", str(error))]
    load = Load(
        bars=sum(rows.bars for rows in good),
        rows={split: len(part["y"]) for split, part in splits.items()},
        samples={split: int((part["y"] != labels.NO_LABEL).sum()) for split, part in splits.items()},
        features=len(data.features),
        assets=len(symbols),
        days=len(np.unique(splits["test"]["timestamps"].astype("datetime64[D]"))),
        seconds=seconds,
    )
    counts = " + ".join(f"{load.samples[split]:,} {split}" for split in SPLITS)
    ok = Finding("ok", "bars", f"{note}{load.assets} assets, {load.bars:,} bars, samples {counts}")
    return load, [ok, *(Finding("warning", "bars", warning) for warning in thin)]


def is_simulated(market: simulate_market.Market) -> bool:
    """Whether the bars on disk are those of `market`."""
    try:
        return bool(stage.read_json(simulate_market.OUT / MARKER)["market"] == market.model_dump())
    except CampaignError:
        return False


def memory_needed(load: Load, sections: dict[str, Any]) -> tuple[str, float]:
    """The stage that needs most memory, and how many bytes."""
    width = sections["data"].lookback * load.features  # of a window
    rows = sum(load.rows.values())
    fitted = min(load.samples["train"], sections["references"].max_windows)
    judged = load.samples["val"] + load.samples["test"]
    seeds = stage.jobs(len(sections["train"].seeds))
    batch = min(sections["train"].batch_size, load.samples["train"])
    step = batch * max(bytes_of_a_window(name, sections, load) for name in evaluate.ARCHITECTURES)
    needed = {
        "generate_data": PROCESS + load.bars * (8 * load.features + 85),
        "train": PROCESS + seeds * (PROCESS + rows * (4 * load.features + 90) + step),
        "fit_references": PROCESS + width * (4 * (fitted + judged) + BOOSTING * fitted),
        "evaluate": PROCESS + 2 * rows * (4 * load.features + 60),
    }
    return max(needed.items(), key=lambda entry: entry[1])


def bytes_of_a_window(name: str, sections: dict[str, Any], load: Load) -> float:
    """Memory of a training step for each window of its batch, at most: what is kept for backward, and as much for gradients."""
    model, few, kept = network(name, sections, load), 32, {}
    X, y, asset_ids = random_rows(few, load, sections["data"].lookback)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = 0 if isinstance(tensor, torch.nn.Parameter) else storage.nbytes()
        return tensor

    split = Split.of(X, y, asset_ids, lookback=sections["data"].lookback)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(*split.gather(torch.arange(few))[:2])  # noqa: F841 - all that is kept lives as long as it does
    return 2 * sum(kept.values()) / few


def disk_needed(load: Load, sections: dict[str, Any]) -> float:
    """Bytes of what the campaign leaves, once in the working tree and once in DVC's cache."""
    rows, judged = sum(load.rows.values()), load.samples["val"] + load.samples["test"]
    seeds = len(sections["train"].seeds)
    predictions = 8 * judged * (len(evaluate.ARCHITECTURES) * seeds + len(evaluate.REFERENCES))
    models = sum(4 * (seeds + 1) * size_of(network(name, sections, load)) for name in evaluate.ARCHITECTURES)
    return 2 * (rows * (4 * load.features + 19) + predictions + models + 20e6)


def network(name: str, sections: dict[str, Any], load: Load) -> torch.nn.Module:
    sizes = {"n_features": load.features, "n_assets": load.assets, "lookback": sections["data"].lookback}
    return evaluate.ARCHITECTURES[name](**sections[name].model_dump(), **sizes)


def size_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def room(load: Load, sections: dict[str, Any]) -> Iterator[Finding]:
    """Memory and disk, needed against free."""
    which, needed = memory_needed(load, sections)
    cures = {
        "generate_data": "fewer symbols or features",
        "train": "CAMPAIGN_JOBS=1 trains one seed at a time, a smaller train.batch_size takes less",
        "fit_references": "lower references.max_windows",
        "evaluate": "fewer symbols or features",
    }
    yield enough("memory", f"{which} takes most, about", needed, memory_free(), cures[which])
    for where in dict.fromkeys((Path.cwd(), stage.root())):
        written = [where, *(where / name for name in WRITTEN if (where / name).exists())]
        if closed := next((path for path in written if not os.access(path, os.W_OK)), None):
            yield Finding("problem", "disk", f"{closed} cannot be written", "make it writable")
        else:
            yield enough("disk", "about", disk_needed(load, sections), shutil.disk_usage(where).free, "free some disk space")


def enough(what: str, prefix: str, needed: float, free: float, cure: str) -> Finding:
    level = "ok" if free > SPARE * needed else "warning" if free > needed else "problem"
    return Finding(level, what, f"{prefix} {size(needed)}, {size(free)} free", "" if level == "ok" else cure)


def size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def memory_free() -> float:
    """Bytes that this process may still get: of the machine, or of its control group where that has a lower limit."""
    free = float(psutil.virtual_memory().available)
    try:
        limit, used, parts = (Path("/sys/fs/cgroup", f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        cache = dict(line.split() for line in parts.splitlines())["inactive_file"]  # given back when it is needed
        return min(free, float(limit) - float(used) + float(cache))
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return free


def store() -> Finding:
    try:
        return Finding("ok", "tracking", mirror.reach())
    except Exception as error:  # whatever a store or a network can do
        said = tracking.without_password(stage.one_line(error))[:200]
        return Finding("warning", "tracking", said, f"training goes on without; {tracking.CURE}")


def timings(load: Load, sections: dict[str, Any]) -> Iterator[Finding]:
    """Rough times of the stages, in running order, and their sum."""
    fewest = most = 0.0
    for name, least, longest, note in seconds_of_stages(load, sections):
        fewest, most = fewest + least, most + longest
        yield Finding("ok", name, span(least, longest) + note)
    yield Finding("ok", "total", span(fewest, most))


def span(least: float, most: float) -> str:
    few, many = duration(least), duration(most)
    return few if few == many else f"{few} to {many}"


def seconds_of_stages(load: Load, sections: dict[str, Any]) -> Iterator[tuple[str, float, float, str]]:
    """Name of each stage in running order, its seconds at least and at most, and what more there is to say."""
    train, references = sections["train"], sections["references"]
    if Path(sections["data"].bars) == simulate_market.OUT:
        market = sections["market"]
        one = seconds_of(lambda: next(simulate_market.simulate(**market.model_dump())))
        yield "simulate_market", *[START + one * market.assets] * 2, ""
    yield "generate_data", *[START + load.seconds * 1.7] * 2, ""  # reading is six tenths of it
    seeds, cores = len(train.seeds), stage.cores() if device() == "cpu" else 1
    at_once = stage.jobs(seeds)
    turns = -(-seeds // at_once) * max(1.0, at_once / cores)
    scoring = 0.0
    for name in evaluate.ARCHITECTURES:
        per_window, per_scored = seconds_per_window(name, sections, load)
        epoch = (per_window * load.samples["train"] + per_scored * load.samples["val"]) * turns
        least = min(train.patience + 1, train.epochs)
        note = f", {duration(epoch)} an epoch of all seeds"
        yield f"train_{name}", START + least * epoch, START + train.epochs * epoch, note
        scoring += per_scored * (load.samples["val"] + load.samples["test"]) * seeds
    yield "fit_references", *[seconds_of_references(load, sections["data"].lookback, references)] * 2, ""
    exports = 0.0 if tracking.is_off() else EXPORT * len(evaluate.ARCHITECTURES)
    yield "evaluate", *[START + scoring + exports] * 2, ""
    drawing = seconds_of(lambda: draw_days(load.days, 1, 100, 0)) / 100 * sections["compare"].draws
    yield "compare", *[START + 2 * drawing + exports / 4] * 2, ""


def seconds_per_window(name: str, sections: dict[str, Any], load: Load) -> tuple[float, float]:
    """Seconds a window costs in training and in scoring, one thread: from an epoch of `STEPS` steps after one that warms up."""
    train, lookback = sections["train"], sections["data"].lookback
    batch = min(train.batch_size, load.samples["train"])
    split = random_split(batch * STEPS, load, lookback)
    model = network(name, sections, load)
    settings = train.model_dump(exclude={"seeds"}) | {"epochs": 2, "precision": precision(name, sections)}
    epochs = fit(model, split, split, seed=0, **settings)
    next(epochs)
    both = seconds_of(lambda: next(epochs))
    scoring = seconds_of(lambda: predict(model, split))
    return max(both - scoring, 0.0) / len(split), scoring / len(split)


def seconds_of_references(load: Load, lookback: int, references: fit_references.References) -> float:
    """From fits on few windows and of few rounds."""
    fitted, judged = min(load.samples["train"], references.max_windows), load.samples["val"] + load.samples["test"]
    few, rounds = min(fitted, 4000), min(10, references.boosting_rounds)
    X, y, _ = random_rows(few, load, lookback)
    X = X.cumsum(axis=0) / few**0.5  # hour resembles hour, as it does in real features, which takes the optimum longer
    train, nothing = (windows(X, samples(y), lookback), y[samples(y)]), {}
    trees = {
        "learning_rate": references.boosting_learning_rate,
        "leaves": references.boosting_leaves,
        "min_leaf": max(1, few // 40),
    }
    newton = {"c": references.logistic_c, "iterations": references.logistic_iterations}
    with contextlib.redirect_stderr(io.StringIO()):  # whether this one reached its optimum says nothing of the real one
        logistic = seconds_of(lambda: fit_references.logistic_scores(*train, nothing, **newton))
    boosting = seconds_of(lambda: fit_references.boosting_scores(*train, nothing, rounds=rounds, **trees))
    share = (fitted + judged / 4) / few
    return START + share * (logistic + boosting * references.boosting_rounds / rounds)


def random_rows(size: int, load: Load, lookback: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X float32 (R, F), y int8 (R,) and asset ids (R,) with `size` samples."""
    rng = np.random.default_rng(0)
    rows = size + lookback - 1
    y = np.append(np.full(lookback - 1, labels.NO_LABEL, np.int8), (rng.random(size) < 0.1).astype(np.int8))
    y[lookback - 1 : lookback + 1] = 0, 1  # both classes, however few
    return rng.normal(size=(rows, load.features)).astype(np.float32), y, rng.integers(0, load.assets, rows)


def random_split(size: int, load: Load, lookback: int) -> Split:
    return Split.of(*random_rows(size, load, lookback), lookback=lookback, device=device())


def seconds_of(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def findings(disguises: str) -> Iterator[Finding]:
    sections, found = settings_found()
    if disguises:
        cure = "unset it for the bytes that others get: libraries compute other last digits with it"
        found.append(Finding("warning", "environment", disguises, cure))
    if "train" in sections:
        found += machine(sections)
    yield from found
    stuck = {finding.what for finding in found if finding.level == "problem"}
    load = None
    if {"data", "market"} <= set(sections) and "cores" not in stuck:
        load, found = bars_found(sections)
        yield from found
    valid = load is not None and not stuck
    if valid:
        yield from room(load, sections)
    yield store()
    if valid:
        yield from timings(load, sections)


def coloured(level: str) -> str:
    text = level.ljust(max(map(len, COLOURS)))
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return f"\x1b[{COLOURS[level]}m{text}\x1b[0m" if on_terminal and not os.environ.get("NO_COLOR") else text


def main() -> None:
    disguises = stage.disguises()  # before this process sets one itself
    prepare_process()
    problems = 0
    for finding in findings(disguises):
        cure = f"; {finding.cure}" if finding.cure else ""
        print(f"{coloured(finding.level)}  {finding.what:15}  {finding.figure}{cure}", flush=True)
        problems += finding.level == "problem"
    if problems:
        raise CampaignError(f"{problems} problem{'s' if problems > 1 else ''} would stop the campaign")


if __name__ == "__main__":
    stage.run(main)
