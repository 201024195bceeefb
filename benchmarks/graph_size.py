"""How large the graph of a pretraining step is: its operations, sums over replicas, and the time of tracing.

    python benchmarks/graph_size.py [--case=NAME ...] [--replicas=2] [--json=FILE]

Nothing is computed. Each case is traced in a process of its own, on so many logical CPUs, twice: with the
operations that the library chooses for accelerators, and with those for CPUs. A sum over replicas counts
once, however many tensors travel in it. Prints a table; --json keeps the numbers.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import sys
import time
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.machine import machine
from benchmarks.train_step import pretraining_config, pretraining_task
from tf_simclrv2 import ModelConfig, TrainingConfig
from tf_simclrv2.distribution import devices

# Small images and batches: neither changes the number of operations.
R18 = ModelConfig(resnet_depth=18, image_size=16)
R50 = ModelConfig(resnet_depth=50, image_size=32)
ROWS_OF_A_PART = 8
# Network and micro-batches; 1 has none.
CASES = {
    "r18": (R18, 1),
    "r18_2_parts": (R18, 2),
    "r18_8_parts": (R18, 8),
    "r50": (R50, 1),
}
KINDS = ("accelerators", "CPUs")


def operations(graph: tf.Graph) -> collections.Counter[str]:
    """Operations by type, with those of the functions that the graph calls."""
    plain = graph.as_graph_def()
    nodes = [*plain.node, *(node for function in plain.library.function for node in function.node_def)]
    return collections.Counter(node.op for node in nodes)


def measure(model: ModelConfig, parts: int, replicas: int, on_cpu: bool) -> dict[str, Any]:
    """What the step of a network is traced to, on logical CPUs that are there already."""
    rows = ROWS_OF_A_PART * parts
    training = TrainingConfig(
        train_batch_size=rows * replicas, microbatch_size=ROWS_OF_A_PART * replicas if parts > 1 else 0
    )
    names = [f"CPU:{i}" for i in range(replicas)]
    strategy = tf.distribute.MirroredStrategy(names) if replicas > 1 else tf.distribute.get_strategy()
    with mock.patch.object(devices, "on_cpu", lambda: on_cpu):
        with strategy.scope():
            task = pretraining_task(pretraining_config(model, training))
        views = tf.TensorSpec([rows, model.image_size, model.image_size, 3])
        numbers = tf.TensorSpec([rows], tf.int64)
        batch = {"view_1": views, "view_2": views, "label": numbers, "key": numbers}
        step = tf.function(lambda batch: strategy.run(task.train_step, (batch,)), autograph=False)
        start = time.perf_counter()
        graph = step.get_concrete_function(batch).graph
        seconds = time.perf_counter() - start
    found = operations(graph)
    # Every replica has an operation of its own for the sum that they make together.
    sums = sum(count for name, count in found.items() if name.startswith("CollectiveReduce")) / replicas
    return {"operations": found.total(), "sums": sums, "tracing_s": seconds}


def main() -> None:
    """Traces the cases that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        devices.split_cpu(arguments.replicas)
        on_cpu = arguments.here == "CPUs"
        print(json.dumps(measure(*CASES[arguments.case[0]], arguments.replicas, on_cpu)))
        return
    print(f"{machine()}\n")
    print("| step | as traced for | replicas | operations | sums over replicas | traced in, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    results: dict[str, dict[str, Any]] = {}
    for case in arguments.case or CASES:
        for kind in KINDS:
            words = [f"--case={case}", f"--replicas={arguments.replicas}", f"--here={kind}"]
            found = numbers_of([sys.executable, __file__, *words])
            results.setdefault(case, {})[kind] = found
            columns = [
                case,
                kind,
                str(arguments.replicas),
                f"{found['operations']:,}",
                f"{found['sums']:.0f}",
            ]
            print(f"| {' | '.join(columns)} | {found['tracing_s']:.1f} |", flush=True)
    if arguments.json:
        numbers = {"machine": machine(), "replicas": arguments.replicas, "cases": results}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
