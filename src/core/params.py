"""Read a YAML file that a person wrote: quickly and in one line on what is wrong, whatever it holds."""

import stat
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from core.errors import CampaignError, shortened, shown

MOST_BYTES = 1_000_000
DEEPEST = 20  # mappings and lists in each other
MOST_VALUES = 100_000  # where each alias counts as all that it stands for
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)  # ruamel's, for scalars that name no value


class _Bounded(Composer):
    """Refuses what would recurse too deep or, by aliases of aliases, be too much."""

    def __init__(self, loader: Any = None):
        super().__init__(loader=loader)
        self.warn_double_anchors = False  # of a name given anew, which YAML allows
        self.level = 0
        self.values: dict[Node | None, int] = {}  # how many each node comes to

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.parser.peek_event()
        self.level += 1
        if self.level > DEEPEST:
            raise ComposerError(None, None, f"more than {DEEPEST} lists and mappings in each other", event.start_mark)
        node = super().compose_node(parent, index)
        self.level -= 1
        if isinstance(event, AliasEvent):
            if node not in self.values:
                raise ComposerError(None, None, f"{shown(event.anchor)} contains itself", event.start_mark)
        else:
            self.values[node] = 1 + sum(self.values[child] for child in _children(node))
        if self.values[node] > MOST_VALUES:
            raise ComposerError(None, None, f"more than {MOST_VALUES:,} values", event.start_mark)
        return node


def _children(node: Node | None) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, SequenceNode) else []


class _Told(SafeConstructor):
    """Tells where a scalar stands that looks like a date, a number or the like and is none."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except UNREADABLE as error:
            said = "no such value" if isinstance(error, LookupError) else shortened(str(error).partition(";")[0])
            raise ConstructorError(None, None, f"{shown(node.value)} cannot be read: {said}", node.start_mark) from None


def read(path: Path) -> Any:
    """What `path` holds, in YAML 1.2 as DVC reads it: ``1e-4`` is a number, ``"1e-4"`` is text.

    Raises:
        CampaignError: it is not YAML, or more than settings can be.
        OSError: it cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise CampaignError(f"{path} is no file; put one there")
    if found.st_size > MOST_BYTES:
        raise CampaignError(f"{path} has {found.st_size:,} bytes, more than {MOST_BYTES:,}; settings take a few thousand")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _Bounded, _Told
    try:
        return yaml.load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CampaignError(
            f"{path} is not valid YAML: no UTF-8 text ({error.reason} at byte {error.start}); save it as such"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = ": ".join(shortened(part, 160) for part in (error.context, error.problem) if part)
        raise CampaignError(f"{path} is not valid YAML{where}: {said}; correct it") from None
    except (YAMLError, *UNREADABLE) as error:
        raise CampaignError(f"{path} is not valid YAML: {shortened(error, 160)}; correct it") from None
