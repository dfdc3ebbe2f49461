"""README's code blocks: what it tells users to type, and what it shows them."""

import re

from scaffold import PROJECT

TEXT = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def block(word: str) -> str:
    """The one block of code that contains `word`."""
    (found,) = [code for code in BLOCKS if word in code]
    return found


def commands(word: str, **replaced: str) -> str:
    """The block that contains `word` as a shell script: its `$` lines without prompt, each of `replaced` put in."""
    script = "\n".join(line.removeprefix("$ ") for line in block(word).splitlines() if line.startswith("$ "))
    for name, value in replaced.items():
        assert name in script
        script = script.replace(name, value)
    return f"set -e\n{script}\n"


def shown(command: str) -> list[str]:
    """The lines that README shows below `$ command`."""
    _, _, below = block(f"$ {command}").partition(f"$ {command}")
    return re.split(r"^\$ ", below.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0].splitlines()
