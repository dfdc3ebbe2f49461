"""README, CONTRIBUTING and docs against the code and the committed campaign; longer sequences are in tests/slow."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import dvc.exceptions
import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

import campaign
import simulate_market
from bars.reading import read_bars
from learn.architecture import find_architecture
from readme import PAGES, anchors, block, commands, file_blocks, prose, shown
from scaffold import PROJECT, make_frame, read_params, write_params

SOURCE = PROJECT / "src"
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
NETWORKS = [stage.removeprefix("train_") for stage in STAGES if stage.startswith("train_")]
METRICS = {name: json.loads((PROJECT / f"metrics/test/{name}.json").read_text()) for name in NETWORKS}
of_the_default_campaign = pytest.mark.skipif(
    shown("make experiments")[0].split()[2:] != NETWORKS, reason="the pages show the campaign of other architectures"
)
PASTE = "the committed campaign has other figures: paste them into the page"


def said_by(*arguments: str) -> list[str]:
    """Run `python src/campaign.py` in the working directory, and return the lines that it prints into a wide terminal."""
    command = [sys.executable, SOURCE / "campaign.py", *arguments]
    environment = os.environ | {"COLUMNS": "120"}  # GNU readline, which pytest loads, leaves 80 to child processes
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.splitlines()


def outs_of(stage: dict) -> list[str]:
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


# --- figures --------------------------------------------------------------------------------------------------------


@of_the_default_campaign
def test_the_leaderboard_is_what_the_command_prints(monkeypatch):
    """As after a campaign: without models the command knows no labels, and lists networks by their names."""
    monkeypatch.chdir(PROJECT)
    said = "\n".join(said_by("leaderboard"))
    for name in NETWORKS:
        said = said.replace(f"\n{name.ljust(20)}", f"\n{find_architecture(name).label.ljust(20)}")
    assert shown("make leaderboard") == said.splitlines(), PASTE


@of_the_default_campaign
def test_the_experiments_are_of_the_committed_campaign():
    lines = shown("make experiments")
    assert max(map(len, lines)) <= 80
    heads = lines[0].split()[2:]
    (val,) = [number for number, line in enumerate(lines) if "HEAD" in line]
    keys = ("val_f1_cross_fitted", "test_f1_score_positive_class")
    for line, key in zip(lines[val : val + 2], keys, strict=True):
        assert line.split()[-len(heads) :] == [f"{METRICS[name][key]:.3f}" for name in heads], PASTE


def test_the_difference_of_metrics_is_from_the_committed_ones():
    (command,) = re.findall(r"\$ (dvc metrics diff --targets .*)", PAGES["README.md"])
    _, *lines = shown(command)
    assert lines
    for path, key, head, workspace, change in map(str.split, lines):
        committed = json.loads((PROJECT / path).read_text())[key]
        assert float(head) == pytest.approx(committed, abs=1e-5), PASTE
        assert float(change) == pytest.approx(float(workspace) - float(head), abs=2e-5)


@of_the_default_campaign
def test_the_table_from_mlflow_has_the_committed_scores():
    keys = ("val_f1_score_positive_class", "val_pr_auc", "test_f1_score_positive_class")
    table = {line.split()[1]: line.split() for line in block("mlflow.search_runs").splitlines() if re.match(r"\d+ ", line)}
    for name in NETWORKS:
        assert {f"{METRICS[name][key]:.6f}" for key in keys} <= set(table[name]), PASTE


@of_the_default_campaign
def test_the_picture_shows_the_committed_choice():
    """A picture cannot be compared; its text alternative can."""
    (alternative,) = re.findall(r"!\[The report's verdict: (.*?)\]\(docs/report.png\)", PAGES["README.md"])
    report = (PROJECT / "reports/comparison.md").read_text()
    assert f"**{alternative}**" in report, "take docs/report.png again from reports/comparison.html"
    assert (PROJECT / "docs/report.png").stat().st_size < 150_000


def test_the_simulated_bars_are_listed_as_shown(desk):
    write_params(desk)
    simulate_market.main()
    assert shown("python src/campaign.py bars data/simulated") == said_by("bars", "data/simulated")


@of_the_default_campaign
def test_verify_compares_as_many_outs_as_shown():
    assert f"all {sum(len(outs_of(stage)) for stage in STAGES.values())} outs are identical" in shown("make verify")[-1]


@of_the_default_campaign
def test_check_is_shown_with_every_stage_in_order():
    heads = [line.split()[1] for line in shown("make check")]
    assert heads[-len(STAGES) - 1 :] == [*STAGES, "total"]
    sections = f"{len(read_params())} sections of params.yaml"
    assert sections in shown("make check")[0]


def test_the_leak_audit_is_shown_in_its_own_words():
    source = (SOURCE / "tools/leaks.py").read_text()
    for line in shown("python src/campaign.py leaks"):
        name = line.removeprefix("ok").partition(":")[0]
        assert set(re.split(r"\W+|\b(?:train|val|test)\b", name)) - {"", None} <= set(re.findall(r"\w+", source)), line


# --- what users type ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bars_come_from_a_csv_by_the_block_as_printed(desk):
    """A CSV with other names, in no order of time; then they are looked at."""
    frame = make_frame(900, seed=1, volatility=0.015).reset_index().rename(columns={"timestamp": "date", "Volume": "vol"})
    frame["date"] = frame["date"].dt.strftime("%Y-%m-%d %H:%M")
    frame.rename(columns=str.lower).sample(frac=1, random_state=0).to_csv("acme.csv", index=False)
    code = block("read_csv")
    subprocess.run([sys.executable, "-c", code], check=True)
    said = said_by("bars", "data/historical")
    assert re.match(r"ACME +2024-01-01 00:00  2024-02-07 11:00 +900 ", said[1])


def test_local_times_come_from_a_csv_by_the_block_as_printed(desk):
    """Over a year, with both changes of the clocks."""
    frame = make_frame(24 * 400, start="2023-02-01", volatility=0.015).rename_axis("date")
    local = frame.set_axis(frame.index.tz_convert("America/New_York").strftime("%Y-%m-%d %H:%M").rename("date"))
    local.rename(columns={"Volume": "vol"}).rename(columns=str.lower).to_csv("acme.csv")
    (line,) = [line for line in block("read_csv").splitlines() if "to_datetime" in line]
    code = block("read_csv").replace(f"{line}\n", block("ambiguous="))
    subprocess.run([sys.executable, "-c", code], check=True)
    bars = read_bars(Path("data/historical/ACME/1Hour/data.parquet"))
    assert (bars.timestamps == frame.index.tz_convert(None).to_numpy()).all()
    np.testing.assert_allclose(bars.close, frame["Close"], rtol=1e-12)


@pytest.mark.slow
def test_bars_are_imported_by_the_commands_as_printed(desk):
    frame = make_frame(900, seed=1, volatility=0.015)
    local = frame.tz_convert("America/New_York").reset_index().rename(columns={"timestamp": "date", "Volume": "vol"})
    local["date"] = local["date"].dt.strftime("%Y-%m-%d %H:%M")
    local.rename(columns=str.lower).to_csv("acme.csv", index=False)
    assert said_by(*shlex.split("import acme.csv --symbol ACME --timezone America/New_York")) == shown(
        "python src/campaign.py import acme.csv --symbol ACME --timezone America/New_York"
    )
    write_files_to_import(frame)
    script = commands("aapl.zip", **{"python src/campaign.py": f"{shlex.quote(sys.executable)} {SOURCE / 'campaign.py'}"})
    subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.DEVNULL)
    assert sorted(path.name for path in Path("data/historical").iterdir()) == ["AAPL", "ACME", "BTCUSDT", "ETHUSDT"]
    for path in Path("data/historical").glob("*/1Hour/data.parquet"):
        imported = pd.read_parquet(path)
        assert imported.index.equals(frame.index.as_unit("ms")), path
        np.testing.assert_allclose(imported["Close"], frame["Close"], atol=0.00501)


def write_files_to_import(frame: pd.DataFrame) -> None:
    """Write the bars as Binance, in quarters of an hour, and as QuantConnect does, there before a split of 4 for 1."""
    seconds = (frame.index - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s")
    rounded = frame.round(2).reset_index(drop=True)
    for month, rows in (("01", slice(0, 744)), ("02", slice(744, None))):
        with zipfile.ZipFile(f"BTCUSDT-1h-2024-{month}.zip", "w") as archive:
            rows_of_month = rounded[rows].assign(close_time=1, quote=1, count=1, taker=1, taker_quote=1, ignore=0)
            rows_of_month.insert(0, "open_time", seconds[rows] * 1000)
            archive.writestr(f"BTCUSDT-1h-2024-{month}.csv", rows_of_month.to_csv(header=False, index=False))
    quarters = frame.loc[frame.index.repeat(4)]
    quarters.index += np.tile(pd.to_timedelta([0, 15, 30, 45], unit="min"), len(frame))
    quarters.tz_localize(None).to_csv("minutes.csv")
    raw = rounded.copy()
    raw.iloc[:500, :4] *= 4
    prices = (raw.iloc[:, :4] * 10_000).round().astype(int).assign(volume=rounded["Volume"].round())
    prices.insert(0, "time", frame.index.tz_convert("America/New_York").strftime("%Y%m%d %H:%M"))
    with zipfile.ZipFile("aapl.zip", "w") as archive:
        archive.writestr("aapl.csv", prices.to_csv(header=False, index=False))


def test_the_cpu_build_is_of_the_version_that_is_required():
    (command,) = re.findall(r"^\.venv/bin/pip install (.*)$", block("download.pytorch.org"), re.MULTILINE)
    required = (PROJECT / "requirements.txt").read_text().splitlines()
    assert shlex.split(command) == [
        next(line for line in required if line.startswith("torch==")),
        "--index-url",
        "https://download.pytorch.org/whl/cpu",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_shell_would_expand_is_quoted(page):
    """zsh refuses an unquoted `train.seeds=[1]` ("no matches found"), bash takes it for a file `train.seeds=1`."""
    sets = re.findall(r"-S ('[^']*'|[^\s`]+)", PAGES[page])
    assert not [value for value in sets if re.search(r"[\[\]{}*?]", value) and not value.startswith("'")]


def test_the_variables_of_the_environment_are_those_that_the_code_reads():
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGES["docs/running.md"], re.MULTILINE))
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert set(re.findall(r"\bCAMPAIGN_[A-Z_]+\b", code)) <= listed
    assert all(name in code for name in listed)


# --- names and links ------------------------------------------------------------------------------------------------


def test_readme_is_short_and_leads_to_every_page():
    assert len(PAGES["README.md"].splitlines()) <= 200
    linked = {
        (PROJECT / page).parent.joinpath(link).resolve().relative_to(PROJECT).as_posix()
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[page])
    }
    assert set(PAGES) - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_links_and_their_anchors_resolve(page):
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", PAGES[page]):
        file = (PROJECT / page).parent / path if path else PROJECT / page
        assert file.exists(), path
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_targets_commands_and_files_that_a_page_names_exist(page):
    text = PAGES[page]
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^|\$ |&& )make ([a-z-]+)", text, re.MULTILINE)) <= set(targets)
    known = {campaign.command_name(command) for command in campaign.COMMANDS}
    assert set(re.findall(r"python src/campaign\.py ([\w-]+)", text)) <= known
    added = {"src/train_tcn.py"} if page == "docs/architectures.md" else set()
    files = set(re.findall(r"\b((?:src|tests|benchmarks|docs)/[\w./-]*\w/?)(?![\w*<…-])", text)) - added
    assert not [name for name in files if not (PROJECT / name).exists()]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_modules_and_functions_that_a_page_names_exist(page):
    folders = "|".join(folder.name for folder in SOURCE.iterdir() if folder.is_dir())
    for name in re.findall(rf"`((?:{folders})\.\w+(?:\.\w+)?)`", prose(PAGES[page])):
        folder, module, *defined = name.split(".")
        if module in read_params().get(folder, {}):
            continue  # a setting
        file = SOURCE / folder / f"{module}.py"
        assert file.is_file(), name
        assert set(defined) <= {node.name for node in ast.parse(file.read_text()).body if hasattr(node, "name")}, name


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_map_of_the_code_has_a_line_a_folder(page):
    folders = {f"src/{folder.name}/" for folder in SOURCE.iterdir() if any(folder.glob("*.py"))}
    assert set(re.findall(r"^(src/\w+/)", PAGES[page], re.MULTILINE)) == folders


def test_the_stages_are_listed_with_their_sections():
    rows = dict(re.findall(r"^\| `(\w+\*?)` \| `(\w+):`", PAGES["README.md"], re.MULTILINE))
    expected = {name: stage["params"][0] for name, stage in STAGES.items() if not name.startswith("train_")}
    assert rows == expected | {"train_*": "train"}


@of_the_default_campaign
def test_what_an_edit_reruns_follows_from_the_deps():
    rows = re.findall(r"^\| (`src/.*?) \| (.*?) \|$", PAGES["docs/architecture.md"], re.MULTILINE)
    assert len(rows) == 7
    for edits, text in rows:
        named = re.findall(r"`(\w+)`", text)
        expected = [*STAGES] if text == "all" else [name for name in STAGES if (name in named) != text.startswith("all but")]
        for edit in re.findall(r"`(.*?)`", edits):
            assert reruns(edit) == ([] if text == "nothing" else expected), edit


def reruns(edit: str) -> list[str]:
    """Stages that depend on the path `edit`, directly or through what others leave."""
    changed = [edit]
    found = []
    for name, stage in STAGES.items():
        if any(dep == path or Path(path).is_relative_to(dep) for dep in stage["deps"] for path in changed):
            found.append(name)
            changed += outs_of(stage) + (["${data.bars}"] if name == "simulate_market" else [])
    return found


def test_messages_that_troubleshooting_quotes_are_those_of_the_code_or_dvc():
    code = "".join(path.read_text() for path in [*SOURCE.rglob("*.py"), Path(dvc.exceptions.__file__)])
    quoted = re.findall(r'^- \*\*"(.*?)"', PAGES["docs/troubleshooting.md"], re.MULTILINE)
    assert len(quoted) >= 9
    for message in quoted:
        for part in message.removeprefix("this stage ").removesuffix(".py").split("…"):
            assert part.strip() in code, message


# --- a fifth architecture -------------------------------------------------------------------------------------------


@pytest.fixture
def tcn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The module in docs/architectures.md."""
    import importlib

    file = tmp_path / "train_tcn.py"
    file.write_text(file_blocks("docs/architectures.md")["src/train_tcn.py"])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("train_tcn")
    sys.modules.pop("train_tcn")


def test_the_fifth_architecture_is_found_and_learns(tcn):
    architecture = find_architecture("tcn")
    (section,) = YAML(typ="safe").load(file_blocks("docs/architectures.md")["params.yaml"]).values()
    settings = architecture.settings.model_validate(section)
    torch.manual_seed(0)
    model = architecture.network(**settings.model_dump(), n_features=5, n_assets=3, lookback=24)
    x, ids = torch.randn(8, 24, 5), torch.randint(0, 3, (8,))
    logits = model(x, ids)
    assert logits.shape == (8,)
    logits.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_fifth_architecture_sees_no_later_row_and_the_rows_it_says(tcn):
    model = tcn.TCN(
        channels=6, blocks=3, kernel_size=3, dropout=0.0, asset_embedding=2, n_features=4, n_assets=1, lookback=40
    ).eval()  # fmt: skip
    inner = torch.randn(1, 40, 6, requires_grad=True)
    model.blocks(inner)[0, 35].sum().backward()
    seen = inner.grad[0].abs().sum(1).nonzero().flatten().tolist()
    assert max(seen) == 35
    assert min(seen) >= 35 - 28, "29 rows, as params.yaml says"
    assert "sees 29 bars" in file_blocks("docs/architectures.md")["params.yaml"]


def test_the_fifth_stage_is_that_of_an_architecture_that_is_there():
    text = file_blocks("docs/architectures.md")["dvc.yaml"]
    added = YAML(typ="safe").load(text)
    assert added == {"train_tcn": json.loads(json.dumps(STAGES["train_cnn_lstm"]).replace("cnn_lstm", "tcn"))}
    assert all(line.startswith("  ") for line in text.splitlines()), "it is pasted below another stage as it is"


def test_the_fifth_architecture_keeps_to_the_projects_style():
    code = file_blocks("docs/architectures.md")["src/train_tcn.py"]
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--stdin-filename", "src/train_tcn.py", "-"]
        done = subprocess.run(command, input=code, cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
