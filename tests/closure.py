"""The import closure of a script, read from its source without running it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"


def module_files(name: str) -> list[Path]:
    """Files under src that importing `name` runs; empty for anything installed."""
    parts = name.split(".")
    packages = [SOURCE.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    candidates = [*packages, SOURCE.joinpath(*parts).with_suffix(".py")]
    return [file for file in candidates if file.is_file()]


def imported(file: Path) -> set[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found.update(file for name in names for file in module_files(name))
    return found


BESIDE = {SOURCE / "tracking.py", SOURCE / "progress.py"}  # the declared exceptions: they cannot change an output


def closure(script: Path) -> set[Path]:
    """All files under src that running `script` can execute, itself included, but for what only `BESIDE` needs."""
    seen: set[Path] = set()
    todo = {script}
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= imported(file) - seen - BESIDE
    return seen
