"""Search the settings of the architectures that the comparison recommends, or that `search.architectures` names."""

import sys

sys.path.insert(0, __file__.rpartition("/search/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from pathlib import Path

from core.errors import CampaignError, format_value
from core.files import read_json
from core.params import PARAMS, read_section
from core.pipeline import SEARCH, Stage, read_architectures
from core.run import run
from search.door import search
from search.settings import Search

REPORTS = SEARCH.parent / "reports"


def choose_architectures(settings: Search) -> list[str]:
    """Return what is to be searched, the most worthy first.

    Raises:
        CampaignError: an architecture is unknown, or none is named and the comparison recommends none.
    """
    known = read_architectures()
    if settings.architectures is not None:
        if unknown := [name for name in settings.architectures if name not in known]:
            raise CampaignError(
                f"{PARAMS}: search.architectures has {format_value(unknown[0])}, which dvc.yaml does not train; it trains "
                f"{', '.join(known)}"
            )
        return settings.architectures
    found = read_json(Path("metrics/compare.json"))["search"]
    if found["primary"] is None:
        found_none = "the comparison recommends no search; to search all the same, name what"
        order = ", ".join(found["order"])
        raise CampaignError(f"{found_none}: search.architectures: [{found['order'][0]}] in {PARAMS} (its order: {order})")
    return [found["primary"], *found["secondary"][:1]]


def main() -> None:
    settings = read_section("search", Search)
    for name in choose_architectures(settings):
        search(name, settings, settings.trials, study=None, out=REPORTS)


if __name__ == "__main__":
    run(main, stage=Stage(SEARCH, "search_settings"))
