"""Keep the trials of a search, so that they outlive this process: in a file, or in any database that Optuna knows."""

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CampaignError, shorten
from search.trials import Trial, from_optuna, to_optuna, whole_batches

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STORAGE = "CAMPAIGN_OPTUNA_STORAGE"
KEY = "campaign"  # attribute of a study that says what decides its trials


@dataclasses.dataclass(frozen=True)
class Study:
    """The trials of one search, and what they were drawn from."""

    study: "optuna.Study"
    space: "Mapping[str, BaseDistribution]"
    where: str

    def trials(self) -> list[Trial]:
        """Read all whole batches, in order. Raises CampaignError: the storage cannot be read."""
        with naming_storage(self.where):
            return whole_batches([from_optuna(trial) for trial in self.study.get_trials(deepcopy=False)])

    def add(self, batch: Sequence[Trial]) -> None:
        """Write the trials of a batch that a killed process has not.

        Raises:
            CampaignError: the storage cannot be written.
        """
        with naming_storage(self.where):
            present = {from_optuna(trial).number for trial in self.study.get_trials(deepcopy=False)}
            for trial in batch:
                if trial.number not in present:
                    self.study.add_trial(to_optuna(trial, self.space))


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash what decides a study's trials: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def open_study(name: str, parts: Mapping[str, Any], space: "Mapping[str, BaseDistribution]", directory: Path) -> Study:
    """Open the study `name`, or begin it.

    Args:
        parts: what decides its trials, by what people call it.
        directory: for a storage of its own, where ``CAMPAIGN_OPTUNA_STORAGE`` names none.

    Raises:
        CampaignError: the storage cannot be used, or has a study of that name with other `parts`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directory.mkdir(parents=True, exist_ok=True)
    url = os.environ.get(STORAGE) or f"sqlite:///{directory / 'study.db'}"
    where = shown(url)
    with naming_storage(where), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(storage=url, study_name=name, direction="maximize", load_if_exists=True)
        known = study.user_attrs.get(KEY)
        if known is None:
            study.set_user_attr(KEY, dict(parts))
    if known is not None and known != dict(parts):
        others = ", ".join(sorted(part for part in {*known, *parts} if known.get(part) != parts.get(part)))
        raise CampaignError(
            f"the study {name} in {where} is of other {others}; go on with these, or name another: --study {name}-2"
        )
    return Study(study, space, where)


def shown(url: str) -> str:
    """Return a storage's URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return shorten(url)


@contextlib.contextmanager
def naming_storage(where: str) -> Iterator[None]:
    """Say in one line that a storage failed, and which."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError, KeyError, OSError) as error:
        found = shorten(getattr(error, "orig", None) or error, 200)
        cure = f"mend it, or set {STORAGE} to another; what was stored is kept"
        raise CampaignError(f"the storage {where} cannot be used ({found}); {cure}") from None
