"""Training throughput: the project's loop against the plain one, Lightning's, and the ceiling of the matrix product.

Needs torch, numpy and pydantic only; makes its own random rows. Lightning is measured where it is installed.

Usage: python benchmarks/throughput.py [--windows 16384] [--rounds 3] [--device cpu] [--json FILE]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import numpy as np
import plain
import torch

from learn.dataset import Split
from learn.device import prepare_process, resolve_precision
from learn.fit import fit
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP

F, T, ASSETS, BATCH = 22, 24, 16, 128
BASE = {"dropout": 0.3, "asset_embedding": 8, "n_features": F, "n_assets": ASSETS, "lookback": T}
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "mlp": lambda: MLP(hidden_sizes=[256, 128, 64], **BASE),
    "lstm": lambda: LSTMAttention(hidden_size=128, layers=2, attention_size=64, **BASE),
    "gru": lambda: GRUAttention(hidden_size=128, layers=2, attention_size=64, **BASE),
    "cnn_lstm": lambda: CNNLSTM(channels=[32, 64], kernel_size=3, hidden_size=128, attention_size=64, **BASE),
}
SETTINGS = {
    "epochs": 10_000,
    "batch_size": BATCH,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
    "gradient_clip": 1.0,
    "patience": 10_000,
    "lr_factor": 0.5,
    "lr_patience": 10_000,
}


def flop_per_window(name: str) -> float:
    """Floating-point operations of one window, forward and backward.

    A product of (m, k) and (k, n) is 2 m k n. Backward does two of the same size, one for the weights and one for the
    input; the first layer's input needs none. Element-wise work is left out. With G gates (LSTM 4, GRU 3), H 128, A 64:
    recurrent layer T * 2 G H (inputs + H), attention T * 2 A (H + 1), convolution T * 2 * 3 c_in c_out, linear 2 n_in n_out.
    """
    rows = F + 8

    def recurrent(gates: int, n_inputs: int) -> float:
        return T * 2 * gates * 128 * (n_inputs + 128)

    attention = T * 2 * 64 * 129 + 2 * 128
    if name == "mlp":
        first, rest = 2 * (T * F + 8) * 256, 2 * (256 * 128 + 128 * 64 + 64)
    elif name == "cnn_lstm":
        first, rest = T * 2 * 3 * rows * 32, T * 2 * 3 * 32 * 64 + recurrent(4, 64) + attention
    else:
        gates = {"lstm": 4, "gru": 3}[name]
        first, rest = T * 2 * gates * 128 * rows, recurrent(gates, 128) + T * 2 * gates * 128 * 128 + attention
    return 2 * first + 3 * rest


def matrix_product_rate(dtype: torch.dtype, device: str, seconds: float = 0.5) -> float:
    """FLOP per second of a 1024 x 1024 product, best of several, on the threads set."""
    a, b = torch.randn(2, 1024, 1024, device=device, dtype=dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        synchronise(device)
        began = time.perf_counter()
        for _ in range(4):
            a @ b
        synchronise(device)
        best = max(best, 4 * 2 * 1024**3 / (time.perf_counter() - began))
    return best


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def random_rows(n_windows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X float32 (rows, F), y int8 (rows,), asset ids (rows,); one window ends at every row but the first T - 1."""
    rng = np.random.default_rng(0)
    rows = n_windows + T - 1
    y = (rng.random(rows) < 0.1).astype(np.int8)
    y[: T - 1] = -1
    return rng.normal(size=(rows, F)).astype(np.float32), y, rng.integers(0, ASSETS, rows)


def ours(name: str, rows: tuple, precision: str, device: str) -> Callable[[], None]:
    """Call it for one more epoch of the project's loop."""
    train = Split.of(*rows, lookback=T, device=device)
    val = Split.of(*(array[: T - 1 + 512] for array in rows), lookback=T, device=device)
    torch.manual_seed(0)
    epochs = fit(NETWORKS[name](), train, val, halves=np.zeros(len(val), np.int8), seed=1, precision=precision, **SETTINGS)
    return lambda: next(epochs)


def plain_loop(name: str, rows: tuple, device: str) -> Callable[[], None]:
    loader = torch.utils.data.DataLoader(plain.dataset(*rows, T), batch_size=BATCH, shuffle=True, drop_last=True)
    torch.manual_seed(0)
    model = plain.network(name, F, ASSETS, T).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    return lambda: plain.epoch(model, loader, optimizer, device)


def lightning_loop(name: str, rows: tuple, device: str) -> Callable[[], None] | None:
    """None where Lightning is not installed."""
    try:
        import lightning
    except ImportError:
        return None
    from learn.loss import focal_loss

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = plain.network(name, F, ASSETS, T)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            x, asset_ids, y = batch
            loss = focal_loss(self.model(x, asset_ids), y, alpha=0.25, gamma=2.0)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.01)

    loader = torch.utils.data.DataLoader(plain.dataset(*rows, T), batch_size=BATCH, shuffle=True, drop_last=True)
    module = Module()

    def epoch() -> None:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)

    return epoch


def seconds(epoch: Callable[[], Any], device: str) -> float:
    synchronise(device)
    began = time.perf_counter()
    epoch()
    synchronise(device)
    return time.perf_counter() - began


def measure(name: str, rows: tuple, n_windows: int, rounds: int, device: str, default_threads: int) -> dict[str, Any]:
    """Windows per second of every loop, the medians of interleaved rounds, and ratios within the rounds."""
    used = n_windows // BATCH * BATCH
    precision = resolve_precision("auto", NETWORKS[name], F, T)
    contestants = {
        f"ours, {precision}": (ours(name, rows, precision, device), 1),
        "ours, float32": (ours(name, rows, "float32", device), 1),
        "plain, 1 thread": (plain_loop(name, rows, device), 1),
    }
    if device == "cpu":
        contestants[f"plain, {default_threads} threads"] = (plain_loop(name, rows, device), default_threads)
    if (lightning_epoch := lightning_loop(name, rows, device)) is not None:
        contestants["Lightning, 1 thread"] = (lightning_epoch, 1)
    taken: dict[str, list[float]] = {label: [] for label in contestants}
    ceilings: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for number in range(rounds + 1):  # the first warms up
        for label, (epoch, threads) in contestants.items():
            torch.set_num_threads(threads)
            torch.backends.cudnn.allow_tf32 = True  # PyTorch's default; ours sets its own
            duration = seconds(epoch, device)
            if number:
                taken[label].append(duration)
        torch.set_num_threads(1)
        for dtype in ceilings:
            ceilings[dtype].append(matrix_product_rate(getattr(torch, dtype), device, 0.3))
    rate = {label: used / statistics.median(durations) for label, durations in taken.items()}
    best = f"ours, {precision}"
    return {
        "windows_per_second": rate,
        "ratio": {
            label: statistics.median(b / a for a, b in zip(taken[best], durations, strict=True))
            for label, durations in taken.items()
            if label != best
        },
        "share_of_ceiling": {
            dtype: rate[f"ours, {dtype}"] * flop_per_window(name) / statistics.median(ceilings[dtype])
            for dtype in {"float32", precision}
        },
        "ceiling_gflops": {dtype: statistics.median(rates) / 1e9 for dtype, rates in ceilings.items()},
        "mflop_per_window": flop_per_window(name) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    default_threads = torch.get_num_threads()
    prepare_process()
    rows = random_rows(options.windows)
    result = {}
    for name in options.networks:
        result[name] = measure(name, rows, options.windows, options.rounds, options.device, default_threads)
        for label, rate in result[name]["windows_per_second"].items():
            ratio = result[name]["ratio"].get(label)
            print(f"{name:9} {label:22} {rate:>9,.0f} windows/s" + (f"   ours is {ratio:.2f} x" if ratio else ""), flush=True)
        shares = ", ".join(f"{share:.0%} in {dtype}" for dtype, share in result[name]["share_of_ceiling"].items())
        print(f"{name:9} of the matrix product's ceiling: {shares}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
