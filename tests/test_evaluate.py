"""The stage evaluate: which models it refuses, and what it draws."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import evaluate
from core.errors import CampaignError
from core.files import read_json, write_array, write_json
from core.params import check_section
from core.places import CAMPAIGN
from evaluate import (
    Evaluate,
    check_reported_f1,
    confusion_png,
    predict_network,
    read_half_scores,
    read_reference,
    write_curves,
    write_model,
)
from judge.scores import Curves

LABELS = np.array([1.0, 0, 0, 1])
CONTENT = {"seed": 3, "threshold": 0.5, "val_f1_score_positive_class": 0.5}  # as a model file with F1 1/2 holds

CURE = CAMPAIGN.training_command("gru")


def test_a_model_that_scores_another_f1_than_its_training_reported_is_refused():
    half_right, right = np.array([0.9, 0.9, 0.1, 0.1]), np.array([0.9, 0.1, 0.1, 0.9])
    check_reported_f1(Path("models/gru/seed_3.pt"), CONTENT, LABELS, half_right, CURE)
    with pytest.raises(CampaignError) as refusal:
        check_reported_f1(Path("models/gru/seed_3.pt"), CONTENT, LABELS, right, CURE)
    assert str(refusal.value) == (
        "models/gru/seed_3.pt scores validation F1 1.0000, training reported 0.5000: model and data do not belong together; "
        "run dvc repro --force train_gru"
    )


def test_rounding_of_another_machine_is_tolerated():
    scores = np.array([0.9, 0.9, 0.1, 0.1])
    check_reported_f1(
        Path("models/gru/seed_3.pt"),
        CONTENT | {"val_f1_score_positive_class": 0.5009},
        LABELS,
        scores,
        CURE,
    )
    with pytest.raises(CampaignError, match="training reported 0.5011"):
        check_reported_f1(
            Path("models/gru/seed_3.pt"),
            CONTENT | {"val_f1_score_positive_class": 0.5011},
            LABELS,
            scores,
            CURE,
        )


def test_an_architecture_without_a_trained_seed_is_refused(desk):
    with pytest.raises(CampaignError, match="models/gru holds no trained seed; run dvc repro --force train_gru"):
        predict_network(CAMPAIGN, "gru", LABELS)


def test_seeds_are_predicted_in_order_of_their_numbers(desk, monkeypatch):
    """Ten comes after nine, and each seed has its own threshold and scores."""
    for seed in (10, 9):
        (desk / f"models/gru/seed_{seed}.pt").parent.mkdir(parents=True, exist_ok=True)
        (desk / f"models/gru/seed_{seed}.pt").touch()
        write_array(desk / f"models/gru/seed_{seed}_val_half_logits.npy", np.full((2, 4), seed - 9.5, np.float32))
    write_json(CAMPAIGN.data / "metadata.json", {"lookback": 1})
    for split in ("val", "test"):
        for array, content in {"X": np.zeros((4, 1), np.float32), "y": LABELS, "asset_ids": np.zeros(4, np.int16)}.items():
            write_array(CAMPAIGN.data / f"{split}_{array}.npy", content)

    def load(path: Path) -> tuple[torch.nn.Module, dict]:
        seed = int(path.stem.removeprefix("seed_"))
        return torch.nn.Identity(), {"seed": seed, "threshold": seed / 20, "val_f1_score_positive_class": 2 / 3}

    monkeypatch.setattr(evaluate, "load_model", load)
    monkeypatch.setattr(evaluate, "predict", lambda model, split: np.full(len(split), 30.0))
    found = predict_network(CAMPAIGN, "gru", LABELS)
    assert (found.seeds, found.thresholds) == ([9, 10], [0.45, 0.5])
    assert found.val == pytest.approx(np.ones((2, 4)))
    assert found.test == pytest.approx(np.ones((2, 4)))
    assert found.val_halves.dtype == np.float64
    assert found.val_halves == pytest.approx(np.stack([np.full((2, 4), p) for p in 1 / (1 + np.exp([0.5, -0.5]))]))


def test_scores_for_cross_fitting_of_other_data_are_refused(desk):
    write_array(Path("models/gru/seed_1_val_half_logits.npy"), np.zeros((2, 5), np.float32))
    with pytest.raises(CampaignError) as refusal:
        read_half_scores(Path("models/gru/seed_1.pt"), 4, CURE)
    assert str(refusal.value) == (
        "models/gru/seed_1_val_half_logits.npy is of shape (2, 5), validation has 4 samples: it belongs to other data; "
        "run dvc repro --force train_gru"
    )


def test_costs_are_a_number_or_one_by_symbol():
    for costs in (0, 0.003, {"AAA": 0.001, "BBB": 0}):
        assert check_section("evaluate", {"cost_per_trade": costs, "min_trades": 30}, Evaluate).cost_per_trade == costs


@pytest.mark.parametrize("costs", [2.0, -0.1, True, "0.003", None, {}, {"AAA": 1}, {"AAA": "x"}, [0.1], float("nan")])
def test_other_costs_are_refused(costs):
    with pytest.raises(CampaignError) as refusal:
        check_section("evaluate", {"cost_per_trade": costs, "min_trades": 30}, Evaluate)
    message = str(refusal.value)
    assert message.startswith("params.yaml: evaluate.cost_per_trade is ")
    assert message.endswith("; it must be a number from 0 to below 1, or such a number for each symbol")


def test_the_threshold_of_a_reference_is_the_best_on_validation(desk):
    write_array(Path("models/references/prior_val.npy"), np.array([0.8, 0.4, 0.2, 0.7]))
    write_array(Path("models/references/prior_test.npy"), np.array([0.3, 0.1]))
    found = read_reference(Path("models/references"), "prior", LABELS)
    assert (found.seeds, found.thresholds) == ([None], [pytest.approx((0.7 + 0.4) / 2)])
    assert (found.val.shape, found.test.tolist()) == ((1, 4), [[0.3, 0.1]])
    assert found.val_halves.tolist() == [[found.val[0].tolist()] * 2], "there are no epochs to choose"


def test_the_confusion_matrix_has_true_classes_in_rows_and_predictions_in_columns(monkeypatch):
    monkeypatch.setattr(evaluate, "to_png", lambda figure: figure)
    (panel,) = confusion_png("MLP", SimpleNamespace(tn=60, fp=20, fn=3, tp=7)).axes
    assert panel.get_title(loc="left") == "MLP, test"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("called", "true")
    names = [[label.get_text() for label in axis.get_ticklabels()] for axis in (panel.xaxis, panel.yaxis)]
    assert names == [["no trade", "trade"], ["no profit", "profit"]]
    texts = {text.get_position(): text.get_text() for text in panel.texts}  # by (column, row)
    assert texts == {(0, 0): "60\n75%", (1, 0): "20\n25%", (0, 1): "3\n30%", (1, 1): "7\n70%"}
    (image,) = panel.images
    assert image.get_array().tolist() == [[0.75, 0.25], [0.3, 0.7]]


def test_a_models_row_is_written_and_the_picture_of_its_best_seed(desk, monkeypatch):
    monkeypatch.setattr(evaluate, "confusion_png", lambda label, metrics: f"{label}: {metrics}".encode())
    monkeypatch.setattr(evaluate, "leaderboard_row", lambda judged: {"test_f1_score_positive_class": 0.3, "test_pr_auc": 0.2})
    write_model("net", "Net", SimpleNamespace(seeds=[1, 2], best=1, test=["first", "second"]))
    assert Path("plots/confusion/net.png").read_text() == "Net: second"
    assert read_json(Path("metrics/test/net.json")) == {"test_f1_score_positive_class": 0.3, "test_pr_auc": 0.2}


def test_curves_of_all_models_stand_in_one_file_a_kind(desk):
    point = {"recall": 0.5, "precision": 0.25}
    roc, calibration = {"fpr": 0.0, "tpr": 1.0}, {"predicted": 0.1, "observed": 0.2, "samples": 7}
    curves = Curves(pr=[point, point], roc=[roc], calibration=[calibration], threshold=[{"share_called": 1.0}])
    write_curves({"One": curves, "Other, too": curves})
    assert Path("plots/pr_curves.csv").read_text().splitlines() == [
        "model,recall,precision", "One,0.5,0.25", "One,0.5,0.25", '"Other, too",0.5,0.25', '"Other, too",0.5,0.25',
    ]  # fmt: skip
    assert Path("plots/calibration_curves.csv").read_text().splitlines()[1] == "One,0.1,0.2,7"
    assert {file.name for file in Path("plots").iterdir()} == {
        "pr_curves.csv", "roc_curves.csv", "calibration_curves.csv", "threshold_curves.csv",
    }  # fmt: skip
