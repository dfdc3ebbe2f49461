"""Tell before a long run whether everything is there, and what it will take.

Each line is ok, a warning, or a problem with its cure. Times are rough: they come from a few timed steps on random rows of the
campaign's shape. Exit code 1 where there is a problem.
"""

import functools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

import compare
import evaluate
import fit_references
import simulate_market
from bars.findings import summarise_findings
from bars.reading import SIMULATED_MARKER, Bars, bars_from_frame, bars_path, read_bars
from bars.rows import AssetRows, RowRules, choose_symbols, collect_findings, cut_times, read_asset_rows, split_and_fit_scaler
from core.cluster import connect
from core.errors import MAX_ENTRIES, CampaignError, join_first, to_one_line
from core.files import project_root, read_json
from core.machine import core_count, cpu_overrides, job_count, on_cluster
from core.params import PARAMS, Settings, read_params, read_section
from core.pipeline import TRAIN, read_stages
from core.splits import SPLITS
from generate_data import Data
from learn.architecture import Architecture, find_architecture
from learn.device import device, multiplies_bfloat16, prepare_process, resolve_precision
from learn.grouping import largest_group
from learn.train_stage import LoopSettings, Train, loop_settings
from learn.training import Loop
from search.settings import Search
from tools.consistency import describe_leftovers, find_leftovers, find_mismatches
from tools.estimate import (
    GIB,
    DataSize,
    Network,
    Plan,
    StageTime,
    estimate_disk,
    estimate_memory,
    estimate_times,
)
from walk_forward.folds import WalkForward
from watch import tracking
from watch.store import describe_store

SCHEMAS: dict[str, type[Settings]] = {  # of the sections that are no architecture's
    "market": simulate_market.Market,
    "data": Data,
    "train": Train,
    "references": fit_references.References,
    "evaluate": evaluate.Evaluate,
    "compare": compare.Compare,
    "walk_forward": WalkForward,
    "search": Search,
}
WRITTEN = (".dvc", ".checkpoints", "data", "models", "metrics", "plots", "reports")  # directories that a campaign writes to
WARNING_MARGIN = 1.2  # free space below so many times what is needed is a warning
LEVEL_COLOURS = {"ok": "32", "warning": "33", "problem": "31"}  # of the terminal


@dataclass(frozen=True)
class ChecklistLine:
    """A line of the checklist: `level` is ok, warning or problem; `cure` says what to do about the latter two."""

    level: str
    subject: str
    text: str
    cure: str = ""


# --- settings ---------------------------------------------------------------------------------------------------------


def find_architectures(stages: Iterable[str]) -> tuple[list[Architecture], list[ChecklistLine]]:
    """Find the architectures that the `stages` train, and a line on each that cannot be found."""
    found, lines = [], []
    for stage in stages:
        if stage.startswith(TRAIN):
            try:
                found.append(find_architecture(stage.removeprefix(TRAIN)))
            except CampaignError as error:
                text, _, cure = str(error).rpartition("; ")
                lines.append(ChecklistLine("problem", "stages", text, cure))
    return found, lines


def check_sections(
    params: Mapping[str, Any], schemas: Mapping[str, type[Settings]]
) -> tuple[dict[str, Any], list[ChecklistLine]]:
    """Read each section of `params` that has a schema. Returns the valid ones, and lines on all together."""
    sections, lines = {}, []
    for name, schema in schemas.items():
        if name not in params:
            continue  # `find_mismatches` tells which stage reads it
        try:
            sections[name] = read_section(name, schema)
        except CampaignError as error:
            lines.append(ChecklistLine("problem", "parameters", str(error).removeprefix(f"{PARAMS}: "), "correct it"))
    return sections, lines or [ChecklistLine("ok", "parameters", f"{len(sections)} sections of {PARAMS} are valid")]


def check_loops(sections: Mapping[str, Any], architectures: Iterable[str]) -> tuple[dict[str, LoopSettings], list[ChecklistLine]]:
    """Find the settings of the loop for each architecture whose sections are valid, and lines on what is wrong with its own."""
    loops, lines = {}, []
    for name in architectures:
        if "train" in sections and name in sections:
            try:
                loops[name] = loop_settings(name, sections[name], sections["train"])
            except CampaignError as error:
                lines.append(ChecklistLine("problem", "parameters", str(error).removeprefix(f"{PARAMS}: "), "correct it"))
    return loops, lines


def check_pipeline(stages: Mapping[str, Any], sections: Iterable[str]) -> Iterator[ChecklistLine]:
    """Say what of dvc.yaml, params.yaml, src and earlier results does not fit together."""
    for mismatch in find_mismatches(stages, set(sections)):
        yield ChecklistLine("problem" if mismatch.stops else "warning", "stages", mismatch.what, mismatch.cure)
    if leftovers := find_leftovers(stages):
        mismatch = describe_leftovers(leftovers)
        yield ChecklistLine("warning", "stages", mismatch.what, mismatch.cure)


# --- machine ----------------------------------------------------------------------------------------------------------


def check_environment(overrides: str) -> Iterator[ChecklistLine]:
    """Warn of the variables `overrides`, as `cpu_overrides` found them before this process set one itself."""
    if overrides:
        cure = "unset it for the bytes that others get: libraries compute other last digits with it"
        yield ChecklistLine("warning", "environment", overrides, cure)


def resolve_networks(
    architectures: Iterable[tuple[str, type[torch.nn.Module], Mapping[str, Any], LoopSettings]],
) -> tuple[list[Network], dict[str, str]]:
    """Find the precision that each network trains in.

    Args:
        architectures: name, class, the class's arguments but `n_assets`, and the settings of the loop, whose precision may be
            auto.

    Returns:
        The networks, and for those that cannot train in their precision here what is wrong, by name.
    """
    networks, refused = [], {}
    for name, kind, arguments, loop in architectures:
        build = functools.partial(kind, **arguments, n_assets=1)
        try:
            resolved = resolve_precision(loop.precision, build, arguments["n_features"], arguments["lookback"])
            networks.append(Network(name, kind, arguments, Loop(**loop.model_dump() | {"precision": resolved})))
        except CampaignError as error:
            refused[name] = str(error).removeprefix(f"{PARAMS}: ")
    return networks, refused


def check_accelerator(networks: Iterable[Network], refused: Mapping[str, str]) -> ChecklistLine:
    """Say what trains the networks, and in which precision; a problem where some are `refused`."""
    if refused:
        text, cure = next(iter(refused.values())).split("; ")
        return ChecklistLine("problem", "accelerator", text.replace("this network", ", ".join(refused)), cure)
    by_precision: dict[str, list[str]] = {}
    for network in networks:
        by_precision.setdefault(network.loop.precision, []).append(network.name)
    alike = len(by_precision) == 1
    used = [each if alike else f"{each} ({', '.join(names)})" for each, names in by_precision.items()]
    text = ", ".join([describe_device(), *used])
    if "bfloat16" in by_precision and device() == "cpu" and not multiplies_bfloat16():
        return ChecklistLine(
            "warning", "accelerator", text, "bfloat16 is emulated here, slower than float32: train.precision: auto"
        )
    return ChecklistLine("ok", "accelerator", text)


def describe_device() -> str:
    where = "no GPU that this build can use, the CPU trains"
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        where = f"{torch.cuda.get_device_name()}, {format_bytes(free)} of {format_bytes(total)} free"
    return f"{where}; torch {torch.__version__}"


def check_cores(seeds: int) -> ChecklistLine:
    """Say how many of `seeds` train side by side."""
    cores = core_count()
    try:
        members = min(seeds, largest_group(on_gpu=device() == "cuda"))
        side_by_side = job_count(-(-seeds // members))
    except CampaignError as error:
        return ChecklistLine("problem", "cores", str(error))
    how = f"{side_by_side} side by side" if members == 1 else f"{members} to a process, which share each step"
    text = f"{cores}, {seeds} seeds, {how}"
    if device() == "cpu" and side_by_side > 2 * cores:
        return ChecklistLine("warning", "cores", text, f"more than two a core slow each other down: CAMPAIGN_JOBS={cores}")
    return ChecklistLine("ok", "cores", text)


def check_cluster() -> Iterator[ChecklistLine]:
    """Say what the Ray cluster has where one is to be used; nothing else."""
    try:
        if on_cluster():
            cluster = connect()
            text = f"Ray at {cluster.address} with {cluster.describe()}; the times below are this machine's"
            yield ChecklistLine("ok", "cluster", text)
    except CampaignError as error:
        found, _, cure = str(error).rpartition("; ")
        yield ChecklistLine("problem", "cluster", found, cure)


# --- bars -------------------------------------------------------------------------------------------------------------


def check_bars(
    root: Path,
    simulate: Callable[[], Iterable[tuple[str, pd.DataFrame]]] | None,
    *,
    symbols: Sequence[str] | None,
    splits: Sequence[float],
    rules: RowRules,
) -> tuple[DataSize | None, list[ChecklistLine]]:
    """Read the bars as generate_data will.

    Args:
        root: directory of the bars.
        simulate: makes the bars that will be at `root` and are not there yet; None reads those there.
        symbols, splits: `data.symbols` and `data.splits`.

    Returns:
        What they come to, None where they cannot be used; and lines on them.
    """
    if root == simulate_market.OUT and (strange := simulate_market.find_foreign(root)):
        cure = "move it: DVC would take it for a part of the market, and clear it away with it"
        return None, [ChecklistLine("problem", "bars", f"{root} holds {join_first(strange)}, not of this market", cure)]
    frames = {bars_path(root, symbol): frame for symbol, frame in simulate()} if simulate else {}

    def read(path: Path, extra: Sequence[str]) -> Bars:
        return bars_from_frame(frames[path], extra, simulated=True) if simulate else read_bars(path, extra)

    try:
        chosen = choose_symbols(root, symbols, [path.parts[-3] for path in frames] or None)
        began = time.perf_counter()
        results = read_asset_rows(root, chosen, rules, read=read)
        seconds = time.perf_counter() - began
        if bad := [result for result in results if isinstance(result, str)]:
            return None, describe_bad_symbols(bad)
        assets = [rows for rows in results if isinstance(rows, AssetRows)]
        data, thin = measure_data(assets, chosen, splits, rules, seconds)
    except CampaignError as error:
        return None, [ChecklistLine("problem", "bars", str(error))]
    note = "simulated market, not on disk yet: " if simulate else ""
    counts = " + ".join(f"{data.samples[split]:,} {split}" for split in SPLITS)
    ok = ChecklistLine("ok", "bars", f"{note}{data.assets} assets, {data.bars:,} bars, samples {counts}")
    is_simulated = simulate is not None or (root / SIMULATED_MARKER).is_file()
    findings = summarise_findings(collect_findings(dict(zip(chosen, assets, strict=True)), simulated=is_simulated))
    return data, [ok, *(ChecklistLine("warning", "bars", warning) for warning in [*thin, *findings])]


def describe_bad_symbols(reasons: Sequence[str]) -> list[ChecklistLine]:
    """Give the first `reasons` a line each, and say how many more there are."""
    more = len(reasons) - MAX_ENTRIES
    rest = [f"and {more:,} symbols more; python src/campaign.py bars lists all"] if more > 0 else []
    return [ChecklistLine("problem", "bars", reason) for reason in [*reasons[:MAX_ENTRIES], *rest]]


def measure_data(
    assets: Sequence[AssetRows], symbols: Sequence[str], shares: Sequence[float], rules: RowRules, seconds: float
) -> tuple[DataSize, list[str]]:
    """Split the rows and count them.

    Args:
        shares: of train, validation and test.
        seconds: that reading took.

    Returns:
        The counts, and warnings of one line.

    Raises:
        CampaignError: a split cannot be trained or judged on.
    """
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), shares)
    prepared = split_and_fit_scaler(assets, symbols, cuts, rules)
    size = DataSize(
        bars=sum(rows.bars for rows in assets),
        rows={split: len(rows.y) for split, rows in prepared.splits.items()},
        samples={split: int(rows.is_sample.sum()) for split, rows in prepared.splits.items()},
        features=len(rules.features),
        assets=len(symbols),
        test_days=len(np.unique(prepared.splits["test"].timestamps.astype("datetime64[D]"))),
        reading_seconds=seconds,
    )
    return size, prepared.warnings


def holds_market(market: Mapping[str, Any]) -> bool:
    """Tell whether the bars on disk are those of the section `market`."""
    try:
        return bool(read_json(simulate_market.OUT / SIMULATED_MARKER)["market"] == market)
    except CampaignError:
        return False


# --- memory and disk --------------------------------------------------------------------------------------------------


def check_space(plan: Plan) -> Iterator[ChecklistLine]:
    """Compare the memory and disk that the campaign needs with what is free."""
    which, needed = estimate_memory(plan)
    cures = {
        "generate_data": "fewer symbols or features",
        "train": "CAMPAIGN_JOBS=1 trains one seed at a time, a smaller train.batch_size takes less",
        "fit_references": "lower references.max_windows",
        "evaluate": "fewer symbols or features",
    }
    yield compare_space("memory", f"{which} takes most, about", needed, free_memory(), cures[which])
    for where in dict.fromkeys((Path.cwd(), project_root())):
        written = [where, *(where / name for name in WRITTEN if (where / name).exists())]
        if closed := next((path for path in written if not os.access(path, os.W_OK)), None):
            yield ChecklistLine("problem", "disk", f"{closed} cannot be written", "make it writable")
        else:
            yield compare_space("disk", "about", estimate_disk(plan), shutil.disk_usage(where).free, "free some disk space")


def compare_space(subject: str, prefix: str, needed: float, free: float, cure: str) -> ChecklistLine:
    """Make a line of the bytes `needed` and `free`."""
    level = "ok" if free > WARNING_MARGIN * needed else "warning" if free > needed else "problem"
    return ChecklistLine(
        level, subject, f"{prefix} {format_bytes(needed)}, {format_bytes(free)} free", "" if level == "ok" else cure
    )


def free_memory() -> float:
    """Return the bytes that this process may still get: of the machine, or of its control group where that allows less."""
    free = float(psutil.virtual_memory().available)
    try:
        limit, used, statistics = (Path("/sys/fs/cgroup", f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        cache = dict(line.split() for line in statistics.splitlines())["inactive_file"]  # given back when it is needed
        return min(free, float(limit) - float(used) + float(cache))
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return free


# --- tracking and times -----------------------------------------------------------------------------------------------


def check_store() -> ChecklistLine:
    """Say where MLflow's runs go; a warning where that does not answer."""
    try:
        return ChecklistLine("ok", "tracking", describe_store())
    except Exception as error:  # whatever a store or a network can do
        said = tracking.without_password(to_one_line(error))[:200]
        return ChecklistLine("warning", "tracking", said, f"training goes on without; {tracking.BACKFILL_CURE}")


def list_times(times: Iterable[StageTime]) -> Iterator[ChecklistLine]:
    """Make a line of each stage's time, and one of their sum."""
    least = most = 0.0
    for time_ in times:
        least, most = least + time_.least, most + time_.most
        note = "" if time_.epoch is None else f", {format_seconds(time_.epoch)} an epoch of all seeds"
        yield ChecklistLine("ok", time_.stage, format_span(time_.least, time_.most) + note)
    yield ChecklistLine("ok", "total", format_span(least, most))


# --- words ------------------------------------------------------------------------------------------------------------


def format_bytes(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def format_seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def format_span(least: float, most: float) -> str:
    few, many = format_seconds(least), format_seconds(most)
    return few if few == many else f"{few} to {many}"


def colour(level: str) -> str:
    """Pad a level to the longest one's width, and colour it on a terminal, unless NO_COLOR is set."""
    text = level.ljust(max(map(len, LEVEL_COLOURS)))
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return f"\x1b[{LEVEL_COLOURS[level]}m{text}\x1b[0m" if on_terminal and not os.environ.get("NO_COLOR") else text


# --- all of it --------------------------------------------------------------------------------------------------------


def check_campaign(overrides: str) -> Iterator[ChecklistLine]:
    """Yield the lines of the checklist. What needs a part that has a problem is left out."""
    params, stages = read_params(), read_stages()
    params = params if isinstance(params, dict) else {}
    architectures, lines = find_architectures(stages)
    sections, about_sections = check_sections(params, SCHEMAS | {each.name: each.settings for each in architectures})
    lines = [*about_sections, *lines, *check_pipeline(stages, map(str, params)), *check_environment(overrides)]
    train, data, market = (sections.get(name) for name in ("train", "data", "market"))
    loops, about_loops = check_loops(sections, [each.name for each in architectures])
    lines += about_loops
    networks: list[Network] = []
    if train:
        refused: dict[str, str] = {}
        if data:
            sizes = {"n_features": len(data.features), "lookback": data.lookback}
            networks, refused = resolve_networks(
                (each.name, each.network, sections[each.name].model_dump() | sizes, loops[each.name])
                for each in architectures
                if each.name in loops
            )
        lines += [check_accelerator(networks, refused), check_cores(len(train.seeds)), *check_cluster()]
    yield from lines

    problems = {line.subject for line in lines if line.level == "problem"}
    size = None
    if data and market and "cores" not in problems:
        simulate = functools.partial(simulate_market.simulate, **market.model_dump())
        is_missing = Path(data.bars) == simulate_market.OUT and not holds_market(market.model_dump())
        size, lines = check_bars(
            Path(data.bars),
            simulate if is_missing else None,
            symbols=data.symbols,
            splits=data.splits,
            rules=data.row_rules(),
        )
        yield from lines
    plan = make_plan(sections, networks, size) if size and not problems else None
    if plan:
        yield from check_space(plan)
    yield check_store()
    if plan:
        yield from list_times(estimate_times(plan))


def make_plan(sections: Mapping[str, Any], networks: Sequence[Network], size: DataSize) -> Plan:
    """Gather what the campaign comes to from all sections, which are valid, and the size of its data."""
    market, data, train, references = (sections[name] for name in ("market", "data", "train", "references"))
    simulate = functools.partial(simulate_market.simulate, **market.model_dump())
    members = min(len(train.seeds), largest_group(on_gpu=device() == "cuda"))
    return Plan(
        data=size,
        lookback=data.lookback,
        networks=tuple(networks),
        seeds=len(train.seeds),
        members=members,
        side_by_side=job_count(-(-len(train.seeds) // members)),
        fitted=min(size.samples["train"], references.max_windows),
        fit_logistic=functools.partial(
            fit_references.logistic_scores, c=references.logistic_c, iterations=references.logistic_iterations
        ),
        fit_boosting=functools.partial(
            fit_references.boosting_scores,
            learning_rate=references.boosting_learning_rate,
            leaves=references.boosting_leaves,
        ),
        boosting_rounds=references.boosting_rounds,
        draws=sections["compare"].draws,
        simulate_asset=(lambda: next(simulate())) if Path(data.bars) == simulate_market.OUT else None,
    )


def main() -> None:
    """Print the checklist. Raises CampaignError where something would stop the campaign."""
    overrides = cpu_overrides()  # before this process sets one itself
    prepare_process()
    problems = 0
    for line in check_campaign(overrides):
        cure = f"; {line.cure}" if line.cure else ""
        print(f"{colour(line.level)}  {line.subject:15}  {line.text}{cure}", flush=True)
        problems += line.level == "problem"
    if problems:
        raise CampaignError(f"{problems} problem{'s' if problems > 1 else ''} would stop the campaign")
