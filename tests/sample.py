"""A campaign's result as compare hands it to the reports: figures made up and always the same, words compare's own."""

import itertools
from typing import Any

import numpy as np

import compare
from core.names import NAMES, NETWORKS, NO_CURVE

STRENGTH = {"mlp": 0.291, "lstm": 0.318, "gru": 0.325, "cnn_lstm": 0.303, "logistic_regression": 0.272,
            "gradient_boosting": 0.334, "one_column": 0.26, "prior": 0.231, "always_positive": 0.222}  # fmt: skip


def scores(f1: float, seeds: int, rng: np.random.Generator) -> dict[str, Any]:
    by_seed = (f1 + 0.008 * rng.standard_normal(seeds)).tolist()
    precision, recall = f1 * 0.74, min(1.0, f1 * 1.75)
    tp = round(311 * recall)
    fp = round(tp / precision - tp)
    keys = ("pr_auc", "roc_auc", "f1_at_0.5", "precision_at_0.5", "recall_at_0.5", "brier_score", "log_loss", "ensemble_f1")
    values = (f1 * 0.86, 0.5 + f1 / 1.9, f1 * 0.6, f1 * 1.1, f1 * 0.4, 0.11, 0.36, f1 + 0.006)
    return {
        "f1": {"mean": f1, "std": 0.008 if seeds > 1 else None, "interval": [f1 - 0.031, f1 + 0.028], "by_seed": by_seed},
        **dict(zip(keys, values, strict=True)),
        "pr_auc_chance": 0.122, "precision": precision, "recall": recall, "expected_calibration_error": 0.14,
        "expected_calibration_error_scaled": 0.02, "temperature": 0.61,
        "confusion": {"tp": tp, "fp": fp, "fn": 311 - tp, "tn": 2239 - fp},
    }  # fmt: skip


def groups(names: list[str], f1: float, rng: np.random.Generator) -> dict[str, Any]:
    shares = np.linspace(0.04, 0.21, len(names))
    f1s = f1 * (0.6 + 0.7 * shares / 0.21) + 0.02 * rng.standard_normal(len(names))
    return {
        name: {"samples": 420, "positive_share": float(share), "f1": float(value), "roc_auc": 0.6}
        for name, share, value in zip(names, shares, f1s, strict=True)
    }


def sample(assets: int = 16, months: int = 11, seeds: int = 3) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[dict]]]:
    """What compare found, the data's metadata, and the rows of the curves."""
    rng = np.random.default_rng(3)
    symbols = [f"COIN{n:02}USDT" for n in range(assets)]
    spans = [f"{2021 + n // 12}-{n % 12 + 1:02}" for n in range(months)]
    models = {}
    for name, f1 in STRENGTH.items():
        network, net = name in NETWORKS, (f1 - 0.31) / 20
        models[name] = {
            "kind": "network" if network else "reference",
            "seeds": list(range(1, seeds + 1)) if network else [None],
            "val": scores(f1 + 0.02, seeds if network else 1, rng),
            "test": scores(f1, seeds if network else 1, rng)
            | {"by_asset": groups(symbols, f1, rng), "by_month": groups(spans, f1, rng)}
            | {
                "money": {
                    "trades": 412, "hit_rate": f1 * 0.74, "break_even_hit_rate": 0.15 + f1 / 4,
                    "mean_return": net + 0.003, "mean_return_net": net,
                    "total_return": (net + 0.003) * 412, "total_return_net": net * 412, "return_per_day_net": net * 17,
                    "return_per_day_interval": [net * 17 - 0.02, net * 17 + 0.018], "max_drawdown": 0.314,
                }
            },
        }  # fmt: skip
    for name in NETWORKS:
        models[name]["training"] = {
            "best_epochs": [4, 7, 3][:seeds], "epochs": [19, 22, 18][:seeds], "train_f1": 0.41, "val_f1": 0.33,
            "val_f1_range_last_10_epochs": 0.027,
        }  # fmt: skip
    ranking = sorted(STRENGTH, key=lambda name: -STRENGTH[name])
    pairs = [
        {"better": one, "worse": other, "difference": STRENGTH[one] - STRENGTH[other],
         "interval": [STRENGTH[one] - STRENGTH[other] - 0.024, STRENGTH[one] - STRENGTH[other] + 0.022],
         "p_value": 0.012, "p_holm": 0.084, "clear": STRENGTH[one] - STRENGTH[other] > 0.024}
        for one, other in itertools.combinations(ranking, 2)
    ]  # fmt: skip
    validation = {name: models[name]["val"]["f1"]["mean"] for name in STRENGTH}
    floors = {"the minimum": 0.2, "always-positive": validation["always_positive"], "the best F1 of the shift test": 0.29}
    floors = {name: floors | {"one column, the best reference": validation["one_column"]} for name in NETWORKS}
    settings = compare.Compare(draws=10_000, seed=1, block_days=None, confidence=0.95, min_val_f1=0.2, max_train_val_gap=0.08,
                               max_seed_spread=0.03)  # fmt: skip
    gates = {
        name: compare.gates(
            name,
            {"train_f1_score_positive_class": 0.41, "val_f1_score_positive_class_std": 0.0081,
             "seeds": [{"seed": seed, "stopped_early": name != "mlp" or seed == 1} for seed in range(1, seeds + 1)]},
            {"val": validation, "test": STRENGTH},
            pairs,
            floors=floors[name],
            paid=models[name]["test"]["money"],
            earns=False,
            settings=settings,
        )
        for name in NETWORKS
    }  # fmt: skip
    on_validation = [pair | {"clear": pair["difference"] > 0.01} for pair in pairs]
    result = {
        "simulated": True, "confidence": 0.95, "draws": 10000, "block_days": {"val": 3, "test": 3},
        "days": {"val": 24, "test": 24},
        "break_even_precision": 0.3286, "cost_per_trade": 0.003, "one_column": "atr_14",
        "ranking": ranking, "models": models, "gates": gates,
        "pairs": {"val": on_validation, "test": pairs},
        "search_first": compare.recommend({name: validation[name] for name in NETWORKS}, floors, on_validation),
        "test_verdict": compare.verdict(STRENGTH, pairs),
        "losing": compare.losing(models, ranking), "earning": [],
        "settings": {
            "train": {"seeds": [1, 2, 3], "epochs": 100, "batch_size": 128, "learning_rate": 0.001, "precision": "auto"},
            "mlp": {"hidden_sizes": [256, 128, 64], "dropout": 0.3, "asset_embedding": 8},
            "lstm": {"hidden_size": 128, "layers": 2, "attention_size": 64, "dropout": 0.3},
            "evaluate": {"cost_per_trade": 0.003},
        },
    }  # fmt: skip
    result = {"verdict": compare.sentences(result)} | result
    split = {"rows": 2736, "samples": 2550, "positives": 311, "positive_share": 0.122, "first_bar": "2022-04-26T22:00:00Z",
             "last_bar": "2022-05-16T07:00:00Z"}  # fmt: skip
    metadata = {
        "leak_audit": {"hours_from_train_labels_to_val": 3.0, "windows_across_a_break": 0},
        "source": "simulated", "simulated": True, "assets": symbols, "features": ["return_1", "rsi_14"], "lookback": 24,
        "profit": 0.05, "stop": 0.02, "horizon": 8, "splits": dict.fromkeys(("train", "val", "test"), split),
    }  # fmt: skip
    return result, metadata, sample_curves(seeds, rng)


def sample_curves(seeds: int, rng: np.random.Generator) -> dict[str, list[dict]]:
    """Numbers are text, as csv reads them."""
    curves: dict[str, list[dict]] = {"learning": [], "pr": [], "roc": [], "calibration": [], "threshold": []}
    for name in NETWORKS:
        for seed in range(1, seeds + 1):
            for epoch in range(1, 24 + 6 * seed):
                f1 = STRENGTH[name] + 0.02 - 0.2 * np.exp(-epoch / 4) - 0.001 * epoch + 0.008 * rng.standard_normal()
                train, val = 0.03 + 0.02 * np.exp(-epoch / 5), 0.036 + 0.014 * np.exp(-epoch / 3) + 0.0002 * epoch
                row = {"model": NAMES[name], "seed": seed, "epoch": epoch, "val_f1": f1, "train_loss": train, "val_loss": val}
                curves["learning"].append({key: str(value) for key, value in row.items()})
    for key, f1 in STRENGTH.items():
        if key in NO_CURVE:
            continue
        name = NAMES[key]
        for x in np.linspace(0.001, 1, 120):
            precision = 0.122 + (f1 - 0.1) * (1 - x) ** 1.5 + 0.2 * np.exp(-x * 60) * rng.standard_normal()
            curves["pr"].append({"model": name, "recall": str(x), "precision": str(precision)})
            curves["roc"].append({"model": name, "fpr": str(x), "tpr": str(x ** (1.6 - 3 * f1))})
            net = 0.05 * (f1 - 0.26) * (1 - x) + 0.002 * np.sin(9 * x + 30 * f1) - 0.002
            row = {"model": name, "share_called": x, "precision": precision, "mean_return_net": net}
            curves["threshold"].append({key: str(value) for key, value in row.items()})
        for x in np.linspace(0.1, 0.6, 9):
            row = {"model": name, "predicted": x, "observed": x**1.6 * (0.8 + f1), "samples": int(900 * (1.1 - x) ** 3)}
            curves["calibration"].append({key: str(value) for key, value in row.items()})
    return curves
