"""Read from git what the networks of the last commit were trained with, and compare it with others."""

import json
import subprocess
from collections.abc import Iterable

from core.errors import CampaignError

Kinds = dict[str, dict[str, str]]  # by network: its precision, torch and processor

COMPARED = "metrics/compare.json"


def git(*arguments: str) -> str:
    """Run git in the working directory and return what it prints. Raises CampaignError in git's own words."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise CampaignError(f"git cannot be started ({error.strerror}): install it, or add its directory to the PATH") from None
    if done.returncode:
        raise CampaignError(f"git {arguments[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def trained_with() -> Kinds:
    """Read what the last commit's networks were trained with; empty where there is no commit or it does not say."""
    try:
        return kinds_in(git("show", f"HEAD:./{COMPARED}"))
    except CampaignError:
        return {}


def kinds_in(compared: str) -> Kinds:
    """Read the same from the text of a metrics/compare.json; empty where it does not say."""
    try:
        kinds = json.loads(compared)["trained_with"]
        return {str(network): dict(kind) for network, kind in kinds.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def described(kinds: Kinds, whats: Iterable[str] | None = None) -> str:
    """Write ``precision float32, torch 2.13.0, processor AVX2``, or several of these where the networks differ.

    Args:
        whats: which of precision, torch and processor to name; None names all.
    """
    texts = (", ".join(f"{what} {kind.get(what)}" for what in whats or kind) for kind in kinds.values())
    return "; ".join(dict.fromkeys(texts))


def differing(one: Kinds, other: Kinds) -> list[str]:
    """List which of precision, torch and processor differ between two campaigns, in any network that both have."""
    pairs = [(kind, other[network]) for network, kind in one.items() if network in other]
    return list(dict.fromkeys(what for here, there in pairs for what in here | there if here.get(what) != there.get(what)))
