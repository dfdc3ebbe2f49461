"""Explain in sentences what the tables of the walk-forward report show and how it was measured."""

from itertools import pairwise

from judge.walk_forward_result import WalkForward
from report.numbers import level_text

FOLDS = (
    "In every fold all models are trained anew on the bars before its test period: train first, then validation, which "
    "chooses epochs, thresholds and calibrations, then test, which only reports. A fold is named by the start of its test "
    "period (UTC); the test period ends before the time in the column test until. Test periods do not overlap, but later "
    "folds train on bars that earlier ones were tested on. Profits: share of samples whose trade wins. Buy and hold buys "
    "every asset once, with equal stakes, and pays one round trip. First on validation: the highest cross-fitted F1. "
    "Worth a search: what the campaign's rule says if it sees this fold alone."
)
ONE_SEED = (
    "It is none wherever networks have one seed: a fold alone cannot tell what another seed would have given. Over folds it can "
    "be told, since every fold is trained anew."
)
ONE_FOLD = "With one fold no spread between folds is known: nothing is asked."
PANELS = (
    "A panel a model, with its mean over folds in the title; grey: the other models; dashed: {guide}. Bars are {level} "
    "intervals from the error within each fold alone."
)
SINGLE_FOLDS = "● mean over folds; small ticks: single folds."
ERROR_WITHIN = "The intervals come from the days and seeds of this one fold alone."
F1_MOVES = (
    "F1 rises with the share of profits, for any model: where always positive changes, the market has changed. How a "
    "model moves beside it says more than how it moves."
)
REGIME = (
    "A change of regime would show here: where a model's direction AUC falls to 0.5, what it learnt no longer holds. "
    "Whether it moves by more than chance is said in the column change shown. The last column says whether the mean over "
    "folds is above or below 0.5 beyond chance; p is corrected for the number of models."
)
WITHIN_FOLD = "±: standard error of days and seeds within the fold."
VALIDATION_SAYS = (
    "{rule}: in every fold, the model that is first in cross-fitted F1 on validation is taken. This is what somebody does "
    "who follows the campaign, so its figures show what to expect; those of the model that turned out to be the best do "
    "not. Ranks count from 1, the highest F1; equal ones share a rank. Kendall's tau compares the order of all models on "
    "validation with that on test: 1 is the same order, 0 is no relation, −1 is the reverse."
)
JOINED = (
    "F1, joined, and the columns after it count the samples of all test periods together, each fold at its own threshold "
    "and calibration. Brier skill: by which share the Brier score is below that of telling every sample the share of "
    "profits on the validation of its fold."
)
VALIDATION_AGAINST_TEST = (
    "A panel a fold, a dot a model. To the right: better on validation; up: better on test. Where validation orders "
    "models as test does, dots rise from left to right. Below the dashed diagonal a model is worse on test than on "
    "validation."
)
EQUITY = (
    "Capital in units of that at the start, over the test periods joined, after costs; means over seeds. At the grey "
    "vertical lines the models are replaced by those of the next fold. {rule}: in each fold the first on "
    "validation.{scale}"
)
LOGARITHMIC = " The axis is logarithmic: equal distances are equal growth."
BREAK_EVEN = (
    "Break-even: the hit rate at which these trades would earn nothing after costs, given what their hits and misses return. "
    '"any": misses, too, return more than they cost; "none": not even hits do; a dash: there is none.'
)
DIFFERENCES_ARE_PAIRED = "Both models of a difference are compared within each fold, so what a fold does to both cancels out."


def count(number: int, what: str) -> str:
    """Write a number of things, in the plural where they are several."""
    return f"{number} {what}{'s' * (number != 1)}"


def explain_chance(confidence: float) -> str:
    """Explain what "beyond chance" means over folds."""
    return (
        "Each fold is one observation. Beyond chance: among all questions of a kind together, even one false finding has "
        f"a probability of {level_text(1 - confidence)} at most, for folds like these. What is not beyond chance may be "
        "there all the same: these folds do not show it."
    )


def explain_over_folds(result: WalkForward) -> str:
    """Explain the columns of the tables over folds."""
    return (
        f"The mean counts every fold once. Its {level_text(result.confidence)} interval contains what differs between "
        "folds: the error is that of the spread between folds, or of the errors within them where these are larger, with "
        f"Student's t and {count(len(result.folds) - 1, 'degree')} of freedom. Few folds make it wide, and it says nothing "
        "of a regime that none of them has seen. Spread between folds: standard deviation of their figures. Typical error "
        "within: root mean square of the standard errors that days and seeds leave within a fold; where nothing changes, "
        "the spread is about as large. Change shown: whether the figure differs between folds by more than these errors "
        "explain (Cochran's Q; p is corrected for the number of models). No is not the same as steady: these folds do not "
        "show a change."
    )


def explain_money(result: WalkForward) -> str:
    """Explain the tables of money over the joined test periods."""
    gap = ""
    if any(one.cuts.test_until != other.cuts.test_from for one, other in pairwise(result.folds)):
        gap = " It is held between the test periods, too, when models do not trade."
    return (
        "Trades are taken at the threshold that earned most on each fold's own validation; where none earned anything "
        "there, the choice is not to trade in that fold. Stakes are shares of the current equity, which is carried from "
        "fold to fold. Figures are after costs, but for the mean trade, gross; those of models are means over seeds. A "
        "day, net: mean over folds of the mean daily return on stakes that stay those of a fold's first day; its interval "
        "is that of one model by itself, and contains what differs between folds. Gain shown: whether this return exceeds "
        "zero beyond chance, one-sided; p is corrected for the number of models that trade. Totals and drawdowns happened "
        "once, in this order of days, and have no interval. The largest drawdown counts closed trades, as a share of the "
        "peak; that of buy and hold counts every bar. Buy and hold buys every asset at the start of the first test "
        f"period, with equal stakes, and pays one round trip.{gap}"
    )
