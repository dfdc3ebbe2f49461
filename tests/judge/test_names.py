"""Each model has a colour that colour-blind readers can tell apart, the same in the report and in DVC's plots."""

import itertools
import json

import numpy as np
import pytest

from judge.names import PALETTE, REFERENCES, Roster
from scaffold import PROJECT

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
SEEN_BY = {
    "everyone": np.eye(3),
    "protanopes": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopes": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
}


def linear(colour: str) -> np.ndarray:
    """Convert #rrggbb to linear RGB."""
    share = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Convert linear RGB to Ottosson's perceptual space, in which 0.02 is a just noticeable difference."""
    to_cone = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
    to_lab = [[0.21045426, 0.79361779, -0.00407205], [1.9779985, -2.42859221, 0.45059371], [0.02590404, 0.78277177, -0.80867577]]
    return np.array(to_lab) @ np.cbrt(np.array(to_cone) @ np.clip(rgb, 0, 1))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio as WCAG defines it."""
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_networks_come_before_references_and_colours_follow_the_position():
    roster = Roster({"one": "One", "other": "Other"})
    assert list(roster.labels.items()) == [("one", "One"), ("other", "Other"), *REFERENCES.items()]
    assert list(roster.colours.items()) == list(zip(roster.labels, PALETTE, strict=False))


def test_five_architectures_have_colours_of_their_own_and_a_thirteenth_model_has_one_too():
    networks = {f"net_{number}": f"Net {number}" for number in range(8)}
    assert len(set(Roster(dict(list(networks.items())[:5])).colours.values())) == 10
    assert set(Roster(networks).colours) == {*networks, *REFERENCES}


@pytest.mark.parametrize("reader", SEEN_BY)
def test_colours_are_told_apart(reader):
    seen = [oklab(SEEN_BY[reader] @ linear(colour)) for colour in PALETTE]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 0.07


@pytest.mark.parametrize("page", ["#fdfdfc", "#14181c", "#1e2229"])
def test_colours_are_visible_on_light_and_dark_pages(page):
    assert min(contrast(colour, page) for colour in PALETTE) > 2


def test_the_plots_of_dvc_have_the_same_colours_by_position():
    template = json.loads((PROJECT / ".dvc/plots/curves_by_model.json").read_text())
    scales = [layer["encoding"]["color"]["scale"] for layer in template["layer"] if "color" in layer["encoding"]]
    assert scales == [{"range": list(PALETTE)}]
