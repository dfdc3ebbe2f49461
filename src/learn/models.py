"""Write the models of a train stage, and rebuild a network from its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from core.errors import CampaignError, to_one_line
from core.files import read_json, write_array, write_bytes, write_csv, write_json
from learn import checkpoint
from learn.architecture import Architecture, find_architecture
from learn.worker import Record, Trained


def write_models(architecture: Architecture, trained: Sequence[Trained], models: Path, data: Path) -> None:
    """Write each seed's model and logits, the best model on validation, the history of all, and what network they are.

    Args:
        models: directory to write to. data: directory of the splits, whose scaler is copied.
    """
    written = []
    for seed in trained:
        stem = f"seed_{seed.summary['seed']}"
        write_bytes(models / f"{stem}.pt", seed.model)
        write_array(models / f"{stem}_val_half_logits.npy", seed.half_logits)
        written += [f"{stem}.pt", f"{stem}_val_half_logits.npy"]
    for earlier in models.glob("seed_*"):  # DVC clears them, a script started by hand does not
        if earlier.name not in written:
            earlier.unlink()
    write_bytes(models / "best_model.pt", best_on_validation(trained).model)
    write_bytes(models / "scalers.joblib", (data / "scalers.joblib").read_bytes())
    write_json(models / "network.json", architecture.describe())
    write_csv(models / "training_history.csv", with_seeds(trained))


def best_on_validation(trained: Sequence[Trained]) -> Trained:
    """Return the first of those with the highest validation F1."""
    return max(trained, key=lambda seed: seed.summary["val_f1_score_positive_class"])


def with_seeds(trained: Sequence[Trained]) -> list[Record]:
    """Join the histories, a column `seed` before the others."""
    return [{"seed": seed.summary["seed"], **record} for seed in trained for record in seed.history]


def load_model(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild a network from its file and the network.json beside it.

    Returns:
        The network, and what the file holds: its architecture, arguments, seed, epoch, threshold, score and weights.

    Raises:
        CampaignError: a file is missing or not what training wrote, or the network's source is another one since.
    """
    try:
        content = checkpoint.from_bytes(path.read_bytes())
        architecture = find_architecture(content["architecture"])
        check_source(path.parent, architecture.name)
        model = architecture.network(**content["arguments"])
        model.load_state_dict(content["weights"])
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (OSError, MemoryError, CampaignError):
        raise
    except Exception as error:  # a foreign file fails in many ways, all of them mean the same
        reason = to_one_line(error)[:120]
        raise CampaignError(f"{path} is not a model of this campaign ({reason}); restore it: dvc checkout --force") from None
    return model, content


def check_source(models: Path, name: str) -> None:
    """Make sure that the models in the directory `models` were trained with the network's present source.

    Raises:
        CampaignError: the source of architecture `name` was edited since.
    """
    recorded = read_json(models / "network.json")
    if recorded != find_architecture(name).describe():
        raise CampaignError(f"{models} was trained with another src/train_{name}.py; train it anew: dvc repro train_{name}")
