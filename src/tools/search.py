"""Search settings from the command line: one architecture by hand, or all that the comparison recommends by DVC."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from core.errors import CampaignError, format_value
from core.files import write_text
from core.params import PARAMS, read_section
from core.pipeline import SEARCH, read_architectures
from search.door import search
from search.search_settings import REPORTS, choose_architectures
from search.settings import Search
from tools.subproject import check_link, repro

BY_HAND = SEARCH.parent / "by_hand"  # what a search of one architecture leaves; git-ignored


def main(name: str | None, *, trials: int | None, study: str | None, apply: bool) -> None:
    """Search architecture `name`; None: have DVC search what the comparison recommends, by the numbers of params.yaml.

    Args:
        trials: None takes those of params.yaml. study: None takes the one that belongs to settings, data and code.
        apply: whether to write the best settings into params.yaml.

    Raises:
        CampaignError: settings, data or storage cannot be used, or trainings fail. What is finished is kept.
    """
    settings = read_section("search", Search)
    if name is None:
        if trials is not None or study is not None or apply:
            raise CampaignError(
                "--trials, --study and --apply need an ARCHITECTURE; without one params.yaml says what is searched"
            )
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
            if apply:
                apply_settings(name, result.best.values)
                print(f"these settings are in {PARAMS} now; to run the campaign with them: dvc repro")
        names, out = [name], BY_HAND
    for each in names:
        print("open", Path(out, f"{each}.html").resolve().as_uri())


def apply_settings(name: str, values: Mapping[str, Any]) -> None:
    """Write values in the place of an architecture's settings in params.yaml; all else in it stays as it is, comments too."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda node, _: node.represent_scalar("tag:yaml.org,2002:null", "null"))
    document = yaml.load(PARAMS.read_text(encoding="utf-8"))
    for key, value in values.items():
        part, _, own = key.rpartition(".")
        section = document[name].setdefault(part, {}) if part else document[name]
        section[own] = value
    text = io.StringIO()
    yaml.dump(document, text)
    write_text(PARAMS, text.getvalue())
