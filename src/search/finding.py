"""Work out what a finished search found."""

import warnings
from collections.abc import Sequence

from compare import Compare
from core.files import read_json
from core.params import read_section
from core.places import CAMPAIGN
from search.contest import hold_contest
from search.luck import measure_luck
from search.result import Result, apply_command
from search.searching import Plan, Searching
from search.trials import BASELINE, COMPLETE, FAILED, Trial, best_of, to_optuna

FEWEST_FOR_IMPORTANCE = 10  # complete trials


def find(searching: Searching, trials: Sequence[Trial]) -> Result:
    """Measure what luck is worth, train the best trial and the baseline with fresh seeds, and compare them.

    Raises:
        CampaignError: a training fails; its finished epochs are kept.
    """
    plan, best = searching.plan, best_of(trials)
    scored = [trial for trial in trials if trial.state != FAILED]
    compare = read_section("compare", Compare)
    luck = measure_luck(
        plan.settings.objective,
        searching.vals,
        [searching.logits(trial) for trial in scored],
        scored.index(best),
        draws=compare.draws,
        seed=compare.seed,
    )
    return Result(
        name=plan.architecture.name,
        label=plan.architecture.label,
        study=searching.directory.name,
        simulated=read_json(CAMPAIGN.data / "metadata.json")["simulated"],
        settings=plan.settings,
        trials=trials,
        best=best,
        importances=importances(plan, trials),
        luck=luck,
        contest=None if best.number == BASELINE else hold_contest(plan, best, searching.directory),
        command=apply_command(plan.architecture.name, best.values, plan.baseline_values),
    )


def importances(plan: Plan, trials: Sequence[Trial]) -> dict[str, float]:
    """Return the share of the scores' variance that each setting explains, the largest first; empty of few trials."""
    import optuna

    used = [trial for trial in trials if trial.drawn and trial.state == COMPLETE]
    if len(used) < FEWEST_FOR_IMPORTANCE or len({trial.score for trial in used}) == 1:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials([to_optuna(trial, plan.space) for trial in used])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)))
