"""Search one architecture, tell of it while it goes on, and write what was found."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core.files import write_json, write_text
from learn.architecture import find_architecture
from report.numbers import fixed
from search.finding import find
from search.page import markdown, page
from search.result import Result
from search.searching import Plan, Searching
from search.settings import Search
from search.trials import BASELINE, FAILED, Trial, best_of, table
from watch import progress, tracking


def search(name: str, settings: Search, count: int, *, study: str | None, out: Path) -> Result:
    """Search architecture `name`, write ``<name>.html``, ``.md``, ``.json`` and ``_trials.csv`` to a directory, and tell MLflow.

    Args:
        count: trials beside the baseline.
        study: to go on with or to begin; None takes the one that belongs to settings, data and code.

    Raises:
        CampaignError: settings, data or storage cannot be used, or trainings fail. What is finished is kept.
        KeyboardInterrupt: likewise kept; the same command goes on.
    """
    plan = Plan.of(find_architecture(name), settings)
    try:
        with progress.clearing_bars(), telling(name, count) as tell, Searching.of(plan, study, tell) as searching:
            trials = searching.run(count)
            progress.say(f"{name}: the best trial and the baseline are trained with fresh seeds")
            result = find(searching, trials)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("finished trials and epochs are kept, the same command goes on after them") from None
    with tracking.update_at_end("update_search", str(out / f"{name}.json")):
        write_text(out / f"{name}_trials.csv", table(trials, settings.seeds))
        write_text(out / f"{name}.md", markdown(result))
        write_text(out / f"{name}.html", page(result))
        write_json(out / f"{name}.json", result.to_json())
    return result


@contextlib.contextmanager
def telling(name: str, count: int) -> Iterator[Callable[[Sequence[Trial]], None]]:
    """Yield what tells of each trial: its score, the best so far, and the time left; on a terminal with a bar for all of them."""
    before: list[int] = []  # number of the first trial of this run
    with progress.Tally(name, count + 1) as bar:

        def tell(trials: Sequence[Trial]) -> None:
            last, best = trials[-1], best_of(trials)
            before[:] = before or [last.number]
            at = "the baseline" if best.number == BASELINE else f"trial {best.number}"
            found = f"best {fixed(best.score, '.4f')} at {at}"
            left = bar.count(last.first + last.size, before[0], found)  # of a batch all are told at once
            number = "baseline" if last.number == BASELINE else f"trial {last.number} of {count}"
            own = f"failed: {last.reason}" if last.state == FAILED else f"{fixed(last.score, '.4f')}, {last.state}"
            minutes = f"{left / 60:.0f} min left" if left >= 60 else f"{left:.0f} s left"
            progress.say(f"{name}: {number}: {own}; {found}; {minutes}")

        yield tell
        bar.has_ended = True
