"""Look for leaks in data/training_data, from the bars up, and run two trainings whose outcome is known.

The arrays are compared with what truncated histories give. Then a small network is trained twice. From shuffled labels nothing
can be learnt; with the label among the features everything can. If either comes out otherwise, no other number can be trusted.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bars import features
from bars.labels import DISTANCES, NO_LABEL, Trades
from bars.reading import HOUR, Bars, bars_path, read_bars, split_at_gaps
from bars.rows import RowRules, choose_symbols, recompute_rows
from core.errors import CampaignError
from core.files import read_json
from core.metrics import Ranking, sigmoid
from core.params import read_section
from core.splits import DATA, SPLITS, evenly_spaced, read_split, sample_rows
from generate_data import Data
from learn.dataset import Split
from learn.device import prepare_process
from learn.fit import fit, predict

CUTS_PER_ASSET = 20  # in each split, spread evenly; the last rows before each are recomputed
FEATURE_TOLERANCE = 1e-4  # train standard deviations: rows are stored as float32
SCALER_TOLERANCE = 1e-6  # train standard deviations
MIN_STEPS = 2000  # of training, enough to find an oracle feature
# Not the campaign's own settings, with which nothing may be learnt: what is tested is the data and the loop.
LOOP = {
    "learning_rate": 0.001,
    "weight_decay": 0.01,
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
    "gradient_clip": 1.0,
    "lr_factor": 0.5,
    "precision": "float32",
}
HIDDEN_SIZES = (64, 32)
ASSET_EMBEDDING = 8
BATCH_SIZE = 128
MAX_TRAIN_SAMPLES = 100_000  # more would not change the outcome
MAX_STANDARD_ERRORS = 3.3  # a sound pipeline exceeds them once in a thousand runs
MIN_ORACLE_AUC = 0.99
# On real bars the best honest feature has 0.76. For their first six assets the return over a trade's own 8 hours has 0.92, with
# narrow barriers less (0.83 at +3 % and -1.5 %); that of the next hour, 0.77, cannot be told from an honest feature.
MAX_SINGLE_COLUMN_AUC = 0.85

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # X, y, mirrored, asset_ids and timestamps of each split, as on disk


@dataclasses.dataclass(frozen=True)
class LeakCheck:
    """The outcome of one check; `fault` is what a check that is not sound means: LEAK, or FAIL."""

    subject: str
    text: str
    sound: bool
    fault: str = "LEAK"


class SmallNetwork(nn.Module):
    """Two hidden layers on the window's T * F values and the asset's vector; no architecture of the campaign.

    Args:
        n_features, n_assets, lookback: F, assets in the data, T.
    """

    def __init__(self, *, n_features: int, n_assets: int, lookback: int):
        super().__init__()
        self.assets = nn.Embedding(n_assets, ASSET_EMBEDDING)
        first, second = HIDDEN_SIZES
        self.layers = nn.Sequential(
            nn.Linear(lookback * n_features + ASSET_EMBEDDING, first, bias=False),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Linear(first, second, bias=False),
            nn.BatchNorm1d(second),
            nn.ReLU(),
            nn.Linear(second, 1),
        )

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids (B,) -> logits (B,)."""
        return self.layers(torch.cat([x.flatten(1), self.assets(asset_ids)], dim=1)).squeeze(1)


# --- the data against the bars ----------------------------------------------------------------------------------------


def read_data() -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Read the metadata, and the arrays of each split. Raises CampaignError where they are missing or damaged."""
    arrays = {split: read_split(DATA, split, "X", "y", "mirrored", "asset_ids", "timestamps") for split in SPLITS}
    return read_json(DATA / "metadata.json"), arrays


def check_settings(settings: Data, metadata: dict[str, Any]) -> None:
    """Refuse data that were made with other settings, where a difference would be no leak. Raises CampaignError."""
    made = {name: metadata[name] for name in ("features", "lookback", "barrier", "horizon")}
    made |= zip(DISTANCES[metadata["barrier"]], (metadata["profit"], metadata["stop"]), strict=True)
    made |= {"max_gap": metadata["max_gap_hours"], "clip": metadata["scaler"]["clip"]}
    made |= {"bars": metadata["source"], "symbols": metadata["assets"]}
    root = Path(settings.bars)
    wanted = settings.model_dump() | {"bars": root.name, "symbols": choose_symbols(root, settings.symbols)}
    for name, value in made.items():
        if wanted[name] != value:
            raise CampaignError(f"data.{name} has changed since the data were made; make them anew: dvc repro generate_data")


def cut_time(metadata: dict[str, Any], split: str) -> np.datetime64:
    """Return the time at which `split`, val or test, begins."""
    return np.datetime64(metadata["cuts"][split].removesuffix("Z"))


class WrittenRows:
    """The rows of one split as they were written, and which of them recomputing has shown to be wrong; R rows.

    X: float32 (R, F). labels: int8 (2, R), y and mirrored, -1 where a row ends no sample; as on disk.
    is_checked: bool (R,). has_wrong_label: bool (2, R). wrong_features: bool (F,), those that differ in any row.
    """

    def __init__(self, part: Mapping[str, np.ndarray]) -> None:
        self.X, self.labels = part["X"], np.stack([part["y"], part["mirrored"]])
        self.is_checked, self.has_wrong_label = np.zeros(len(self.X), bool), np.zeros(self.labels.shape, bool)
        self.wrong_features = np.zeros(self.X.shape[1], bool)

    def compare(self, rows: slice, X: np.ndarray, trades: Trades) -> None:
        """Compare `rows` with their features, scaled and clipped, and their trades as recomputed.

        A row that ends no sample has two labels of -1: whether its label is known, the cut may have decided.
        """
        self.is_checked[rows] = True
        self.wrong_features |= ~(np.abs(X - self.X[rows]) <= FEATURE_TOLERANCE).all(axis=0)
        ends_sample = self.labels[0, rows] != NO_LABEL
        recomputed = np.where(ends_sample, np.stack([trades.labels, trades.mirrored]), NO_LABEL)
        self.has_wrong_label[:, rows] |= self.labels[:, rows] != recomputed

    def counts(self) -> tuple[int, int, int, int]:
        """Count the rows checked, the samples among them, and their labels and mirrored labels that are wrong."""
        samples = self.is_checked & (self.labels[0] != NO_LABEL)
        return int(self.is_checked.sum()), int(samples.sum()), *self.has_wrong_label.sum(axis=1).tolist()


def check_truncated_bars(
    root: Path, symbols: list[str], rules: RowRules, clip: float, metadata: dict[str, Any], arrays: Arrays
) -> list[LeakCheck]:
    """Recompute rows from bars that are cut off right after them; a row that differs knew the future.

    Args:
        root, symbols: where the bars are, and those used.
        clip: limit of scaled features, train standard deviations.
    """
    names = np.array(rules.features)
    extra = features.extra_columns(rules.features)
    mean, scale = scaler_numbers(metadata)
    written = {split: WrittenRows(part) for split, part in arrays.items()}
    for number, symbol in enumerate(symbols):
        bars = read_bars(bars_path(root, symbol), extra)
        for split, part in arrays.items():
            own = np.flatnonzero(part["asset_ids"] == number)
            for row in evenly_spaced(own, CUTS_PER_ASSET):
                sequence, position = find_bar(bars, part["timestamps"][row], rules.max_gap)
                recomputed = recompute_rows(sequence, position, rules)
                size = min(len(recomputed.X), row + 1 - own[0])  # older rows belong to the split before
                X = np.clip((recomputed.X[-size:] - mean) / scale, -clip, clip)
                trades = Trades(*(column[-size:] for column in recomputed.trades))
                written[split].compare(slice(row + 1 - size, row + 1), X, trades)

    checked, samples, wrong_labels, wrong_mirrored = np.sum([rows.counts() for rows in written.values()], axis=0)
    wrong = ", ".join(sorted(names[np.any([rows.wrong_features for rows in written.values()], axis=0)].tolist()))
    text = f"{checked:,} rows from truncated bars, {f'{wrong} differ' if wrong else 'none differs'}"
    if extra:
        text += f"; not checked, since they are columns of the files: {', '.join(extra)}"
    return [
        LeakCheck("features known at the bar", text, not wrong),
        LeakCheck("labels known at the horizon", f"{wrong_labels:,} of {samples:,} differ", not wrong_labels),
        LeakCheck("mirrored labels known at the horizon", f"{wrong_mirrored:,} of {samples:,} differ", not wrong_mirrored),
    ]


def check_scaler(root: Path, symbols: list[str], rules: RowRules, metadata: dict[str, Any]) -> LeakCheck:
    """Compare the scaler with the train rows, recomputed from bars that end at the train cut.

    Args:
        root, symbols: where the bars are, and those used.
    """
    cut = cut_time(metadata, "val")
    mean, scale = scaler_numbers(metadata)
    parts = []
    for symbol in symbols:
        bars = read_bars(bars_path(root, symbol), features.extra_columns(rules.features))
        train_bars = bars[: int(np.searchsorted(bars.timestamps, cut - HOUR, side="right"))]  # closed by the cut
        for sequence in split_at_gaps(train_bars.timestamps, rules.max_gap):
            parts.append(features.compute(train_bars[sequence], rules.features)[features.WARM_UP :])
    raw = np.concatenate(parts)
    distance = float(np.max(np.abs(raw.mean(axis=0) - mean) / scale + np.abs(raw.std(axis=0) / scale - 1)))
    text = f"{distance:.1e} deviations from train's own mean and scale"
    return LeakCheck("scaler fitted on train alone", text, distance < SCALER_TOLERANCE)


def scaler_numbers(metadata: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and scales of the features, float64 (F,) each."""
    return np.array(metadata["scaler"]["mean"]), np.array(metadata["scaler"]["scale"])


def find_bar(bars: Bars, time: np.datetime64, max_gap: int) -> tuple[Bars, int]:
    """Find the sequence that has the bar of `time`, and the bar's position in it."""
    position = int(np.searchsorted(bars.timestamps, time))
    rows = next(rows for rows in split_at_gaps(bars.timestamps, max_gap) if position < rows.stop)
    return bars[rows], position - rows.start


def check_single_columns(metadata: dict[str, Any], arrays: Arrays) -> LeakCheck:
    """Check that no feature's last row ranks the train labels by itself, as the trade's whole outcome does.

    A column that knows less of the future passes unseen.
    """
    part = arrays["train"]
    ends = evenly_spaced(sample_rows(part["y"]), MAX_TRAIN_SAMPLES)
    areas = [Ranking.of(part["y"][ends], column.astype(np.float64)).roc_auc() for column in part["X"][ends].T]
    either_way = np.abs(np.array(areas) - 0.5) + 0.5
    best = int(either_way.argmax())
    name, area = metadata["features"][best], either_way[best]
    text = f"most by {name}, train ROC AUC {area:.3f}, below {MAX_SINGLE_COLUMN_AUC} expected"
    return LeakCheck("no column tells the label", text, area < MAX_SINGLE_COLUMN_AUC)


def check_cuts(root: Path, symbols: list[str], horizon: int, metadata: dict[str, Any], arrays: Arrays) -> list[LeakCheck]:
    """Check that trades end before the next split begins, and that all assets are cut at the same time.

    Args:
        root, symbols: where the bars are, and those used.
        horizon: bars until a trade is closed.
    """
    cuts = {split: cut_time(metadata, split) for split in ("val", "test")}
    checks = []
    for split, following in (("train", "val"), ("val", "test")):
        part, latest = arrays[split], np.datetime64(0, "s")
        for number, symbol in enumerate(symbols):
            times = read_bars(bars_path(root, symbol)).timestamps
            own = part["timestamps"][(part["asset_ids"] == number) & (part["y"] >= 0)]
            if len(own):
                latest = max(latest, times[np.searchsorted(times, own) + horizon].max() + HOUR)
        hours = (cuts[following] - latest) / HOUR
        checks.append(LeakCheck(f"{split} trades ended before {following}", f"{hours:g} hours before", hours >= 0))
    late = [split for split in SPLITS[:2] if arrays[split]["timestamps"].max() >= cuts[SPLITS[SPLITS.index(split) + 1]]]
    early = [split for split in SPLITS[1:] if arrays[split]["timestamps"].min() < cuts[split]]
    text = f"rows beyond it in {', '.join(late + early) or 'no split'}"
    return [*checks, LeakCheck("one cut for all assets", text, not late + early)]


# --- trainings whose outcome is known ---------------------------------------------------------------------------------


def measure_test_auc(splits: dict[str, Split], assets: int) -> float:
    """Train a small network for a while, and return the test ROC AUC of its best epoch."""
    torch.manual_seed(0)
    train = splits["train"]
    model = SmallNetwork(n_features=train.X.shape[1], n_assets=assets, lookback=train.lookback)
    batch = min(BATCH_SIZE, len(train))
    epochs = -(-MIN_STEPS // (len(train) // batch))
    loop = {"epochs": epochs, "batch_size": batch, "patience": max(15, epochs // 5), "lr_patience": max(7, epochs // 10)} | LOOP
    *_, last = fit(model, train, splits["val"], halves=np.zeros(len(splits["val"]), np.int8), seed=0, **loop)
    model.load_state_dict(last.state["best"]["weights"])
    return Ranking.of(splits["test"].y.cpu().numpy(), sigmoid(predict(model, splits["test"]))).roc_auc()


def make_splits(arrays: Arrays, lookback: int, change: Callable[[Mapping], dict]) -> dict[str, Split]:
    """Make splits of which `change` has replaced some arrays; a large train is thinned evenly."""
    result = {}
    for split, original in arrays.items():
        part = {**original, **change(original)}
        y = part["y"]
        if split == "train":
            keep = evenly_spaced(sample_rows(y), MAX_TRAIN_SAMPLES)
            y = np.full_like(y, NO_LABEL)
            y[keep] = part["y"][keep]
        result[split] = Split.of(part["X"], y, part["asset_ids"], lookback=lookback)
    return result


def check_shuffled_labels(arrays: Arrays, lookback: int, assets: int) -> LeakCheck:
    """Train on labels drawn anew for every bar of every asset: test can only be foreseen where it is in train, too."""

    def bar_keys(part: Mapping) -> np.ndarray:
        return part["timestamps"].astype(np.int64) * assets + part["asset_ids"]

    share = float(np.mean(np.concatenate([part["y"][part["y"] >= 0] for part in arrays.values()])))
    bars = np.unique(np.concatenate([bar_keys(part) for part in arrays.values()]))
    drawn = (np.random.default_rng(0).random(len(bars)) < share).astype(np.int8)

    def shuffle(part: Mapping) -> dict:
        return {"y": np.where(part["y"] >= 0, drawn[np.searchsorted(bars, bar_keys(part))], part["y"])}

    splits = make_splits(arrays, lookback, shuffle)
    auc = measure_test_auc(splits, assets)
    positives = int(splits["test"].y.sum())
    negatives = len(splits["test"]) - positives
    standard_error = ((positives + negatives + 1) / (12 * positives * negatives)) ** 0.5  # Mann, Whitney (1947)
    margin = MAX_STANDARD_ERRORS * standard_error
    text = f"test ROC AUC {auc:.3f}, 0.5 ± {margin:.3f} expected"
    return LeakCheck("shuffled labels teach nothing", text, abs(auc - 0.5) <= margin)


def check_oracle_feature(arrays: Arrays, lookback: int, assets: int) -> LeakCheck:
    """Train with the label as one more feature: a pipeline that cannot learn this cannot learn anything."""

    def add_label(part: Mapping) -> dict:
        label = np.maximum(part["y"], 0)
        return {"X": np.column_stack([part["X"], (label - label.mean()) / label.std()]).astype(np.float32)}

    auc = measure_test_auc(make_splits(arrays, lookback, add_label), assets)
    text = f"test ROC AUC {auc:.4f}, above {MIN_ORACLE_AUC} expected"
    return LeakCheck("an oracle feature is learnt", text, auc > MIN_ORACLE_AUC, "FAIL")


# --- all of it --------------------------------------------------------------------------------------------------------


def run_checks() -> Iterator[LeakCheck]:
    """Yield the outcome of each check. Raises CampaignError where the data are missing or of other settings."""
    settings = read_section("data", Data)
    metadata, arrays = read_data()
    check_settings(settings, metadata)
    root, rules = Path(settings.bars), settings.row_rules()
    symbols = choose_symbols(root, settings.symbols)
    yield from check_truncated_bars(root, symbols, rules, settings.clip, metadata, arrays)
    yield check_scaler(root, symbols, rules, metadata)
    yield check_single_columns(metadata, arrays)
    yield from check_cuts(root, symbols, settings.horizon, metadata, arrays)
    for check in (check_shuffled_labels, check_oracle_feature):
        yield check(arrays, metadata["lookback"], len(symbols))


def main() -> None:
    """Print a line for each check. Raises CampaignError where one is not sound."""
    prepare_process()
    failed = []
    for check in run_checks():
        print(f"{'ok' if check.sound else check.fault:4}  {check.subject}: {check.text}", flush=True)
        if not check.sound:
            failed.append(check.subject)
    if failed:
        raise CampaignError(f"{len(failed)} checks failed ({'; '.join(failed)}): no figure of this campaign can be trusted")
