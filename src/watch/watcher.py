"""Show a training on the terminal, and tell MLflow's writer of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from learn.training import recorded_settings
from learn.trainings import Training
from learn.worker import Begun, EpochEnded, Message, Note, Trained
from watch.progress import Progress
from watch.tracking import Writer, follow_training


def following(trainings: Sequence[Training], tags: Mapping[str, str]) -> AbstractContextManager[Writer]:
    """Track trainings that differ by seed alone, as `follow_training` does; their settings are the run's parameters."""
    seeds = [training.seed for training in trainings]
    return follow_training(trainings[0].architecture, seeds, recorded_settings(trainings), tags)


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
