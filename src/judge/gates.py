"""Hold each network against what a careful owner would ask: two questions decide on a search, the others inform."""

import dataclasses
from collections.abc import Sequence

from judge.family import Answer

STABLE = "stable: spread of validation F1 near the best epoch"


@dataclasses.dataclass(frozen=True)
class Gate:
    """What one gate found on one network.

    gate: what it asks for. passed: whether it got it.
    value, threshold: figures or texts; None where one is unknown.
    decides: whether failing it means no search. percent: whether figures are written as percentages.
    p_value: of the value being above the threshold by chance, corrected for the number of models asked; None of a gate without.
    """

    gate: str
    passed: bool
    value: float | str | None
    threshold: float | str | None
    decides: bool = False
    percent: bool = False
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of one network; each F1 is a mean over seeds.

    train_f1, val_f1: at the threshold that is best on each. cross_fitted_f1: of validation.
    shifted_f1: the best F1 on validation labels of other times. epoch_spread: see `spread_near_best`.
    seeds, unconverged: number of seeds, and of those that trained to the last epoch without stopping early.
    above_reference: on validation. on_test: whether it exceeds the same reference on test.
    direction: AUC less 0.5; None where test has no winner of one kind.
    hit_rate, break_even: of its trades on test at money's threshold, as text or share; None without a trade.
    hits_enough: whether the hit rate exceeds break-even beyond chance. returned: whether its daily return exceeds zero; None
    without a trade.
    """

    train_f1: float
    val_f1: float
    cross_fitted_f1: float
    shifted_f1: float
    epoch_spread: float
    seeds: int
    unconverged: int
    above_reference: Answer
    on_test: Answer
    test_f1: float
    direction: Answer | None
    hit_rate: float | None
    break_even: float | str | None
    hits_enough: bool
    total_return: float
    returned: Answer | None


def check_gates(
    evidence: Evidence,
    reference: str,
    *,
    minimum: float,
    max_train_val_gap: float,
    max_epoch_spread: float,
) -> list[Gate]:
    """Hold one network against every gate.

    Args:
        reference: label of the best reference on validation.
        minimum: cross-fitted validation F1 has to exceed it.
        max_train_val_gap: train F1 less validation F1 has to stay below it.
        max_epoch_spread: validation F1 may spread by so much over the epochs near the best one.
    """
    f1, above, on_test = evidence.cross_fitted_f1, evidence.above_reference, evidence.on_test
    gap, converged = evidence.train_f1 - evidence.val_f1, evidence.seeds - evidence.unconverged
    direction, returned = evidence.direction, evidence.returned
    return [
        Gate("cross-fitted validation F1 above the minimum", f1 > minimum, f1, minimum, decides=True),
        Gate(
            f"cross-fitted validation F1 above {reference}, beyond chance",
            above.is_clear,
            f1,
            f1 - above.difference,
            decides=True,
            p_value=above.p_value,
        ),
        Gate("knows when: validation F1 above that on shifted labels", evidence.val_f1 > evidence.shifted_f1, evidence.val_f1,
             evidence.shifted_f1),
        Gate("converged: seeds that stopped early", not evidence.unconverged, f"{converged} of {evidence.seeds}", "all"),
        Gate(STABLE, evidence.epoch_spread <= max_epoch_spread,
             evidence.epoch_spread, max_epoch_spread),
        Gate("train F1 less validation F1", gap < max_train_val_gap, gap, max_train_val_gap),
        Gate(f"test F1 above {reference}, beyond chance", on_test.is_clear and on_test.difference > 0, evidence.test_f1,
             evidence.test_f1 - on_test.difference, p_value=on_test.p_value),
        Gate("knows where to: direction AUC on test above 0.5, beyond chance",
             direction is not None and direction.is_clear and direction.difference > 0,
             None if direction is None else direction.difference + 0.5, 0.5,
             p_value=None if direction is None else direction.p_value),
        Gate("hit rate on test above break-even, beyond chance", evidence.hits_enough, evidence.hit_rate, evidence.break_even,
             percent=True),
        Gate("return on test after costs above zero, beyond chance", returned is not None and returned.is_clear,
             None if returned is None else evidence.total_return, 0.0, percent=True,
             p_value=None if returned is None else returned.p_value),
    ]  # fmt: skip


NEIGHBOURS = 2  # epochs before and after the best one that `spread_near_best` looks at


def spread_near_best(val_f1: Sequence[float], best_epoch: int) -> float:
    """Return the standard deviation of validation F1 over the best epoch of one seed and its neighbours.

    The best epochs of several seeds are close in F1 even where each is a lucky peak; the epochs beside them are not.

    Args:
        val_f1: of each epoch, the first one first.
        best_epoch: number from 1.
    """
    near = val_f1[max(0, best_epoch - 1 - NEIGHBOURS) : best_epoch + NEIGHBOURS]
    mean = sum(near) / len(near)
    return (sum((f1 - mean) ** 2 for f1 in near) / max(len(near) - 1, 1)) ** 0.5
