"""Run walk-forward: check what can be checked before, have DVC run its stages, and say where the report is."""

import os
import sys
from pathlib import Path

from bars.reading import SIMULATED_MARKER
from core.errors import CampaignError
from core.files import read_json
from core.params import PARAMS, read_params, read_section
from core.pipeline import WALK_FORWARD, read_architectures
from learn.architecture import find_architecture
from simulate_market import OUT as SIMULATED
from tools.check import SCHEMAS
from tools.subproject import check_link, repro

DIRECTORY = WALK_FORWARD.parent
REPORT = DIRECTORY / "reports/walk_forward.html"


def check_bars(bars: str) -> None:
    """Check that DVC can find the bars from the project in walk_forward/, and that a simulated market is the one set.

    Raises:
        CampaignError: says which, and the cure.
    """
    if os.path.isabs(bars):
        found = f"data.bars in {PARAMS} is {bars}, and {WALK_FORWARD} can name relative paths alone"
        raise CampaignError(f"{found}; write it so: bars: {os.path.relpath(bars, Path.cwd().resolve())}")
    if not Path(bars).is_dir():
        cure = (
            "dvc repro simulate_market" if Path(bars) == SIMULATED else f"python src/campaign.py import, or data.bars in {PARAMS}"
        )
        raise CampaignError(f"no directory at {bars}, which data.bars names; {cure}")
    if Path(bars) == SIMULATED and read_json(SIMULATED / SIMULATED_MARKER)["market"] != read_params().get("market"):
        raise CampaignError(f"{SIMULATED} is not the market that {PARAMS} describes; dvc repro simulate_market")


def check() -> None:
    """Check settings, bars and the link to src. Raises CampaignError, in seconds rather than after hours."""
    trained = read_architectures(WALK_FORWARD)
    schemas = SCHEMAS | {name: find_architecture(name).settings for name in trained}
    sections = {name: read_section(name, schema) for name, schema in schemas.items()}
    check_bars(sections["data"].bars)
    check_link(DIRECTORY)
    if left_out := [name for name in read_architectures() if name not in trained]:
        print(f"not in walk-forward: {', '.join(left_out)}; to train them there, add them to the matrix in {WALK_FORWARD}")


def main() -> None:
    check()
    sys.stdout.flush()
    repro(DIRECTORY)
    print("open", REPORT.resolve().as_uri())
