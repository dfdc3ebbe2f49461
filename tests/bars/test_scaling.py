"""The scaler against scikit-learn's, to the last bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from bars.scaling import check_scaler, fit_scaler, scale


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=3), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_the_scaler_equals_scikit_learns_to_the_last_bit(sizes, width):
    rng = np.random.default_rng(sum(sizes))
    parts = [rng.normal(rng.normal(0, 10, width), rng.lognormal(0, 3, width), (size, width)) for size in sizes]
    for part in parts:
        part[:, 1] = 1e9 + 1e-7 * (part[:, 1] > 0)  # constant but for rounding
    expected = StandardScaler().fit(np.concatenate(parts))
    scaler = fit_scaler(parts)
    assert vars(scaler).keys() == vars(expected).keys()
    for name in ("n_samples_seen_", "mean_", "var_", "scale_"):
        np.testing.assert_array_equal(getattr(scaler, name), getattr(expected, name))
    scaled = np.concatenate(list(scale(parts, scaler, 3.0)))
    np.testing.assert_array_equal(scaled, np.clip(expected.transform(np.concatenate(parts)), -3, 3).astype(np.float32))


def test_a_column_of_standard_deviation_one_is_not_constant():
    parts = [np.tile([[-1.0, 3.0], [1.0, 3.5]], (50, 1))]
    check_scaler(fit_scaler(parts), ["sign", "other"])
