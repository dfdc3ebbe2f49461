"""Cut several validation periods before test, one after the other, each with its train before it, to judge trials on them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bars.rows import FIRST_DATE, LAST_DATE, Cuts, choose_symbols, read_asset_rows
from core import inputs
from core.errors import CampaignError
from core.files import project_root, read_array, read_json
from core.lock import lock_directory
from core.params import PARAMS, read_section
from core.places import CAMPAIGN
from generate_data import Data, require_usable
from walk_forward.cut_folds import write_fold
from walk_forward.folds import WalkForward
from walk_forward.planning import DAY
from watch import progress

KEPT = Path(".search/folds")  # under the project's root
METADATA = CAMPAIGN.data / "metadata.json"
LENGTHS = "search.folds, walk_forward.val_days or train_days"


def plan_inner_folds(first: np.datetime64, test: np.datetime64, count: int, settings: WalkForward) -> list[Cuts]:
    """Cut `count` validation periods of ``walk_forward.val_days``, oldest first; the last one ends where test begins.

    The test of each is the validation of the next, that of the last is the campaign's; a search reads none of them.

    Args:
        first: datetime64[s], when the first row opens. test: when the campaign's test begins.

    Raises:
        CampaignError: there is no room for so many.
    """
    val, train = (np.timedelta64(days, "D").astype("timedelta64[s]") for days in (settings.val_days, settings.train_days))
    room = int((test - first - train) // val)
    if count > room:
        lengths = f"walk_forward.train_days {settings.train_days}, val_days {settings.val_days}"
        found = f"{PARAMS}: search.folds is {count}, before test are {int((test - first) / DAY)} days of rows, room for"
        raise CampaignError(
            f"{found} {room} ({lengths}); set search.folds to {room}, or shorten the two"
            if room > 0
            else f"{found} none ({lengths}); shorten the two"
        )
    starts = [test - number * val for number in range(count - 1, -1, -1)]
    return [
        Cuts(
            val=start - val,
            test=start,
            start=FIRST_DATE if settings.train == "expanding" else start - val - train,
            end=LAST_DATE if start == test else start + val,
            embargo=np.timedelta64(settings.embargo_hours * 3600, "s"),
        )
        for start in starts
    ]


def cut_inner_folds(count: int) -> list[Path]:
    """Write the splits of so many folds, unless they are there, and return their directories, oldest first.

    Raises:
        CampaignError: the bars cannot be used, or have no room for the folds.
    """
    data, settings, metadata = read_section("data", Data), read_section("walk_forward", WalkForward), read_json(METADATA)
    code = {name: text for name, text in inputs.CODE_DIGESTS.items() if name.startswith(("bars/", "walk_forward/"))}
    parts = [count, metadata["content_hash"], data.model_dump(), settings.model_dump(), code]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    with lock_directory(project_root() / KEPT / key, "this search") as directory:
        places = [directory / f"fold-{number}" for number in range(1, count + 1)]
        if not all((place / "metadata.json").is_file() for place in places):  # which is written last
            _write(places, data, settings, metadata["cuts"]["test"])
        _check_bars(places[-1], data)
    return places


def _write(places: Sequence[Path], data: Data, settings: WalkForward, test: str) -> None:
    root = Path(data.bars)
    symbols = choose_symbols(root, data.symbols)
    assets = require_usable(read_asset_rows(root, symbols, data.row_rules()))
    first = min(rows.timestamps[0] for rows in assets)
    folds = plan_inner_folds(first, np.datetime64(test.removesuffix("Z"), "s"), len(places), settings)
    for place, cuts in zip(places, folds, strict=True):
        metadata, warnings = write_fold(place, data, symbols, assets, cuts, lengths=LENGTHS)
        val = metadata["splits"]["val"]
        told = f"{place.name}: validation {val['first_bar'][:10]} to {val['last_bar'][:10]}, {val['samples']:,} samples"
        progress.say("; ".join([told, *warnings]))


def _check_bars(last: Path, data: Data) -> None:
    """Check that the last fold, whose test is the campaign's, was cut from the same bars. Raises CampaignError."""
    for name in ("timestamps", "closes"):
        own, other = (read_array(directory / f"test_{name}.npy") for directory in (last, CAMPAIGN.data))
        if not np.array_equal(own, other):
            raise CampaignError(
                f"the bars in {data.bars} are not those of {CAMPAIGN.data}; make it anew: dvc repro generate_data"
            )
