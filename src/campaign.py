"""The door for a person: every command that is no stage of the pipeline. ``--help`` lists them.

To add a command, write a function under `command`: its name is the command's, with ``-`` for ``_`` (`import_`: `import`, since
Python has that word), its docstring the help. Import what it needs inside it, since commands need different packages, and some of
these take seconds.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import argparse
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.run import run

Command = Callable[[argparse.Namespace], None]
Argument = tuple[str, dict[str, Any]]  # as `ArgumentParser.add_argument` takes it

COMMANDS: dict[Command, tuple[Argument, ...]] = {}  # in the order in which --help lists them


def command_name(function: Command) -> str:
    return function.__name__.removesuffix("_").replace("_", "-")


def command(*arguments: Argument) -> Callable[[Command], Command]:
    """Register the function below as a command that takes `arguments`."""

    def register(function: Command) -> Command:
        COMMANDS[function] = arguments
        return function

    return register


@command()
def check(arguments: argparse.Namespace) -> None:
    """Tell whether a run can start, and how long it takes."""
    from tools import check

    check.main()


@command(
    ("root", {"nargs": "?", "type": Path, "help": "directory of bars; left out: data.bars and data.symbols"}),
    ("--json", {"action": "store_true", "help": "print JSON, for scripts"}),
)
def bars(arguments: argparse.Namespace) -> None:
    """List the bars under a directory, and what is wrong with them."""
    from tools import doctor

    doctor.main(arguments.root, as_json=arguments.json)


@command(
    ("files", {"nargs": "+", "type": Path, "metavar": "FILE", "help": "CSV, parquet, feather or JSON; also compressed"}),
    ("--symbol", {"help": "name of the asset; left out: as the file or its name says"}),
    ("--timezone", {"metavar": "ZONE", "help": "zone of local times, such as America/New_York or UTC"}),
    (
        "--to",
        {
            "type": Path,
            "default": Path("data/historical"),
            "metavar": "ROOT",
            "help": "directory of the symbols; left out: %(default)s",
        },
    ),
    ("--resample", {"action": "store_true", "help": "make bars of an hour, UTC, of finer ones"}),
    ("--splits", {"metavar": "FILE|detect", "help": "adjust prices by a file of splits, or by those found in the prices"}),
    ("--keep", {"choices": ["old", "new"], "help": "of rows that contradict each other; left out: they are refused"}),
    ("--drop-last", {"action": "store_true", "help": "leave out the last bar of each symbol, as unfinished"}),
    ("--unit", {"choices": ["s", "ms", "us", "ns"], "help": "of times that count from 1970"}),
    ("--date-format", {"metavar": "FORMAT", "help": "of times in text, as '%%d/%%m/%%Y %%H:%%M'"}),
    ("--times", {"choices": ["open", "close"], "help": "whether times are those at which bars open or close"}),
    ("--repeated-hour", {"choices": ["first", "second"], "help": "which hour is meant when clocks are set back"}),
    ("--columns", {"help": "time=Date,volume=Vol or, in their order, time,open,high,low,close,volume (- for others)"}),
    ("--extra", {"default": "", "metavar": "NAMES", "help": "further columns to import, separated by commas"}),
    ("--no-volume", {"action": "store_true", "help": "write a volume of zero where there is none"}),
    (
        "--decimal",
        {
            "choices": [".", ","],
            "metavar": "SIGN",
            "help": ". or , where numbers have commas; the other one separates thousands",
        },
    ),
    ("--price-divisor", {"type": float, "metavar": "N", "help": "divide prices by N, as 10000 where they count 1/10,000 dollar"}),
    ("--encoding", {"default": "utf-8", "help": "of text; left out: %(default)s"}),
)
def import_(arguments: argparse.Namespace) -> None:
    """Bring bars from files of other tools into the layout that data.bars needs."""
    from tools import importing
    from tools.import_columns import parse_columns
    from tools.import_rows import Choices

    choices = Choices(
        symbol=arguments.symbol,
        timezone=arguments.timezone,
        unit=arguments.unit,
        columns=parse_columns(arguments.columns) if arguments.columns else (),
        date_format=arguments.date_format,
        times=arguments.times,
        repeated_hour=arguments.repeated_hour,
        decimal=arguments.decimal,
        divisor=arguments.price_divisor,
        encoding=arguments.encoding,
        extra=tuple(filter(None, arguments.extra.split(","))),
        no_volume=arguments.no_volume,
    )
    importing.main(
        arguments.files,
        choices,
        root=arguments.to,
        resample=arguments.resample,
        splits=arguments.splits,
        keep=arguments.keep,
        drop_last=arguments.drop_last,
    )


@command()
def leaks(arguments: argparse.Namespace) -> None:
    """Look for leaks in the data, and run two trainings whose outcome is known."""
    from tools import leaks

    leaks.main()


@command()
def walk_forward(arguments: argparse.Namespace) -> None:
    """Train and judge every architecture on several test periods, one after the other."""
    from tools import walk_forward

    walk_forward.main()


@command(("--committed", {"action": "store_true", "help": "run nothing: compare the results here with the committed ones"}))
def verify(arguments: argparse.Namespace) -> None:
    """Run the committed campaign again in a temporary clone, and compare every byte."""
    from tools import verify

    if arguments.committed:
        verify.report_differences()
    else:
        verify.verify()


@command()
def leaderboard(arguments: argparse.Namespace) -> None:
    """List the last campaign's models, best first."""
    from tools import leaderboard

    leaderboard.show_models()


@command()
def experiments(arguments: argparse.Namespace) -> None:
    """List HEAD's experiments: what each one changed, and its F1."""
    from tools import leaderboard

    leaderboard.show_experiments()


@command(
    ("architecture", {"nargs": "?", "metavar": "ARCHITECTURE", "help": "such as mlp; left out: those that params.yaml says"}),
    ("--trials", {"type": int, "metavar": "N", "help": "beside the baseline; left out: search.trials"}),
    ("--apply", {"action": "store_true", "help": "write the best settings into params.yaml"}),
    ("--study", {"metavar": "NAME", "help": "to go on with, or to begin; left out: that of the present settings, data and code"}),
)
def search(arguments: argparse.Namespace) -> None:
    """Search the settings of an architecture, and say what the best of so many trials is worth."""
    from tools import search

    search.main(arguments.architecture, trials=arguments.trials, study=arguments.study, apply=arguments.apply)


@command(
    ("root", {"nargs": "?", "type": Path, "help": "directory of bars; left out: data.bars"}),
    (
        "--model",
        {"default": "first", "help": "an architecture, first (of the comparison's order), or a seed's file; left out: first"},
    ),
    ("--symbols", {"metavar": "NAMES", "help": "separated by commas; left out: all under the directory"}),
    ("--since", {"metavar": "TIME", "help": "first bar to score, UTC; left out: the newest bar alone"}),
    ("--to", {"default": "-", "metavar": "FILE", "help": ".csv, .jsonl or .parquet; left out: CSV to standard output"}),
    ("--append", {"type": Path, "metavar": "FILE", "help": "add to a file what it lacks, from its newest bars on"}),
    ("--review", {"type": Path, "metavar": "FILE", "help": "score nothing: say what came of the predictions in a file"}),
)
def predict(arguments: argparse.Namespace) -> None:
    """Score new bars with a trained model and say what it calls, or what came of earlier calls."""
    if arguments.review is not None:
        from core.errors import CampaignError
        from tools import review

        given = [name for name in ("symbols", "since", "append") if getattr(arguments, name) is not None]
        given += [name for name, default in (("model", "first"), ("to", "-")) if getattr(arguments, name) != default]
        if given:
            raise CampaignError(f"--review and --{given[0]} cannot be given together; --review scores nothing")
        review.main(arguments.review, arguments.root)
        return
    from tools import predict

    predict.main(
        arguments.root,
        model=arguments.model,
        symbols=arguments.symbols,
        since=arguments.since,
        to=arguments.to,
        append_to=arguments.append,
    )


@command()
def ledger(arguments: argparse.Namespace) -> None:
    """List the looks at the test set, and say what the best of so many is worth by luck."""
    from tools import ledger

    ledger.main()


@command()
def backfill(arguments: argparse.Namespace) -> None:
    """Write to MLflow what it lacks of the models, metrics and plots that are here."""
    from watch import mlflow_writer

    mlflow_writer.backfill()


@command()
def ui(arguments: argparse.Namespace) -> None:
    """Start MLflow's pages, and print their address."""
    from watch import mlflow_writer

    mlflow_writer.open_ui()


def list_commands(width: int) -> str:
    """Lay out the commands beside what they do, in `width` columns."""
    names = [command_name(function) for function in COMMANDS]
    left = max(map(len, names)) + 2
    texts = (textwrap.wrap(str(function.__doc__), width - left) for function in COMMANDS)
    return "\n".join(name.ljust(left) + f"\n{' ' * left}".join(text) for name, text in zip(names, texts, strict=True))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command and its arguments; `start` of the result is its function. Exits with code 2 on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="campaign.py",
        usage="campaign.py [-h] COMMAND ...",
        description="Check a campaign, look at its results, and verify them.",
        epilog="campaign.py COMMAND --help describes a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listed = list_commands(shutil.get_terminal_size().columns - 4)
    commands = parser.add_subparsers(
        required=True, prog="campaign.py", metavar="COMMAND", title="commands", description=listed, help=argparse.SUPPRESS
    )
    for function, options in COMMANDS.items():
        added = commands.add_parser(command_name(function), description=function.__doc__)
        added.set_defaults(start=function)
        for flag, option in options:
            added.add_argument(flag, **option)
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse(sys.argv[1:])
    run(lambda: arguments.start(arguments), name=f"campaign {command_name(arguments.start)}")


if __name__ == "__main__":
    run(main, name="campaign")
