"""Give each model its label and colour, in the order in which models are shown."""

import dataclasses
import itertools
from collections.abc import Mapping

REFERENCES = {
    "logistic_regression": "logistic regression",
    "gradient_boosting": "gradient boosting",
    "one_column": "one column",
    "prior": "asset prior",
    "always_positive": "always positive",
}
BASELINES = {  # what they know; each model is asked whether it differs from them
    "always_positive": "nothing",
    "prior": "the asset alone",
    "one_column": "one column of the last bar alone",
}
NO_CURVE = ("prior", "always_positive")  # their scores are constant for an asset: too few points for a curve

# The first six are Okabe and Ito's. Each further one is as far as possible from those before it, also for readers with red-green
# colour blindness. All are visible on white and on a dark page. A thirteenth model shares the first one's colour.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#506C68",
    "#543DFA",
    "#B73104",
    "#95BE87",
    "#5A82FA",
    "#D505BB",
)


@dataclasses.dataclass(frozen=True)
class Roster:
    """The models of a campaign: its networks in dvc.yaml's order, then the references.

    networks: label by name, as `core.pipeline.read_labels` reads them.
    """

    networks: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """Return each model's label by its name, in the order in which models are shown."""
        return {**self.networks, **REFERENCES}

    @property
    def colours(self) -> dict[str, str]:
        """Return each model's colour, #rrggbb, by its name; it depends on the model's position alone."""
        return dict(zip(self.labels, itertools.cycle(PALETTE), strict=False))
