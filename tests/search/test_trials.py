"""What is tried next depends on the trials before alone, and a trial survives Optuna's form of it."""

import csv
import io

import hypothesis
import pytest
from hypothesis import strategies as st

from search.space import read_space
from search.trials import COMPLETE, FAILED, PRUNED, Sampler, Trial, best_of, decoded, from_optuna, table, to_optuna, whole_batches

SPACE = read_space("mlp", {"dropout": {"low": 0.0, "high": 0.6}, "layers": {"low": 1, "high": 4}, "sizes": [[8], [16, 8]]})


def trial(number: int, score: float | None, state: str = COMPLETE, first: int | None = None, size: int = 1) -> Trial:
    drawn = {"dropout": number % 7 / 12, "layers": 1 + number % 4, "sizes": "[8]" if number % 2 else "[16, 8]"} if number else {}
    values = decoded(drawn, SPACE) if drawn else {"dropout": 0.9, "layers": 9, "sizes": [1]}
    scores = [] if score is None else [score, score + 0.02][: 1 if state == PRUNED else 2]
    return Trial(number, number if first is None else first, size, values, drawn, scores, state)


DONE = [
    trial(0, 0.3),
    *(trial(n, 0.2 + n % 5 / 50, PRUNED if n % 3 == 0 else COMPLETE) for n in range(1, 24)),
    trial(24, None, FAILED),
]


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_the_same_trials_before_give_the_same_next_ones_within_the_space(kind):
    sampler = Sampler(kind, seed=5, startup=4)
    drawn = sampler.propose(DONE, SPACE, 6)
    assert drawn == sampler.propose(DONE, SPACE, 6)
    assert drawn[:3] == sampler.propose(DONE, SPACE, 3), "the first of a batch do not depend on its size"
    assert drawn != Sampler(kind, seed=6, startup=4).propose(DONE, SPACE, 6)
    for own in drawn:
        assert list(own) == list(SPACE)
        assert all(SPACE[key]._contains(SPACE[key].to_internal_repr(value)) for key, value in own.items())


def test_tpe_follows_the_scores_and_random_does_not():
    near = [trial(0, 0.1)] + [
        Trial(n, n, 1, {}, {"dropout": n / 60, "layers": 1, "sizes": "[8]"}, [-abs(n / 60 - 0.3)], COMPLETE) for n in range(1, 37)
    ]
    far = {}
    for kind in ("tpe", "random"):
        drawn = Sampler(kind, seed=1, startup=10).propose(near, SPACE, 40)
        far[kind] = sum(abs(own["dropout"] - 0.3) for own in drawn) / len(drawn)
    assert far["tpe"] < far["random"]


@hypothesis.given(st.sampled_from([COMPLETE, PRUNED, FAILED]), st.integers(0, 30))
def test_a_trial_survives_optuna_s_form(state, number):
    own = trial(number, None if state == FAILED else 0.25, state)
    assert from_optuna(to_optuna(own, SPACE)) == own


def test_of_a_batch_that_is_not_all_there_nothing_counts():
    stored = [trial(n, 0.2, first=0, size=3) for n in range(3)] + [trial(n, 0.2, first=3, size=3) for n in (3, 5)]
    assert [own.number for own in whole_batches(stored[::-1])] == [0, 1, 2]
    assert whole_batches([]) == []


def test_the_best_is_the_first_complete_one_with_the_highest_score():
    assert best_of([trial(0, 0.3), trial(1, 0.4), trial(2, 0.4), trial(3, 0.9, PRUNED)]).number == 1


def test_the_table_has_a_row_a_trial_and_tells_lists_as_json():
    rows = list(csv.DictReader(io.StringIO(table([trial(0, 0.3), trial(1, 0.4, PRUNED), trial(2, None, FAILED)], [1, 2]))))
    assert [row["state"] for row in rows] == [COMPLETE, PRUNED, FAILED]
    assert (rows[1]["score"], rows[1]["score_seed_1"], rows[1]["score_seed_2"]) == ("0.4", "0.4", "")
    assert rows[2]["score"] == ""
    assert (rows[1]["sizes"], rows[2]["sizes"]) == ("[8]", "[16, 8]")
