"""README and the pages beside it: what they tell users to type, what they show, and what they link to."""

import re

from scaffold import PROJECT

FILES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted((PROJECT / "docs").glob("*.md"))]
PAGES = {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [code for text in PAGES.values() for code in FENCE.findall(text)]


def block(word: str) -> str:
    """Return the one code block of all pages that contains `word`."""
    (found,) = [code for code in BLOCKS if word in code]
    return found


def commands(word: str, **replaced: str) -> str:
    """Return the block that contains `word` as a shell script: its `$` lines without prompt, each of `replaced` put in."""
    script = "\n".join(line.removeprefix("$ ") for line in block(word).splitlines() if line.startswith("$ "))
    for name, value in replaced.items():
        assert name in script
        script = script.replace(name, value)
    return f"set -e\n{script}\n"


def shown(command: str) -> list[str]:
    """Return the lines that a page shows below `$ command`."""
    _, _, below = block(f"$ {command}").partition(f"$ {command}")
    return re.split(r"^\$ ", below.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0].splitlines()


def file_blocks(page: str) -> dict[str, str]:
    """Return the blocks of `page` that stand for files, by the name in the line before: "`params.yaml`:"."""
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w*\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE))


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
