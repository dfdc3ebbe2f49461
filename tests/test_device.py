"""Training on a CUDA device that is not there: what lies where, and that no step waits for the device.

`cuda_stand_in` has tensors without values on a device that does nothing. Numbers, speed, cuDNN's layers and the CUDA graph
are for the tests marked `gpu`.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from scaffold import PROJECT

STAND_IN = Path(__file__).parent / "cuda_stand_in"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on PATH to build the stand-in of a device with"),
    pytest.mark.skipif(
        torch.backends.cuda.is_built(), reason="this PyTorch has the real device's code, which would be in the way"
    ),
]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library, torch_home = tmp_path_factory.mktemp("stand-in") / "device.so", Path(torch.__file__).parent
    command = ["g++", "-std=c++17", "-shared", "-fPIC", f"-I{torch_home / 'include'}", STAND_IN / "device.cpp", "-o", library]
    libraries = [f"-L{torch_home / 'lib'}", f"-Wl,--no-as-needed,-rpath,{torch_home / 'lib'}", "-lc10", "-ltorch_cpu"]
    built = subprocess.run([*command, *libraries], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return library


def train(device: Path, network: str, precision: str, members: int) -> tuple[int, int, int]:
    """Steps, operations in them, and launches of Triton's kernels."""
    command = [sys.executable, "-W", "ignore", STAND_IN / "train.py", network, precision, str(members)]
    environment = {"LD_PRELOAD": str(device), "PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{PROJECT / 'benchmarks'}"}
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps, operations, launches = map(int, done.stdout.split())
    assert steps == 3 * (300 // 128)
    return steps, operations, launches


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        ("mlp", "float32"),
        ("mlp", "bfloat16"),
        ("lstm", "float32"),
        ("lstm", "bfloat16"),
        ("gru", "bfloat16"),
        ("cnn_lstm", "bfloat16"),
    ],
)
def test_a_training_stays_on_the_device(device, network, precision):
    steps, operations, launches = train(device, network, precision, 0)
    assert operations > 50 * steps
    assert launches == 0


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (make triton)")
@pytest.mark.parametrize(
    ("network", "precision", "members", "own"),
    [
        ("mlp", "float32", 1, 3 * 2),
        ("mlp", "bfloat16", 3, 3 * 2),
        ("lstm", "bfloat16", 1, 4 + 2 + 4),
        ("lstm", "bfloat16", 3, 4 + 2 + 4),
        ("gru", "bfloat16", 3, 4 + 2 + 4),
        ("cnn_lstm", "bfloat16", 3, 2 + 2 + 4),
    ],
)
def test_a_group_stays_on_the_device(device, network, precision, members, own):
    """`own` launches a step for layers forward and backward, and five for loss, clipping and AdamW, whatever the members.

    Each kernel is compiled with what it is given there, and fits an H100.
    """
    steps, operations, launches = train(device, network, precision, members)
    assert launches == (own + 5) * steps
    assert operations > 20 * steps
