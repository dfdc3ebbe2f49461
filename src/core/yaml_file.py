"""Read a YAML file that a person wrote. Whatever it holds, reading is quick and an error is one line."""

import stat
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from core.errors import CampaignError, format_value, shorten

MAX_BYTES = 1_000_000
MAX_DEPTH = 20  # levels of nested mappings and lists
MAX_VALUES = 100_000  # with every alias expanded
# What ruamel raises for a scalar that names no value:
SCALAR_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


class _BoundedComposer(Composer):
    """Refuse a document that is nested too deep or, by aliases of aliases, expands to too many values."""

    def __init__(self, loader: Any = None):
        super().__init__(loader=loader)
        self.warn_double_anchors = False  # YAML allows an anchor's name to be used again
        self.nesting = 0
        self.values: dict[Node | None, int] = {}  # number of values in each node, aliases expanded

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.parser.peek_event()
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            raise ComposerError(None, None, f"more than {MAX_DEPTH} lists and mappings in each other", event.start_mark)
        node = super().compose_node(parent, index)
        self.nesting -= 1
        if isinstance(event, AliasEvent):
            if node not in self.values:
                raise ComposerError(None, None, f"{format_value(event.anchor)} contains itself", event.start_mark)
        else:
            self.values[node] = 1 + sum(self.values[child] for child in _children(node))
        if self.values[node] > MAX_VALUES:
            raise ComposerError(None, None, f"more than {MAX_VALUES:,} values", event.start_mark)
        return node


def _children(node: Node | None) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, SequenceNode) else []


class _LocatingConstructor(SafeConstructor):
    """Add line and column to the error of a scalar that only looks like a date or a number."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except SCALAR_ERRORS as error:
            reason = "no such value" if isinstance(error, LookupError) else shorten(str(error).partition(";")[0])
            problem = f"{format_value(node.value)} cannot be read: {reason}"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def read_yaml(path: Path) -> Any:
    """Read a file as YAML 1.2, as DVC does: ``1e-4`` is a number, ``"1e-4"`` is text.

    Raises:
        CampaignError: the content is not YAML, or larger than settings can be.
        OSError: the file cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CampaignError(f"{path} is no file; put one there")
    if status.st_size > MAX_BYTES:
        raise CampaignError(f"{path} has {status.st_size:,} bytes, more than {MAX_BYTES:,}; settings take a few thousand")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _BoundedComposer, _LocatingConstructor
    try:
        return yaml.load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CampaignError(
            f"{path} is not valid YAML: no UTF-8 text ({error.reason} at byte {error.start}); save it as such"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = ": ".join(shorten(part, 160) for part in (error.context, error.problem) if part)
        raise CampaignError(f"{path} is not valid YAML{where}: {problem}; correct it") from None
    except (YAMLError, *SCALAR_ERRORS) as error:
        raise CampaignError(f"{path} is not valid YAML: {shorten(error, 160)}; correct it") from None
