"""The checklist before a long run: what it counts, what it refuses, and that it changes nothing."""

import contextlib
import dataclasses
import re
import shutil
import socket
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import simulate_market
from core.files import read_json
from core.machine import CPU_OVERRIDES
from core.params import read_params, read_section
from core.pipeline import read_architectures, read_stages
from learn import device
from learn.architecture import find_architecture
from learn.train_stage import LoopSettings, Train
from scaffold import PROJECT, SMALL, make_frame, mounted, refusal, write_params, write_symbol
from tools import check, consistency, estimate

TINY = SMALL | {"train": SMALL["train"] | {"epochs": 4}}


@pytest.fixture
def ready(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small parameters for the simulated market and the project's dvc.yaml, nothing else on disk."""
    monkeypatch.setattr(check, "prepare_process", lambda: None)
    monkeypatch.setattr(estimate, "TIMED_STEPS", 2)
    for name in ("MLFLOW_TRACKING_URI", *CPU_OVERRIDES):
        monkeypatch.delenv(name, raising=False)
    write_params(desk, **TINY)
    shutil.copy(PROJECT / "dvc.yaml", desk)
    return desk


def make_plan() -> estimate.Plan:
    """The plan of the parameters here, as the checklist makes it."""
    made = []

    def keep(*arguments: object) -> estimate.Plan:
        made.append(plan(*arguments))
        return made[0]

    plan = check.make_plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "make_plan", keep)
        for _ in check.check_campaign(""):
            if made:
                return made[0]
    raise AssertionError("no plan, since there is a problem")


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[tuple[str, str]]]:
    """Level and figure of each line, by what it is about."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        level, what, figure = re.fullmatch(r"(\w+) +(\w+) +(.*)", line).groups()
        found.setdefault(what, []).append((level, figure))
    return found


def test_a_fresh_clone_is_ready_and_stays_as_it_is(ready, capsys, monkeypatch):
    monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
    check.main()
    found = lines(capsys)
    assert list(found) == [
        "parameters", "accelerator", "cores", "bars", "memory", "disk", "tracking",
        "simulate_market", "generate_data", *(f"train_{name}" for name in read_architectures()), "fit_references",
        "evaluate", "compare", "total",
    ]  # fmt: skip
    assert {level for entries in found.values() for level, _ in entries} == {"ok"}
    assert re.match(r"simulated market, not on disk yet: 2 assets, 1,\d\d\d bars, samples \d+ train", found["bars"][0][1])
    assert re.fullmatch(r"([\d.]+ s to )?[\d.]+ s, [\d.]+ s an epoch of all seeds", found["train_lstm"][0][1])
    assert found["tracking"][0][1] == f"sqlite:///{ready}/mlflow.db, which the first training makes"
    assert {entry.name for entry in ready.iterdir()} == {"params.yaml", "dvc.yaml"}


def test_the_total_is_the_sum_of_the_stages(ready, capsys, monkeypatch):
    times = [
        estimate.StageTime("generate_data", 10.0, 10.0),
        estimate.StageTime("train_mlp", 20.0, 200.0, epoch=2.0),
        estimate.StageTime("compare", 30.0, 30.0),
    ]
    monkeypatch.setattr(check, "estimate_times", lambda plan: times)
    check.main()
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "ok       generate_data    10 s",
        "ok       train_mlp        20 s to 3 min, 2 s an epoch of all seeds",
        "ok       compare          30 s",
        "ok       total            60 s to 4 min",
    ]


def test_a_project_that_cannot_be_written_is_a_problem(ready, capsys):
    project = ready / "project"
    with mounted(project, "size=1m"):
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(ready / name, project)
        subprocess.run(["mount", "-o", "remount,ro", project], check=True)
        with contextlib.chdir(project):
            assert refusal(check.main) == "stage: 1 problem would stop the campaign"
    assert lines(capsys)["disk"] == [("problem", f"{project} cannot be written; make it writable")]


def test_its_counts_are_those_of_generate_data(ready, capsys):
    for number, symbol in enumerate(("AAA", "BBB")):
        write_symbol(ready / "bars", symbol, make_frame(900, seed=number, volatility=0.015))
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}})
    check.main()
    (_, figure), *warnings = lines(capsys)["bars"]
    assert [(level, text.partition(":")[0]) for level, text in warnings] == [
        ("warning", "short history"), ("warning", "no asset that ends early"),
    ]  # fmt: skip
    import generate_data

    generate_data.main()
    splits = read_json(Path("metrics/generate_data.json"))["splits"]
    counts = " + ".join(f"{splits[split]['samples']:,} {split}" for split in ("train", "val", "test"))
    assert figure == f"2 assets, 1,800 bars, samples {counts}"


def test_all_problems_are_told_at_once_with_their_cures(ready, capsys):
    write_symbol(ready / "bars", "BAD", make_frame(60))
    (ready / "bars" / "EMPTY").mkdir()
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}, "gru": {"dropout": 2}, "compare": {"draws": "many"}})
    assert "4 problems would stop the campaign" in refusal(check.main)
    found = lines(capsys)
    assert [level for level, _ in found["parameters"]] == ["problem", "problem"]
    assert "compare.draws is 'many'" in found["parameters"][0][1]
    assert "gru.dropout is 2; it must be less than 1" in found["parameters"][1][1]
    assert "60 bars" in found["bars"][0][1]
    assert "not found; put the bars there, or have data.symbols name those that are meant" in found["bars"][1][1]


def test_a_precision_that_a_network_cannot_train_in_is_a_problem_and_an_emulated_one_a_warning(ready, monkeypatch):
    for module in (check, device):
        monkeypatch.setattr(module, "device", lambda: "cpu")
        monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(check, "describe_device", lambda: "CPU")
    cannot = {"lstm", "cnn_lstm"}
    configured = {}
    for name in read_architectures():
        architecture = find_architecture(name)
        section = read_section(name, architecture.settings).model_dump()
        configured[architecture.network] = (name, architecture.network, section | {"n_features": 2, "lookback": 24})
    train = read_section("train", Train)
    monkeypatch.setattr(device, "trains_in_bfloat16", lambda build, *sizes: configured[type(build())][0] not in cannot)

    def checked(precision: str) -> check.ChecklistLine:
        loop = LoopSettings(**train.model_dump(exclude={"seeds"}) | {"precision": precision})
        return check.check_accelerator(*check.resolve_networks((*each, loop) for each in configured.values()))

    line = checked("bfloat16")
    assert line.level == "problem"
    assert re.fullmatch(
        r"train.precision is bfloat16, in which this processor \(\w+ without bfloat16 instructions\) cannot train lstm, cnn_lstm",
        line.text,
    )
    assert line.cure == "set it to auto or float32"
    cannot.clear()
    line = checked("bfloat16")
    assert (line.level, line.text) == ("warning", "CPU, bfloat16")
    line = checked("auto")
    assert (line.level, line.text) == ("ok", "CPU, float32")


def test_a_variable_that_changes_bytes_and_a_section_that_no_stage_reads_are_warnings(ready, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with (ready / "params.yaml").open("a") as file:
        file.write("\ntransformer: {heads: 4}\n")
    check.main()
    found = lines(capsys)
    assert found["environment"][0][0] == found["stages"][0][0] == "warning"
    assert found["environment"][0][1].startswith("OPENBLAS_CORETYPE=Haswell; unset it")
    assert found["stages"][0][1] == (
        "section transformer is read by no stage; remove it, or add the stage that reads it to dvc.yaml"
    )


STAGE = {"cmd": "python src/train_tcn.py", "deps": ["data/training_data"], "params": ["train", "tcn"], "outs": ["models/tcn"]}


@pytest.mark.parametrize(
    ("stages", "sections", "scripts", "texts"),
    [
        ({}, ["tcn"], ["train_tcn"], [
            "section tcn is read by no stage; remove it, or add the stage train_tcn to dvc.yaml",
            "src/train_tcn.py is run by no stage; remove it, or add the stage train_tcn to dvc.yaml",
        ]),
        ({"train_tcn": STAGE}, [], ["train_tcn"], [
            "the stage train_tcn reads tcn, not in params.yaml; add it there, or remove it from the stage's params in dvc.yaml",
        ]),
        ({"train_tcn": STAGE | {"params": ["train"]}}, ["tcn"], ["train_tcn"], [
            "the stage train_tcn does not declare tcn: an edit would not rerun it; add it to the stage's params in dvc.yaml",
        ]),
        ({"clean": {"cmd": "python src/clean.py"}}, [], [], [
            "the stage clean has no script src/clean.py; add it, or remove the stage from dvc.yaml",
        ]),
    ],
)  # fmt: skip
def test_a_part_of_an_architecture_that_is_forgotten_is_named(ready, monkeypatch, stages, sections, scripts, texts):
    source = ready / "src"
    source.mkdir()
    for name in [*read_stages(), *scripts, "campaign"]:
        (source / f"{name}.py").touch()
    monkeypatch.setattr(consistency, "SOURCE", source)
    found = consistency.find_mismatches(read_stages() | stages, {*read_params(), *sections})
    assert [f"{mismatch.what}; {mismatch.cure}" for mismatch in found] == texts


def test_a_stage_whose_script_is_missing_is_a_problem(ready, capsys):
    with (ready / "dvc.yaml").open() as file:
        stages = YAML(typ="safe").load(file)["stages"]
    with (ready / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump({"stages": stages | {"train_tcn": STAGE}}, file)
    assert "2 problems would stop the campaign" in refusal(check.main)
    assert lines(capsys)["stages"] == [
        ("problem", "src/train_tcn.py not found; add it, or remove the stage train_tcn from dvc.yaml"),
        (
            "problem",
            "the stage train_tcn reads tcn, not in params.yaml; add it there, or remove it from the stage's params in dvc.yaml",
        ),
    ]


def test_what_a_removed_architecture_left_is_named(ready):
    for name in ("models/mlp/best_model.pt", "models/tcn/best_model.pt", "metrics/train/mlp.json", "metrics/train/tcn.json"):
        (ready / name).parent.mkdir(parents=True, exist_ok=True)
        (ready / name).touch()
    (ready / "models/.gitignore").touch()
    leftovers = consistency.find_leftovers(read_stages())
    assert leftovers == ["metrics/train/tcn.json", "models/tcn"]
    assert consistency.describe_leftovers(leftovers).cure == "rm -r metrics/train/tcn.json models/tcn"
    (line,) = [line for line in check.check_pipeline(read_stages(), read_params()) if line.level != "ok"]
    assert (line.level, line.cure) == ("warning", "rm -r metrics/train/tcn.json models/tcn")


def test_the_market_is_that_of_the_parameters_whatever_is_on_disk(ready):
    simulate_market.main()
    simulated = make_plan().data.bars
    write_params(ready, **TINY | {"market": {"assets": 2, "bars": 1200}})
    assert make_plan().data.bars > simulated + 500
    write_params(ready, **TINY)
    assert make_plan().data.bars == simulated


def test_days_that_compare_would_refuse_are_a_problem_before(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"splits": [0.78, 0.15, 0.07]}})
    refusal(check.main)
    ((level, figure),) = lines(capsys)["bars"]
    assert level == "problem"
    assert re.match(r"the test split has samples on [123] day\(s\), at least 4 are needed", figure)


def test_a_large_batch_takes_memory(ready):
    """That of a step of the LSTM was 2.9 GB in a process that took 8,000 windows of 24 bars at once."""
    plan = make_plan()
    kept = [estimate.measure_window_bytes(network, plan.data, plan.lookback) for network in plan.networks]
    weights = 4 * estimate.count_parameters(plan.networks[0].build(plan.data.assets))
    assert 0 < kept[0] < weights, "what is kept for each window, and not the weights"
    small = estimate.estimate_memory(plan)[1]
    loop = dataclasses.replace(plan.networks[0].loop, batch_size=1_000_000)
    large_batch = dataclasses.replace(plan, networks=[dataclasses.replace(network, loop=loop) for network in plan.networks])
    which, large = estimate.estimate_memory(large_batch)
    assert which == "train"
    assert large > small + 0.9 * plan.data.samples["train"] * max(kept)


def test_every_section_of_the_project_has_a_schema():
    params = set(YAML(typ="safe").load((PROJECT / "params.yaml").read_text()))
    assert params == {*check.SCHEMAS, *read_architectures()}


def test_every_seed_trains_with_the_settings_of_its_section(ready):
    train = read_section("train", Train)
    plan = make_plan()
    assert plan.seeds == len(train.seeds)
    set_in_train = train.model_dump(exclude={"seeds", "precision"})
    assert all(set_in_train.items() <= vars(network.loop).items() for network in plan.networks)
    assert [network.name for network in plan.networks] == read_architectures()


def test_a_number_of_jobs_that_is_none_is_one_problem(ready, capsys, monkeypatch):
    monkeypatch.setenv("CAMPAIGN_JOBS", "many")
    assert "1 problem would stop the campaign" in refusal(check.main)
    assert lines(capsys)["cores"] == [("problem", "CAMPAIGN_JOBS is 'many'; it must be a whole number above zero, or unset")]


def test_members_of_a_group_are_counted_and_a_number_of_them_that_is_none_is_one_problem(ready, capsys, monkeypatch):
    monkeypatch.setenv("CAMPAIGN_MEMBERS", "8")
    check.main()
    ((status, text),) = lines(capsys)["cores"]
    assert status == "ok"
    assert text.endswith("2 seeds, 2 to a process, which share each step")
    monkeypatch.setenv("CAMPAIGN_MEMBERS", "many")
    assert "1 problem would stop the campaign" in refusal(check.main)
    ((_, text),) = lines(capsys)["cores"]
    assert text == "CAMPAIGN_MEMBERS is 'many'; it must be a whole number from 1 to 999, or unset"


def test_too_little_memory_or_disk_is_a_problem_and_little_is_a_warning(ready, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(check, "free_memory", lambda: 0.1 * estimate.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    assert "2 problems would stop the campaign" in refusal(check.main)
    found = lines(capsys)
    ((level, figure),) = found["memory"]
    assert level == "problem"
    needed = float(re.match(r"\w+ takes most, about ([\d.]+) GiB, 102 MiB free; .+", figure).group(1))
    level, figure = found["disk"][0]
    assert level == "problem"
    assert re.fullmatch(r"about \d+ MiB, 0 MiB free; free some disk space", figure)
    assert check.compare_space("memory", "", 1.0, 1.1, "cure").level == "warning"
    assert 0.5 < needed < 3


def test_a_store_that_is_down_is_a_warning(ready, capsys, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
        line = check.check_store()
    assert line.level == "warning"
    assert "python src/campaign.py backfill writes it later" in line.cure


def test_colours_are_for_terminals_only(monkeypatch):
    assert check.colour("problem") == "problem"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert check.colour("problem") == "\x1b[31mproblem\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert check.colour("problem") == "problem"


def test_what_is_not_of_the_market_is_a_problem_before_dvc_clears_it_away(ready, capsys):
    write_symbol(ready / "data/simulated", "BTC", make_frame(100))
    refusal(check.main)
    ((level, figure),) = lines(capsys)["bars"]
    assert (level, figure.partition(";")[0]) == ("problem", "data/simulated holds BTC, not of this market")


def test_a_market_that_is_not_on_disk_needs_no_room_there(ready, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(ready / "nowhere"))
    assert make_plan().data.bars > 1000


def test_a_column_that_the_market_has_not_is_a_problem(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"features": ["return_1", "mood"]}})
    refusal(check.main)
    assert "no column mood (found: Open, High, Low, Close, Volume)" in lines(capsys)["bars"][0][1]


def test_of_many_bad_symbols_the_first_are_named_and_a_count(ready, capsys):
    write_params(ready, **TINY | {"data": TINY["data"] | {"bars": "bars"}})
    for number in range(30):
        write_symbol(ready / "bars", f"BAD{number:02}", make_frame(5))
    refusal(check.main)
    found = lines(capsys)["bars"]
    assert [figure[:34] for _, figure in found[:2]] == [
        "bars/BAD00/1Hour/data.parquet: 5 b",
        "bars/BAD01/1Hour/data.parquet: 5 b",
    ]
    assert found[5:] == [("problem", "and 25 symbols more; python src/campaign.py bars lists all")]
