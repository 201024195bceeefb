"""A few steps on two logical CPUs, uncompiled and then in clusters, in a process of their own.

TF_XLA_FLAGS must say that clusters are compiled on CPUs too.

python tests/tasks/clustered_steps.py
"""

from __future__ import annotations

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS
from tf_simclrv2.distribution import devices
from tf_simclrv2.models import resnet
from tf_simclrv2.tasks import build_task

REPLICAS = 2
# Clusters are compiled when they have run a few times.
STEPS = 3


def steps(strategy: tf.distribute.Strategy, mode: str) -> tuple[list[float], int]:
    """The mean loss after each step, from the same weights, and how many clusters the graphs hold."""
    keras.utils.set_random_seed(0)
    config = config_of({"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "compile": mode})
    with strategy.scope():
        task = build_task(config)
        task.compile(LARS(0.3, weight_decay=1e-4))
    parts = [
        {name: tf.constant(np.split(rows, REPLICAS)[replica]) for name, rows in batch_of(config).items()}
        for replica in range(REPLICAS)
    ]
    batch = strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )

    @tf.function
    def step() -> tf.Tensor:
        found = strategy.run(task.train_step, (batch,))
        return strategy.experimental_local_results(found["total_loss"])[0]

    context.enable_graph_collection()
    found = [float(step()) for _ in range(STEPS)]
    graphs = context.export_run_metadata().partition_graphs
    context.disable_graph_collection()
    return found, sum(node.op == "_XlaRun" for graph in graphs for node in graph.node)


def main() -> None:
    """Prints losses and clusters of both."""
    devices.split_cpu(REPLICAS)
    devices.on_cpu = lambda: False  # The ops of accelerators.
    resnet.BLOCKS_PER_GROUP[18] = (0, 0, 0, 1)
    resnet.GROUP_WIDTHS = (8, 8, 8, 8)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{replica}" for replica in range(REPLICAS)])
    # Clustering stays on for the rest of the process.
    print(json.dumps({mode: steps(strategy, mode) for mode in ("none", "cluster")}))


if __name__ == "__main__":
    main()
