"""The checklist before a long run: what it counts, what it refuses, and that it changes nothing."""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

import check_campaign
import evaluate
import simulate_market
import stage
import train_cnn_lstm
import train_lstm
import training
from scaffold import SMALL, make_frame, mounted, refusal, write_params, write_symbol

TINY = SMALL | {"train": SMALL["train"] | {"epochs": 4}}


@pytest.fixture
def ready(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small parameters for the simulated market, nothing on disk."""
    monkeypatch.setattr(check_campaign, "prepare_process", lambda: None)
    monkeypatch.setattr(check_campaign, "STEPS", 2)
    for name in ("MLFLOW_TRACKING_URI", *stage.DISGUISES):
        monkeypatch.delenv(name, raising=False)
    write_params(desk, **TINY)
    return desk


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[tuple[str, str]]]:
    """Level and figure of each line, by what it is about."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        level, what, figure = re.fullmatch(r"(\w+) +(\w+) +(.*)", line).groups()
        found.setdefault(what, []).append((level, figure))
    return found


def test_a_fresh_clone_is_ready_and_stays_as_it_is(ready, capsys, monkeypatch):
    monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
    check_campaign.main()
    found = lines(capsys)
    assert list(found) == [
        "parameters", "accelerator", "cores", "bars", "memory", "disk", "tracking",
        "simulate_market", "generate_data", *(f"train_{name}" for name in evaluate.ARCHITECTURES), "fit_references",
        "evaluate", "compare", "total",
    ]  # fmt: skip
    assert {level for entries in found.values() for level, _ in entries} == {"ok"}
    assert re.match(r"simulated market, not on disk yet: 2 assets, 1,\d\d\d bars, samples \d+ train", found["bars"][0][1])
    assert re.fullmatch(r"([\d.]+ s to )?[\d.]+ s, [\d.]+ s an epoch of all seeds", found["train_lstm"][0][1])
    assert found["tracking"][0][1] == f"sqlite:///{ready}/mlflow.db, which the first training makes"
    assert [entry.name for entry in ready.iterdir()] == ["params.yaml"]


def test_the_total_is_the_sum_of_the_stages(ready, capsys, monkeypatch):
    stages = [
        ("generate_data", 10.0, 10.0, ""),
        ("train_mlp", 20.0, 200.0, ", 2 s an epoch of all seeds"),
        ("compare", 30.0, 30.0, ""),
    ]
    monkeypatch.setattr(check_campaign, "seconds_of_stages", lambda load, sections: stages)
    check_campaign.main()
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "ok       generate_data    10 s",
        "ok       train_mlp        20 s to 3 min, 2 s an epoch of all seeds",
        "ok       compare          30 s",
        "ok       total            60 s to 4 min",
    ]


def test_a_project_that_cannot_be_written_is_a_problem(ready, capsys):
    project = ready / "project"
    with mounted(project, "size=1m"):
        shutil.copy(ready / "params.yaml", project)
        subprocess.run(["mount", "-o", "remount,ro", project], check=True)
        with contextlib.chdir(project):
            assert refusal(check_campaign.main) == "stage: 1 problem would stop the campaign"
    assert lines(capsys)["disk"] == [("problem", f"{project} cannot be written; make it writable")]


def test_its_counts_are_those_of_generate_data(ready, capsys):
    for number, symbol in enumerate(("AAA", "BBB")):
        write_symbol(ready / "bars", symbol, make_frame(900, seed=number, volatility=0.015))
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}})
    check_campaign.main()
    (_, figure), *warnings = lines(capsys)["bars"]
    assert not warnings
    import generate_data
    import stage

    generate_data.main()
    splits = stage.read_json(Path("metrics/generate_data.json"))["splits"]
    counts = " + ".join(f"{splits[split]['samples']:,} {split}" for split in ("train", "val", "test"))
    assert figure == f"2 assets, 1,800 bars, samples {counts}"


def test_all_problems_are_told_at_once_with_their_cures(ready, capsys):
    write_symbol(ready / "bars", "BAD", make_frame(60))
    (ready / "bars" / "EMPTY").mkdir()
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}, "gru": {"dropout": 2}, "compare": {"draws": "many"}})
    assert "4 problems would stop the campaign" in refusal(check_campaign.main)
    found = lines(capsys)
    assert [level for level, _ in found["parameters"]] == ["problem", "problem"]
    assert "gru.dropout is 2; it must be less than 1" in found["parameters"][0][1]
    assert "compare.draws is 'many'" in found["parameters"][1][1]
    assert "60 bars" in found["bars"][0][1]
    assert "not found; put the bars there, or have data.symbols name those that are meant" in found["bars"][1][1]


def test_a_precision_that_a_network_cannot_train_in_is_a_problem_and_an_emulated_one_a_warning(ready, capsys, monkeypatch):
    monkeypatch.setattr(training, "device", lambda: "cpu")
    monkeypatch.setattr(check_campaign, "device", lambda: "cpu")
    monkeypatch.setattr(check_campaign, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(training, "multiplies_bfloat16", lambda: False)
    with_lstm = {train_lstm.LSTMAttention, train_cnn_lstm.CNNLSTM}
    monkeypatch.setattr(training, "trains_in_bfloat16", lambda build, *sizes: type(build()) not in with_lstm)
    sections, _ = check_campaign.settings_found()
    precise = sections | {"train": sections["train"].model_copy(update={"precision": "bfloat16"})}
    found = check_campaign.precision_found("CPU", precise)
    assert found.level == "problem"
    assert re.fullmatch(
        r"train.precision is bfloat16, in which this processor \(\w+ without bfloat16 instructions\) cannot train lstm, cnn_lstm",
        found.figure,
    )
    assert found.cure == "set it to auto or float32"
    with_lstm.clear()
    found = check_campaign.precision_found("CPU", precise)
    assert (found.level, found.figure) == ("warning", "CPU, bfloat16")
    found = check_campaign.precision_found("CPU", sections)
    assert (found.level, found.figure) == ("ok", "CPU, float32")


def test_what_changes_bytes_and_what_nobody_reads_is_warned_of(ready, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with (ready / "params.yaml").open("a") as file:
        file.write("\ntransformer: {heads: 4}\n")
    check_campaign.main()
    found = lines(capsys)
    assert found["environment"][0][0] == found["parameters"][0][0] == "warning"
    assert found["environment"][0][1].startswith("OPENBLAS_CORETYPE=Haswell; unset it")
    assert found["parameters"][0][1].startswith("section transformer is checked by nobody; remove it, or name its schema")


def test_the_market_is_that_of_the_parameters_whatever_is_on_disk(ready):
    def bars() -> int:
        load, _ = check_campaign.bars_found(check_campaign.settings_found()[0])
        return load.bars

    simulate_market.main()
    simulated = bars()
    write_params(ready, **TINY | {"market": {"assets": 2, "bars": 1200}})
    assert bars() > simulated + 500
    write_params(ready, **TINY)
    assert bars() == simulated


def test_days_that_compare_would_refuse_are_a_problem_before(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"splits": [0.78, 0.15, 0.07]}})
    refusal(check_campaign.main)
    ((level, figure),) = lines(capsys)["bars"]
    assert level == "problem"
    assert re.match(r"the test split has samples on [123] day\(s\), at least 4 are needed", figure)


def test_a_large_batch_takes_memory(ready):
    """That of a step of the LSTM was 2.9 GB in a process that took 8,000 windows of 24 bars at once."""
    sections, _ = check_campaign.settings_found()
    load, _ = check_campaign.bars_found(sections)
    kept = [check_campaign.bytes_of_a_window(name, sections, load) for name in evaluate.ARCHITECTURES]
    weights = 4 * check_campaign.size_of(check_campaign.network("mlp", sections, load))
    assert 0 < kept[0] < weights, "what is kept for each window, and not the weights"
    small = check_campaign.memory_needed(load, sections)[1]
    sections["train"] = sections["train"].model_copy(update={"batch_size": 1_000_000})
    which, large = check_campaign.memory_needed(load, sections)
    assert which == "train" and large > small + 0.9 * load.samples["train"] * max(kept)


def test_every_section_and_architecture_is_checked():
    assert set(evaluate.ARCHITECTURES) <= set(check_campaign.SCHEMAS)


def test_a_number_of_jobs_that_is_none_is_one_problem(ready, capsys, monkeypatch):
    monkeypatch.setenv("CAMPAIGN_JOBS", "many")
    assert "1 problem would stop the campaign" in refusal(check_campaign.main)
    assert lines(capsys)["cores"] == [("problem", "CAMPAIGN_JOBS is 'many'; it must be a whole number above zero, or unset")]


def test_too_little_memory_or_disk_is_a_problem_and_little_is_a_warning(ready, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(check_campaign, "memory_free", lambda: 0.1 * check_campaign.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    assert "2 problems would stop the campaign" in refusal(check_campaign.main)
    found = lines(capsys)
    ((level, figure),) = found["memory"]
    assert level == "problem"
    needed = float(re.match(r"\w+ takes most, about ([\d.]+) GiB, 102 MiB free; .+", figure).group(1))
    level, figure = found["disk"][0]
    assert level == "problem"
    assert re.fullmatch(r"about \d+ MiB, 0 MiB free; free some disk space", figure)
    assert check_campaign.enough("memory", "", 1.0, 1.1, "cure").level == "warning"
    assert 0.5 < needed < 3


def test_a_store_that_is_down_is_a_warning(ready, capsys, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
        finding = check_campaign.store()
    assert finding.level == "warning"
    assert "python src/tracking.py backfill writes it later" in finding.cure


def test_colours_are_for_terminals_only(monkeypatch):
    assert check_campaign.coloured("problem") == "problem"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert check_campaign.coloured("problem") == "\x1b[31mproblem\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert check_campaign.coloured("problem") == "problem"


def test_what_is_not_of_the_market_is_a_problem_before_dvc_clears_it_away(ready, capsys):
    write_symbol(ready / "data/simulated", "BTC", make_frame(100))
    refusal(check_campaign.main)
    ((level, figure),) = lines(capsys)["bars"]
    assert (level, figure.partition(";")[0]) == ("problem", "data/simulated holds BTC, not of this market")


def test_a_market_that_is_not_on_disk_needs_no_room_there(ready, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(ready / "nowhere"))
    load, findings = check_campaign.bars_found(check_campaign.settings_found()[0])
    assert load is not None, findings


def test_a_column_that_the_market_has_not_is_a_problem(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"features": ["return_1", "mood"]}})
    refusal(check_campaign.main)
    assert "no column mood (found: Open, High, Low, Close, Volume)" in lines(capsys)["bars"][0][1]


def test_of_many_bad_symbols_the_first_are_named_and_a_count(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}})
    for number in range(30):
        write_symbol(ready / "bars", f"BAD{number:02}", make_frame(5))
    refusal(check_campaign.main)
    found = lines(capsys)["bars"]
    assert [figure[:34] for _, figure in found[:2]] == [
        "bars/BAD00/1Hour/data.parquet: 5 b",
        "bars/BAD01/1Hour/data.parquet: 5 b",
    ]
    assert found[5:] == [("problem", "and 25 symbols more; python src/check_data.py lists all")]
