"""Reading splits and picking rows of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CampaignError
from core.splits import evenly_spaced, gather_windows, read_split, sample_rows


@given(st.integers(1, 300), st.integers(2, 50))
def test_evenly_spaced_rows_include_both_ends_and_differ_in_step_by_at_most_one(size, at_most):
    rows = np.arange(100, 100 + size)
    picked = evenly_spaced(rows, at_most)
    assert len(picked) == min(size, at_most)
    assert (picked[0], picked[-1]) == (rows[0], rows[-1])
    steps = np.diff(picked)
    assert size == 1 or steps.max() - steps.min() <= 1


def test_rows_without_a_label_end_no_sample():
    assert sample_rows(np.array([-1, 0, -1, 1], np.int8)).tolist() == [1, 3]


def test_a_window_is_its_rows_from_the_oldest_to_the_newest():
    X = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert gather_windows(X, np.array([1, 3]), 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_only_the_named_arrays_are_read(tmp_path):
    np.save(tmp_path / "val_y.npy", np.array([0, 1]))
    np.save(tmp_path / "val_X.npy", np.array([2, 3]))
    assert {name: array.tolist() for name, array in read_split(tmp_path, "val", "y").items()} == {"y": [0, 1]}
    with pytest.raises(CampaignError, match="val_held.npy not found"):
        read_split(tmp_path, "val", "y", "held")
