"""Which modules a script can import, read from its source without running it; imports inside functions count."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
WATCH = SOURCE / "watch"  # the one exception of `closure`: nothing in it can change an output


def module_files(name: str) -> list[Path]:
    """Files under src that importing `name` runs; empty for anything installed."""
    parts = name.split(".")
    packages = [SOURCE.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    candidates = [*packages, SOURCE.joinpath(*parts).with_suffix(".py")]
    return [file for file in candidates if file.is_file()]


def imported(file: Path) -> set[Path]:
    """Files under src that `file` imports anywhere in it."""
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


def closure(script: Path) -> set[Path]:
    """All files under src that running `script` can execute, itself included, but for `WATCH` and what only that needs."""
    seen: set[Path] = set()
    todo = {script}
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= {other for other in imported(file) - seen if not other.is_relative_to(WATCH)}
    return seen


def circles() -> list[list[str]]:
    """Import circles among the files under src: for each the names of its files, in order."""
    imports = {file: imported(file) - {file} for file in SOURCE.rglob("*.py")}
    found: list[list[str]] = []
    done: set[Path] = set()

    def visit(file: Path, path: list[Path]) -> None:
        if file in path:
            found.append([str(step.relative_to(SOURCE)) for step in [*path[path.index(file) :], file]])
        elif file not in done:
            for other in sorted(imports[file]):
                visit(other, [*path, file])
            done.add(file)

    for file in sorted(imports):
        visit(file, [])
    return found
