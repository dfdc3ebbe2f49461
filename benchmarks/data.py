"""generate_data from end to end: bars per second, peak memory, bytes on disk; against the same work in plain pandas.

Makes its own market, random walks of 50,000 hourly bars an asset, and takes params.yaml as it is but for data.bars. Each
measurement is a process of its own; its imports are timed apart, its peak memory includes them.

Usage: python benchmarks/data.py [--bars 100000 1000000] [--large] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from sklearn.preprocessing import StandardScaler

PROJECT = Path(__file__).resolve().parent.parent
ASSET = 50_000  # bars
PLAIN_MOST = 2_000_000  # bars; plain pandas holds every window, 2 kB each, several times
CONTESTANTS = {
    "ours, 1 core": ("generate_data", "main", 1),
    "ours, all cores": ("generate_data", "main", None),
    "plain pandas": ("data", "plain", None),
}
CHILD = """
import json, os, sys, time
module, function, cores = json.loads(sys.argv.pop())
if cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
began = time.perf_counter()
work = getattr(__import__(module), function)
ready, processor = time.perf_counter(), time.process_time()
work()
done = {"imports": ready - began, "seconds": time.perf_counter() - ready, "processor": time.process_time() - processor}
status = dict(line.split(":") for line in open("/proc/self/status"))
done["peak"] = int(status["VmHWM"].split()[0]) * 1024  # ru_maxrss would count the parent before exec too
print(json.dumps(done))
"""


def write_market(root: Path, bars: int) -> None:
    """`bars` hourly bars in assets of `ASSET`, the last one shorter; 1 % a bar, so that both labels occur."""
    rng = np.random.default_rng(0)
    for number, first in enumerate(range(0, bars, ASSET)):
        size = min(ASSET, bars - first)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, size)))
        opening = np.append(100.0, close[:-1])
        wick = np.abs(rng.normal(0, 0.003, (2, size)))
        frame = pd.DataFrame(
            {
                "Open": opening,
                "High": np.maximum(opening, close) * (1 + wick[0]),
                "Low": np.minimum(opening, close) * (1 - wick[1]),
                "Close": close,
                "Volume": rng.lognormal(8, 1, size),
            },
            index=pd.date_range("2018-01-01", periods=size, freq="h", tz="UTC", name="timestamp"),
        )
        path = root / f"A{number:04}" / "1Hour" / "data.parquet"
        path.parent.mkdir(parents=True)
        frame.to_parquet(path)


# --- plain pandas ----------------------------------------------------------------------------------------------------


def indicators(frame: pd.DataFrame) -> pd.DataFrame:
    """The 22 features of params.yaml as pandas says them."""
    high, low, close, volume = frame["High"], frame["Low"], frame["Close"], frame["Volume"]

    def wilder(series: pd.Series) -> pd.Series:
        return series.ewm(alpha=1 / 14, adjust=False).mean()

    out = pd.DataFrame(index=frame.index)
    for n in (1, 4, 24):
        out[f"return_{n}"] = close.pct_change(n)
    for n in (10, 20):
        out[f"sma_{n}"] = close / close.rolling(n).mean() - 1
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    signal = macd.ewm(span=9, adjust=False).mean()
    out["macd"], out["macd_signal"], out["macd_histogram"] = macd / close, signal / close, (macd - signal) / close
    change = close.diff()
    gain, loss = wilder(change.clip(lower=0)), wilder(-change.clip(upper=0))
    out["rsi_14"] = gain / (gain + loss)
    lowest, highest = low.rolling(14).min(), high.rolling(14).max()
    out["stochastic_k"] = ((close - lowest) / (highest - lowest)).rolling(3).mean()
    out["stochastic_d"] = out["stochastic_k"].rolling(3).mean()
    previous = close.shift()
    true_range = pd.concat([high - low, (high - previous).abs(), (low - previous).abs()], axis=1).max(axis=1)
    atr, up, down = wilder(true_range), high.diff(), -low.diff()
    plus, minus = wilder(up.where((up > down) & (up > 0), 0)) / atr, wilder(down.where((down > up) & (down > 0), 0)) / atr
    out["adx_14"] = wilder((plus - minus).abs() / (plus + minus))
    out["atr_14"] = np.sqrt(atr / close)
    out["range_1"] = np.sqrt((high - low) / close)
    out["bollinger_bandwidth_20"] = np.sqrt(4 * close.rolling(20).std(ddof=0) / close.rolling(20).mean())
    out["volatility_72"] = np.sqrt(out["return_1"].rolling(72).std(ddof=0))
    out["obv_20"] = (np.sign(change) * volume).rolling(20).sum() / volume.rolling(20).sum()
    out["volume_sma_20"] = np.log1p(volume / volume.rolling(20).mean())
    week, day = 2 * np.pi * frame.index.dayofweek / 7, 2 * np.pi * frame.index.hour / 24
    out["day_of_week_sine"], out["day_of_week_cosine"] = np.sin(week), np.cos(week)
    out["hour_of_day_sine"], out["hour_of_day_cosine"] = np.sin(day), np.cos(day)
    return out


def barrier_labels(frame: pd.DataFrame, profit: float, stop: float, horizon: int) -> pd.Series:
    """1 where the profit is met before the stop, 0 elsewhere, NaN in the last `horizon` bars."""
    label = pd.Series(np.nan, index=frame.index)
    for step in range(1, horizon + 1):
        label[label.isna() & (frame["Low"].shift(-step) <= frame["Close"] * (1 - stop))] = 0
        label[label.isna() & (frame["High"].shift(-step) >= frame["Close"] * (1 + profit))] = 1
    label = label.fillna(0)
    label.iloc[-horizon:] = np.nan
    return label


def plain() -> None:
    """What a competent analyst writes first: a frame an asset, every window written out as float32, one big array a split.

    Purged and scaled on train like the project's; the market has no gap, and none is looked for.
    """
    settings = YAML(typ="safe").load(Path("params.yaml").read_text())["data"]
    lookback, horizon = settings["lookback"], settings["horizon"]
    assets = []
    for path in sorted(Path(settings["bars"]).glob("*/1Hour/data.parquet")):
        frame = pd.read_parquet(path)
        table = indicators(frame)[settings["features"]]
        table["label"] = barrier_labels(frame, settings["profit"], settings["stop"], horizon)
        assets.append(table.iloc[100:])
    times = np.sort(np.concatenate([table.index.to_numpy() for table in assets]))
    val, test = (times[round(len(times) * share)] for share in np.cumsum(settings["splits"])[:2])
    windows: dict[str, list] = {"train": [], "val": [], "test": []}
    labels: dict[str, list] = {"train": [], "val": [], "test": []}
    for table in assets:
        index = table.index.to_numpy()
        for split, inside in {"train": index < val, "val": (index >= val) & (index < test), "test": index >= test}.items():
            part = table[inside]
            if len(part) < lookback + horizon:
                continue
            X = part[settings["features"]].to_numpy(np.float32)
            found = np.lib.stride_tricks.sliding_window_view(X, lookback, axis=0)[:-horizon].transpose(0, 2, 1)
            windows[split].append(np.ascontiguousarray(found))
            labels[split].append(part["label"].to_numpy()[lookback - 1 : -horizon].astype(np.int8))
    out = Path("data/training_data")
    out.mkdir(parents=True)
    scaler, samples = StandardScaler(), {}
    for split in windows:
        X, y = np.concatenate(windows[split]), np.concatenate(labels[split])
        flat = X.reshape(-1, X.shape[2])
        if split == "train":
            scaler.fit(flat)
        np.save(out / f"{split}_X.npy", np.clip(scaler.transform(flat), -settings["clip"], settings["clip"]).reshape(X.shape))
        np.save(out / f"{split}_y.npy", y)
        samples[split] = {"samples": len(y), "positives": int(y.sum())}
    Path("metrics").mkdir()
    Path("metrics/generate_data.json").write_text(json.dumps({"splits": samples}))


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(label: str, market: Path) -> dict[str, Any]:
    """One run in a process and a directory of its own: seconds, peak bytes, bytes written, samples and positives."""
    module, function, cores = CONTESTANTS[label]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGN_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "src"), str(PROJECT / "benchmarks")])
    if cores:
        environment["CAMPAIGN_JOBS"] = str(cores)
    with tempfile.TemporaryDirectory() as name:
        desk = Path(name)
        yaml = YAML(typ="safe")
        params = yaml.load((PROJECT / "params.yaml").read_text())
        params["data"]["bars"] = str(market)
        with (desk / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        child = [sys.executable, "-c", CHILD, json.dumps([module, function, cores])]
        done = subprocess.run(child, cwd=desk, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{label}: {done.stderr}")
        found = json.loads((desk / "metrics/generate_data.json").read_text())["splits"]
        return json.loads(done.stdout) | {
            "bytes": sum(file.stat().st_size for file in (desk / "data/training_data").iterdir()),
            "found": {split: [part["samples"], part["positives"]] for split, part in found.items()},
        }


def compare(bars: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Medians of interleaved rounds by contestant."""
    labels = [label for label in CONTESTANTS if label != "plain pandas" or bars <= PLAIN_MOST]
    runs: dict[str, list[dict[str, Any]]] = {label: [] for label in labels}
    with tempfile.TemporaryDirectory() as name:
        write_market(Path(name), bars)
        for _ in range(rounds):
            for label in labels:
                runs[label].append(measure(label, Path(name)))
    first = runs[labels[0]][0]["found"]
    assert all(run["found"] == first for label in labels for run in runs[label]), "not the same samples and labels"
    result = {}
    for label in labels:
        row = {key: statistics.median(run[key] for run in runs[label]) for key in runs[label][0] if key != "found"}
        times = [run["seconds"] / ours["seconds"] for run, ours in zip(runs[label], runs["ours, 1 core"], strict=True)]
        result[label] = row | {"bars_per_second": bars / row["seconds"], "times_ours": statistics.median(times)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--large", action="store_true", help="10 million bars too, once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = dict.fromkeys(options.bars, options.rounds) | ({10_000_000: 1} if options.large else {})
    print("      bars                   imports   seconds  processor s     bars/s   time ratio   peak GB  bytes/bar")
    result = {}
    for bars, rounds in sizes.items():
        result[bars] = compare(bars, rounds)
        for label, row in result[bars].items():
            print(
                f"{bars:>10,}  {label:16} {row['imports']:>9.2f} {row['seconds']:>9.2f} {row['processor']:>12.2f} "
                f"{row['bars_per_second']:>10,.0f} {row['times_ours']:>12.2f} {row['peak'] / 1e9:>9.2f} "
                f"{row['bytes'] / bars:>10.0f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
