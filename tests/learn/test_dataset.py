"""Windows gathered on the device and in numpy against slices."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CampaignError
from core.splits import gather_windows, sample_rows
from learn.dataset import Split


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_gathered_windows_are_slices(lookback, n_features, seed):
    rng = np.random.default_rng(seed)
    size = lookback + int(rng.integers(0, 20))
    X = rng.normal(size=(size, n_features)).astype(np.float32)
    y = rng.integers(-1, 2, size).astype(np.int8)
    y[: lookback - 1] = -1
    assets = rng.integers(0, 3, size).astype(np.int16)
    ends = [row for row in range(size) if y[row] >= 0]
    assert sample_rows(y).tolist() == ends

    split = Split.of(X, y, assets, lookback=lookback)
    assert len(split) == len(ends)
    order = torch.as_tensor(rng.permutation(len(ends)))
    x, ids, labels = split.gather(order)
    for position, number in enumerate(order.tolist()):
        row = ends[number]
        np.testing.assert_array_equal(x[position].numpy(), X[row - lookback + 1 : row + 1])
        assert (ids[position].item(), labels[position].item()) == (assets[row], y[row])
    flat = gather_windows(X, np.array(ends, np.int64), lookback)
    slow = [X[row - lookback + 1 : row + 1].ravel() for row in ends]
    np.testing.assert_array_equal(flat, np.array(slow).reshape(len(ends), lookback * n_features))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_leave_nothing_out_and_the_last_one_is_filled_up(size):
    y = np.array([-1, 0, 1, 0, 0, 1, -1, 1], np.int8)
    split = Split.of(np.arange(8, dtype=np.float32)[:, None], y, np.zeros(8), lookback=2)
    batches = [x for x, _ in split.batches(size)]
    assert {len(x) for x in batches} == {size}
    samples = torch.cat(batches)[:, -1, 0].tolist()
    assert samples[:6] == [1, 2, 3, 4, 5, 7]
    assert set(samples[6:]) <= {7}


@pytest.mark.parametrize("short", [0, 1, 2])
def test_arrays_of_unequal_length_are_refused(short):
    """As two runs of `generate_data` leave them that were mixed by hand."""
    arrays = [np.zeros((8, 1), np.float32), np.ones(8, np.int8), np.zeros(8, np.int16)]
    arrays[short] = arrays[short][:-1]
    with pytest.raises(CampaignError, match="X, y and asset_ids of a split have .* rows; make them anew"):
        Split.of(*arrays, lookback=2)
