"""How many tasks run side by side, where, and what pretends to be another CPU."""

import os

import pytest

from core import machine
from core.errors import CampaignError
from core.machine import cpu_overrides, job_count, on_cluster


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", "²"])
def test_a_wrong_number_of_jobs_is_refused(monkeypatch, jobs):
    monkeypatch.setenv("CAMPAIGN_JOBS", jobs)
    with pytest.raises(CampaignError, match=r"CAMPAIGN_JOBS is .*; it must be a whole number above zero, or unset"):
        job_count(3)


def test_there_are_no_more_jobs_than_tasks(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_JOBS", "8")
    assert job_count(3) == 3
    assert job_count(0) == 1
    monkeypatch.delenv("CAMPAIGN_JOBS")
    assert 1 <= job_count(1000) <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("backend", "expected"), [("", False), ("ray", True)])
def test_a_cluster_is_used_where_it_is_named(monkeypatch, backend, expected):
    monkeypatch.setenv("CAMPAIGN_BACKEND", backend)
    assert on_cluster() == expected


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_BACKEND", "abacus")
    with pytest.raises(CampaignError, match="CAMPAIGN_BACKEND is 'abacus'; it must be ray, or unset for this machine"):
        on_cluster()


def test_environment_variables_that_name_another_cpu_are_listed(monkeypatch):
    for name in machine.CPU_OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    assert cpu_overrides() == ""
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert cpu_overrides() == "OPENBLAS_CORETYPE=Haswell, MKL_CBWR=AVX2"
