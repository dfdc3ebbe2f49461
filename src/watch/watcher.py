"""Show a training on the terminal, and tell MLflow's writer of it."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.run import check_unchanged
from learn.training import recorded_settings
from learn.trainings import Training
from learn.worker import Begun, EpochEnded, Message, Note, Trained
from watch.progress import Progress
from watch.tracking import Writer, is_off, start_writer, this_process


@contextlib.contextmanager
def following(trainings: Sequence[Training], tags: Mapping[str, str]) -> Iterator[Writer]:
    """Track trainings that differ by seed alone while they run and, when the block ends well, the files they left.

    The run has their architecture as its `model_type` and their settings as parameters; each seed gets a child run.

    Args:
        tags: of the run and its children; by `fingerprint` an interrupted training finds its run again.
    """
    architecture, seeds = trainings[0].architecture, [training.seed for training in trainings]
    writer = Writer(None if is_off() else start_writer("follow", stderr=subprocess.PIPE))
    writer.send("start", architecture, seeds, recorded_settings(trainings), {**tags, "process": this_process()})
    ending = "FAILED"
    try:
        yield writer
        check_unchanged()
        ending = "FINISHED"
    except KeyboardInterrupt:
        ending = "KILLED"
        raise
    finally:
        writer.send("end", ending)
        writer.close(wait=ending == "FINISHED")


@contextlib.contextmanager
def watching(training: Training, writer: Writer) -> Iterator[Callable[[Message], None]]:
    """Yield a function for the messages of `training`, which updates its progress bar and tells `writer`."""
    with Progress(training.title, training.loop.epochs) as bar:

        def handle(message: Message) -> None:
            match message:
                case Note(text):
                    bar.say(text)
                case Begun(history, best_epoch, best_f1):
                    bar.begin(history, best_epoch, best_f1)
                    best_so_far = 0.0
                    for record in history:  # MLflow may lack some
                        best_so_far = max(best_so_far, record["val_f1"])
                        writer.send("epoch", training.seed, record, best_so_far)
                case EpochEnded(record, best_epoch, best_f1):
                    bar.end_epoch(record, best_epoch, best_f1)
                    writer.send("epoch", training.seed, record, best_f1)
                case Trained(summary=summary):
                    bar.end(summary, training.loop.patience)

        yield handle
