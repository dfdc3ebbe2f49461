"""Hold each architecture against fixed thresholds: some decide whether it is worth a search, the others inform."""

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Gate:
    """What one gate found on one architecture.

    gate: what it asks for. passed: whether it got it.
    value, threshold: a figure, the seeds concerned, or None where it is unknown.
    decides: whether failing sets the architecture aside. percent: whether its figures are written as percentages.
    """

    gate: str
    passed: bool
    value: float | list[int] | None
    threshold: float | list[int] | None
    decides: bool = False
    percent: bool = False


@dataclasses.dataclass(frozen=True)
class Rival:
    """A reference on test: its label, its F1, and whether the architecture beats it beyond chance."""

    label: str
    test_f1: float
    is_beaten: bool


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of one architecture; each F1 is a mean over seeds.

    train_f1, val_f1, test_f1: F1 by split.
    val_floors: what val_f1 has to exceed, by name; `find_floors` makes them.
    val_f1_spread: standard deviation of validation F1 over seeds; None of a single seed.
    unconverged_seeds: those that trained to the last epoch without stopping early.
    test_hit_rate, break_even_hit_rate: shares of its trades on test; None without a trade, or where all or none hit.
    test_return: total on test after costs, share of the capital. is_profitable: whether it is above zero beyond chance.
    """

    train_f1: float
    val_f1: float
    test_f1: float
    val_floors: Mapping[str, float]
    val_f1_spread: float | None
    unconverged_seeds: list[int]
    test_hit_rate: float | None
    break_even_hit_rate: float | None
    test_return: float
    is_profitable: bool


def find_floors(
    minimum: float, shift_test_f1: float, reference_f1: Mapping[str, float], labels: Mapping[str, str]
) -> dict[str, float]:
    """List by name what the validation F1 of an architecture has to exceed to be worth a search.

    Args:
        minimum: as set by the user.
        shift_test_f1: the best F1 that its scores reach on labels of other times.
        reference_f1: validation F1 by reference.
        labels: name for people by reference.
    """
    best = max(reference_f1, key=lambda name: reference_f1[name])
    return {
        "the minimum": minimum,
        "always-positive": reference_f1["always_positive"],
        f"{labels[best]}, the best reference": reference_f1[best],
        "the best F1 of the shift test": shift_test_f1,
    }


def check_gates(evidence: Evidence, rivals: Sequence[Rival], *, max_train_val_gap: float, max_seed_spread: float) -> list[Gate]:
    """Hold one architecture against every gate.

    Args:
        rivals: the references, which it should beat.
        max_train_val_gap: train F1 less validation F1 has to stay below it.
        max_seed_spread: the most that validation F1 may spread over seeds.
    """
    val_f1, spread = evidence.val_f1, evidence.val_f1_spread
    hit_rate, break_even = evidence.test_hit_rate, evidence.break_even_hit_rate
    gap = evidence.train_f1 - val_f1
    stable = spread is not None and spread <= max_seed_spread  # one seed says nothing of others
    pays = hit_rate is not None and break_even is not None and hit_rate > break_even
    return [
        *(
            Gate(f"validation F1 above {name}", val_f1 > floor, val_f1, floor, decides=True)
            for name, floor in evidence.val_floors.items()
        ),
        Gate(
            "converged: seeds that did not stop early",
            not evidence.unconverged_seeds,
            evidence.unconverged_seeds,
            [],
        ),
        Gate("stable: spread of validation F1 over seeds", stable, spread, max_seed_spread),
        Gate("train-validation F1 gap", gap < max_train_val_gap, gap, max_train_val_gap),
        Gate("test hit rate above break-even", pays, hit_rate, break_even, percent=True),
        Gate(
            "test return after costs above zero, beyond chance",
            evidence.is_profitable,
            evidence.test_return,
            0.0,
            percent=True,
        ),
        *(
            Gate(f"beats {rival.label} on test, beyond chance", rival.is_beaten, evidence.test_f1, rival.test_f1)
            for rival in rivals
        ),
    ]
