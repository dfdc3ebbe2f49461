"""Search settings from the command line: one architecture by hand, or all that the comparison recommends by DVC."""

from pathlib import Path

from core.errors import CampaignError, format_value
from core.params import read_section
from core.pipeline import SEARCH, read_architectures
from search.door import search
from search.search_settings import REPORTS, choose_architectures
from search.settings import Search
from tools.subproject import check_link, repro

BY_HAND = SEARCH.parent / "by_hand"  # what a search of one architecture leaves; git-ignored


def main(name: str | None, *, trials: int | None, study: str | None) -> None:
    """Search architecture `name`; None: have DVC search what the comparison recommends, by the numbers of params.yaml.

    Args:
        trials: None takes those of params.yaml. study: None takes the one that belongs to settings, data and code.

    Raises:
        CampaignError: settings, data or storage cannot be used, or trainings fail. What is finished is kept.
    """
    settings = read_section("search", Search)
    if name is None:
        if trials is not None or study is not None:
            raise CampaignError("--trials and --study need an ARCHITECTURE; without one params.yaml says what is searched")
        check_link(SEARCH.parent)
        names, out = choose_architectures(settings), REPORTS
        repro(SEARCH.parent)
    else:
        if name not in read_architectures():
            known = ", ".join(read_architectures())
            raise CampaignError(f"{format_value(name)} is no architecture that dvc.yaml trains; it trains {known}")
        if trials is not None and trials < 1:
            raise CampaignError(f"--trials is {trials}; it must be 1 or more")
        result = search(name, settings, trials or settings.trials, study=study, out=BY_HAND)
        print(result.choice)
        if result.contest is not None:
            print(result.command)
        names, out = [name], BY_HAND
    for each in names:
        print("open", Path(out, f"{each}.html").resolve().as_uri())
