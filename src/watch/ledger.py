"""Keep a ledger of looks at test sets, under ``ledger/`` in the project's root: who looks often enough finds something.

A look is a small file of its own, named by the hash of its content. So it needs no lock, a repetition adds none, and git merges
two ledgers without a conflict. It is in no out of a stage and changes none.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CampaignError, print_stderr, to_one_line
from core.files import project_root, read_json, write_text
from core.params import read_params
from core.run import describe_system_error
from judge.money import Trades
from watch.run_values import flatten

LEDGER = Path("ledger")
LOOKED_WITH = ("market", "data", "train", "references", "evaluate")  # sections of params.yaml; an architecture has its own, too
REAL = "real"
DIGITS = 6  # of figures: another processor's last digits are no look of their own
NAME_LENGTH = 16  # hexadecimal digits


@dataclasses.dataclass(frozen=True)
class TestSet:
    """What of the market a test set is: two of them overlap where they share an asset and an hour.

    market: "real", or a hash of the simulated market's settings. symbols: of the assets.
    first, last: opening times of the first and the last bar, ISO texts.
    """

    __test__ = False  # pytest would take it for a class of tests

    market: str
    symbols: list[str]
    first: str
    last: str

    @classmethod
    def of(cls, *directories: Path) -> "TestSet":
        """Read it from the directory of the splits, of several folds where they are several.

        Raises:
            CampaignError: a file is missing or damaged.
        """
        described = [read_json(directory / "metadata.json") for directory in directories]
        tests = [metadata["splits"]["test"] for metadata in described]
        return cls(
            _market(described[0]["simulated"]),
            sorted({symbol for metadata in described for symbol in metadata["assets"]}),
            min(test["first_bar"] for test in tests),
            max(test["last_bar"] for test in tests),
        )

    def overlaps(self, other: "TestSet") -> bool:
        """Tell whether they are of the same market, and share an asset and an hour; prices may be adjusted since."""
        return (
            self.market == other.market
            and not set(self.symbols).isdisjoint(other.symbols)
            and max(self.first, other.first) <= min(self.last, other.last)
        )


def _market(is_simulated: bool) -> str:
    if not is_simulated:
        return REAL
    settings = flatten({"market": read_params().get("market") or {}})
    return _name_of(json.dumps(settings, sort_keys=True))


@dataclasses.dataclass(frozen=True)
class Earned:
    """A model's daily returns on test after costs, mean over seeds, in figures; None where it does not trade.

    sharpe: mean by standard deviation of a day, not annualised. skewness, kurtosis: 0 and 3 of normal returns.
    days: number of returns.
    """

    sharpe: float | None
    skewness: float | None
    kurtosis: float | None
    days: int

    @classmethod
    def of(cls, daily: np.ndarray) -> "Earned":
        """Work the figures out; `daily` is float64 (D,)."""
        deviations = daily - daily.mean()
        spread = float(np.sqrt((deviations**2).mean()))
        if len(daily) < 2 or spread == 0:
            return cls(None, None, None, len(daily))
        sharpe = float(daily.mean()) / float(daily.std(ddof=1))
        moments = (float((deviations**power).mean()) / spread**power for power in (3, 4))
        return cls(*(float(f"{value:.{DIGITS}g}") for value in (sharpe, *moments)), len(daily))


def daily_returns(test: Trades, scores: np.ndarray, thresholds: Sequence[float | None]) -> np.ndarray:
    """Return a model's daily returns on test after costs, mean over seeds, float64 (D,).

    Args:
        scores: float64 (S, N). thresholds: of each seed, for money; None: it does not trade.
    """
    least = [np.inf if threshold is None else threshold for threshold in thresholds]
    by_seed = [test.daily_returns(test.entries(row >= own)) for row, own in zip(scores, least, strict=True)]
    return np.mean(by_seed, axis=0)


@dataclasses.dataclass(frozen=True)
class Look:
    """One evaluation on a test set.

    kind: campaign, walk-forward, or search and an architecture. data: content hashes of the splits.
    settings: by dotted key. f1: test F1 of each model, mean over seeds. money: likewise what it earned.
    """

    kind: str
    test: TestSet
    data: list[str]
    settings: dict[str, Any]
    f1: dict[str, float]
    money: dict[str, Earned]

    @property
    def seen(self) -> str:
        """What was seen, as one text: looks that differ in settings alone, and not in a figure, are one."""
        return json.dumps(
            [dataclasses.astuple(self.test), self.f1, {name: dataclasses.astuple(own) for name, own in self.money.items()}]
        )

    @classmethod
    def at(
        cls,
        kind: str,
        directories: Sequence[Path],
        settings: Mapping[str, Any],
        f1: Mapping[str, float],
        daily: Mapping[str, np.ndarray],
    ) -> "Look":
        """Describe a look at the test sets in `directories`; `daily` has each model's `daily_returns`."""
        return cls(
            kind,
            TestSet.of(*directories),
            [read_json(directory / "metadata.json")["content_hash"] for directory in directories],
            dict(settings),
            {name: float(f"{value:.{DIGITS}g}") for name, value in f1.items()},
            {name: Earned.of(own) for name, own in daily.items()},
        )


def settings_of(*sections: str) -> dict[str, Any]:
    """Return those sections of params.yaml, and the ones that decide every evaluation, by dotted key."""
    params = read_params()
    return flatten({name: params[name] for name in (*LOOKED_WITH, *sections) if isinstance(params.get(name), dict)})


def note(look: Look) -> None:
    """Note a look, and say how often its test set has been looked at. What goes wrong is one warning: nothing depends on it."""
    text = json.dumps(dataclasses.asdict(look), indent=1, sort_keys=True) + "\n"
    path = project_root() / LEDGER / f"{_name_of(text)}.json"
    try:
        if not path.exists():
            own = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # another process may write the same
            write_text(own, text)
            own.replace(path)
        count = len(looks_at(look.test, read_ledger()))
    except (OSError, CampaignError) as error:
        found = describe_system_error(error) if isinstance(error, OSError) else to_one_line(error)
        print_stderr(f"ledger: warning: looks at test are not counted, and nothing else is touched: {found}")
        return
    often = f"{count} times; what luck makes of that: python src/campaign.py ledger" if count > 1 else "once"
    print_stderr(f"ledger: this test set has been looked at {often}")


def _name_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:NAME_LENGTH]


def read_ledger() -> list[Look]:
    """Read all looks, in the order of their names. Raises CampaignError: a file is none, or was changed."""
    return [_read_look(path) for path in sorted((project_root() / LEDGER).glob("*.json"))]


def _read_look(path: Path) -> Look:
    try:
        text = path.read_text(encoding="utf-8")
        if _name_of(text) != path.stem:
            raise ValueError("its content does not hash to its name")
        content = json.loads(text)
        money = {name: Earned(**own) for name, own in content["money"].items()}
        return Look(**content | {"test": TestSet(**content["test"]), "money": money})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CampaignError(
            f"{path} is no look as this project writes it ({to_one_line(error)}); restore it from git, or move it away"
        ) from None


def looks_at(test: TestSet, looks: Iterable[Look]) -> list[Look]:
    """Select the looks at a test set that overlaps with `test`; of those that saw the same, the first."""
    distinct: dict[str, Look] = {}
    for look in looks:
        if look.test.overlaps(test):
            distinct.setdefault(look.seen, look)
    return list(distinct.values())


def looks_tag(*directories: Path) -> dict[str, str]:
    """Return the tag that says how often the test sets in `directories` have been looked at; empty where that is not known."""
    with contextlib.suppress(CampaignError):
        if looks := looks_at(TestSet.of(*directories), read_ledger()):
            return {"test_looks": str(len(looks))}
    return {}
