"""Start a Ray cluster of several nodes on loopback, and obey: a line `remove` kills a node; the end of input ends all.

Usage: python ray_nodes.py CPUS [CPUS ...]

The first node is the head. CPUS is a number, with `:avx2` after it on a node whose processor passes for a lesser one, and with
`:gpu` on one that Ray takes to have a GPU. Each node has a directory for temporary files of its own. Prints the head's address,
then `removed` after each removal.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the latter: stay on 127.0.0.1
from ray.cluster_utils import Cluster

LESSER = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
with tempfile.TemporaryDirectory() as home:
    cluster, nodes = Cluster(), []
    for node in sys.argv[1:]:
        cpus, _, kind = node.partition(":")
        own = Path(home, str(len(nodes)))
        own.mkdir()
        settings = {"num_cpus": int(cpus), "env_vars": {"TMPDIR": str(own)} | (LESSER if kind == "avx2" else {})}
        settings |= {"num_gpus": 1} if kind == "gpu" else {}
        nodes.append(cluster.add_node(**settings | ({} if nodes else {"include_dashboard": False})))
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("removed", flush=True)
    cluster.shutdown()
