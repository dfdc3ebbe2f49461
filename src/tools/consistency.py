"""Find what does not fit together: stages of dvc.yaml, sections of params.yaml, scripts of src, and what earlier stages left."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.inputs import SOURCE
from core.params import PARAMS
from core.pipeline import PIPELINE, TRAIN

NO_STAGE = ("campaign",)  # scripts that are for a person
SECTIONS_OF_OTHERS = {"walk_forward", "search"}  # that stages of other pipelines read: walk_forward/dvc.yaml, search/dvc.yaml


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """What does not fit, and the cure; `stops` a campaign, or only leaves something out of it."""

    what: str
    cure: str
    stops: bool = False


def find_mismatches(stages: Mapping[str, Any], sections: set[str]) -> list[Mismatch]:
    """Compare the stages of dvc.yaml with the `sections` of params.yaml and the scripts of src."""
    scripts = {path.stem for path in SOURCE.glob("*.py")} - {*NO_STAGE}
    declared = {name: sections_of(entry) for name, entry in stages.items()}
    found = [mismatch for name in stages for mismatch in _check_stage(name, declared[name], sections, scripts)]
    read = {section for names in declared.values() for section in names} | {name.removeprefix(TRAIN) for name in stages}
    for section in sorted(sections - read - SECTIONS_OF_OTHERS):
        stage = f"{TRAIN}{section}" if f"{TRAIN}{section}" in scripts else "that reads it"
        found.append(Mismatch(f"section {section} is read by no stage", f"remove it, or add the stage {stage} to {PIPELINE}"))
    for script in sorted(scripts - set(stages)):
        found.append(Mismatch(f"src/{script}.py is run by no stage", f"remove it, or add the stage {script} to {PIPELINE}"))
    return found


def _check_stage(name: str, declared: set[str], sections: set[str], scripts: set[str]) -> Iterator[Mismatch]:
    """Compare one stage with the sections of params.yaml and the scripts; `declared` are the sections that it names."""
    trains = name.startswith(TRAIN)
    if name not in scripts and not trains:  # of one that trains, `find_architecture` says so
        yield Mismatch(
            f"the stage {name} has no script src/{name}.py", f"add it, or remove the stage from {PIPELINE}", stops=True
        )
    if missing := sorted(declared - sections):
        them = "it" if len(missing) == 1 else "them"
        cure = f"add {them} there, or remove {them} from the stage's params in {PIPELINE}"
        yield Mismatch(f"the stage {name} reads {', '.join(missing)}, not in {PARAMS}", cure, stops=True)
    if trains and (unnamed := sorted({"train", name.removeprefix(TRAIN)} - declared)):
        what = f"the stage {name} does not declare {', '.join(unnamed)}: an edit would not rerun it"
        yield Mismatch(what, f"add it to the stage's params in {PIPELINE}", stops=True)


def find_leftovers(stages: Mapping[str, Any]) -> list[str]:
    """List what an earlier pipeline left beside the outs of this one, in directories that stages depend on.

    An example is models/<name> of an architecture that was removed: DVC no longer removes it, but still hashes its directory.
    """
    outs = {Path(out) for entry in stages.values() for out in outs_of(entry)}
    kept = outs | {parent for out in outs for parent in out.parents}
    deps = {Path(dep) for entry in stages.values() for dep in paths_in(entry.get("deps"))}
    shared = {dep for dep in deps if dep in kept - outs}  # the parent of several stages' outs
    here = (path for directory in sorted(shared) if directory.is_dir() for path in sorted(directory.iterdir()))
    return [str(path) for path in here if path not in kept and not path.name.startswith(".") and path.suffix != ".tmp"]


def describe_leftovers(leftovers: list[str]) -> Mismatch:
    belongs = "belong" if len(leftovers) > 1 else "belongs"
    what = f"{', '.join(leftovers)} {belongs} to no stage of {PIPELINE}, but changes what DVC records"
    return Mismatch(what, f"rm -r {' '.join(leftovers)}")


def sections_of(entry: Mapping[str, Any]) -> set[str]:
    """Name the sections of params.yaml that a stage declares."""
    keys = [key for key in entry.get("params") or [] if isinstance(key, str)]
    return {key.partition(".")[0] for key in keys}


def outs_of(entry: Mapping[str, Any]) -> list[str]:
    """List the paths that a stage leaves."""
    return [path for kind in ("outs", "metrics", "plots") for path in paths_in(entry.get(kind))]


def paths_in(entries: Any) -> list[str]:
    """List the paths of a stage's deps or outs, where a path may carry options."""
    return [str(entry) if isinstance(entry, str) else str(next(iter(entry))) for entry in entries or []]
