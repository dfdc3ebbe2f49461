"""Tasks side by side on this machine; tests/slow/test_ray.py has the cluster."""

import threading
from pathlib import Path

import pytest

from core.errors import CampaignError
from core.fan_out import fan_out
from core.task import Task


def read(path: Path, *rest: int) -> tuple[str, int]:
    return path.read_text(), sum(rest)


def test_results_have_the_order_of_the_tasks(tmp_path):
    tasks = []
    for number in range(5):
        (tmp_path / str(number)).write_text(f"content {number}")
        tasks.append(Task(str(number), read, (tmp_path / str(number),), (number, 10)))
    assert fan_out(tasks) == [(f"content {number}", number + 10) for number in range(5)]
    assert fan_out([]) == []


@pytest.mark.parametrize(("jobs", "expected"), [(1, 1), (3, 3)])
def test_as_many_run_at_once_as_are_asked_for(jobs, expected):
    together = threading.Barrier(expected)

    def meet() -> int:
        together.wait(10)
        return threading.get_ident()

    threads = fan_out([Task(str(number), meet) for number in range(3)], jobs=jobs)
    assert (len(set(threads)) > 1) == (jobs > 1)
    assert (threads[0] == threading.get_ident()) == (jobs == 1), "one after the other needs no thread"


def test_the_first_that_fails_is_told():
    def fail(number: int) -> None:
        raise CampaignError(f"task {number}")

    with pytest.raises(CampaignError, match="task 1"):
        fan_out([Task("ends", int), Task("1", fail, (), (1,)), Task("2", fail, (), (2,))])


def test_what_must_run_here_does_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_BACKEND", "ray")
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    assert fan_out([Task("here", int)], here=True) == [0]
    with pytest.raises(CampaignError, match="RAY_ADDRESS is 'nowhere'|not installed"):
        fan_out([Task("there", int)])
