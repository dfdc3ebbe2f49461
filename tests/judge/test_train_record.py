"""What training recorded."""

import pytest

from judge.train_record import SettingsRecord, TrainRecord, list_settings


def test_a_train_record_tells_every_seed_and_means():
    def seed(number: int, best: int, epochs: int, train: float, val: float, spread: float) -> dict:
        return {
            "seed": number, "stopped_early": number == 1, "best_epoch": best, "epochs": epochs,
            "train_f1_score_positive_class": train, "val_f1_score_positive_class": val, "val_f1_spread_last_10_epochs": spread,
        }  # fmt: skip

    content = {
        "train_f1_score_positive_class": 0.5, "val_f1_score_positive_class_std": 0.14, "precision": "float32",
        "settings": {"seeds": [1, 2], "epochs": 24, "precision": "float32"}, "architecture": {"dropout": 0.1},
        "environment": {"torch": "2.13.0", "processor": "AVX2"},
        "seeds": [seed(1, 3, 18, 0.4, 0.3, 0.02), seed(2, 9, 24, 0.6, 0.5, 0.06)],
    }  # fmt: skip
    history = [
        {"seed": str(number), "epoch": str(epoch), "val_f1": str(number / 10 + epoch / 100)}
        for number in (1, 2)
        for epoch in (1, 2)
    ]
    record = TrainRecord.from_json("mlp", content, history)
    found = record.convergence()
    assert (found["best_epochs"], found["epochs"]) == ([3, 9], [18, 24])
    assert [found[key] for key in ("train_f1", "val_f1", "val_f1_range_last_10_epochs")] == pytest.approx([0.5, 0.4, 0.04])
    assert record.unconverged_seeds == [2]
    assert record.val_f1_by_epoch == [pytest.approx([0.11, 0.12]), pytest.approx([0.21, 0.22])]
    assert record.trained_with == {"precision": "float32", "torch": "2.13.0", "processor": "AVX2"}
    loop = SettingsRecord("train", (("seeds", [1, 2]), ("epochs", 24)))
    assert list_settings([record, TrainRecord.from_json("gru", content | {"architecture": {"layers": 2}}, [])]) == [
        loop, SettingsRecord("mlp", (("dropout", 0.1),)), SettingsRecord("gru", (("layers", 2),))
    ]  # fmt: skip
    own_loop = content | {"settings": content["settings"] | {"epochs": 30}}
    assert list_settings([record, TrainRecord.from_json("gru", own_loop, [])]) == [
        SettingsRecord("train", (("seeds", [1, 2]),)),
        SettingsRecord("mlp", (("dropout", 0.1), ("train.epochs", 24))),
        SettingsRecord("gru", (("dropout", 0.1), ("train.epochs", 30))),
    ]
