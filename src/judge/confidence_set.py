"""Name the models that chance does not tell from the one with the lowest loss: the model confidence set.

Shapes: M models, D days, W draws.
"""

from collections.abc import Mapping

import numpy as np


def confidence_set(losses: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, float]:
    """Return each model's p-value: at level α the set holds the models with a p-value above α.

    The worst model is removed again and again. A model's p-value is the largest of the p-values of the hypothesis that all
    models left have the same loss, up to the step at which it is removed; 1 for the last one.

    Args:
        losses: mean loss of each day, (D,), by model.
        weights: how often each bootstrap draw has each day, float64 (W, D).

    Source: Hansen, Lunde, Nason (2011), Econometrica 79, section 3.1.2 (the statistic T_max).
    """
    left, names = list(range(len(losses))), list(losses)
    daily = np.array(list(losses.values()))
    mean = daily.mean(axis=1)
    shares = weights / weights.sum(axis=1, keepdims=True)
    drawn = np.array([np.einsum("wd,d->w", shares, own) for own in daily - mean[:, None]])  # no BLAS: its bits differ by cores
    p_values, p_value = {}, 0.0
    while len(left) > 1:
        above = mean[left] - mean[left].mean()
        drawn_above = drawn[left] - drawn[left].mean(axis=0)
        error = np.sqrt(np.mean(drawn_above**2, axis=1))
        error[error == 0] = np.inf  # models that are equal on every day
        worst = int(np.argmax(above / error))
        null = np.max(drawn_above / error[:, None], axis=0)
        p_value = max(p_value, float(np.mean(null >= above[worst] / error[worst])))
        p_values[names[left.pop(worst)]] = p_value
    p_values[names[left[0]]] = 1.0
    return {name: p_values[name] for name in names}
