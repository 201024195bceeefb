"""Estimate, measured peak, and what is held before, in MB, of steps on random views in a process of its own.

python tests/doctor/examined.py CONFIG_JSON STEPS
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import tensorflow as tf

from benchmarks.train_step import random_views
from tf_simclrv2 import ExperimentConfig
from tf_simclrv2.doctor.machine import peak_resident_mb, resident_mb
from tf_simclrv2.doctor.memory_estimate import estimated_mb
from tf_simclrv2.optimization import build_optimizer
from tf_simclrv2.tasks import build_task


def main() -> None:
    """Prints the three numbers."""
    # Each thread of a kernel has a buffer of its own, which no graph tells.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    config = ExperimentConfig.from_json(sys.argv[1])
    task = build_task(config)
    task.compile(build_optimizer(config.optimizer, 0.1))
    step = tf.function(task.train_step)
    batch = random_views(config)
    spec = {name: tf.TensorSpec.from_tensor(tensor) for name, tensor in batch.items()}
    graph = step.get_concrete_function(spec).graph
    held = resident_mb()
    estimate = estimated_mb(graph, input_bytes=0)
    for _ in range(int(sys.argv[2])):
        float(step(batch)["total_loss"])
    print(json.dumps({"held_mb": held, "estimate_mb": estimate, "peak_mb": peak_resident_mb()}))


if __name__ == "__main__":
    main()
