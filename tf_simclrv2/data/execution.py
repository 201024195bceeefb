"""How tf.data runs a pipeline: on all cores, in order, some batches ahead of the step, tuning nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# While a step computes, the next batch is made, and one more lies ready in case that a batch takes longer.
BATCHES_AHEAD = 2


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(records: tf.data.Dataset, function: Callable[[Any], Any]) -> tf.data.Dataset:
    """Maps records on all cores of this machine, and keeps their order.

    Args:
        records: Of a dataset.
        function: Of a record, in TensorFlow's ops.
    """
    # Its graph is written without Python's `if`, and AutoGraph would read the source of all that it calls.
    unconverted = tf.autograph.experimental.do_not_convert(function)
    return records.map(unconverted, num_parallel_calls=available_cores(), deterministic=True)


def run_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Makes batches before they are asked for, as all pipelines here run."""
    return batches.prefetch(BATCHES_AHEAD).with_options(execution_options())


def execution_options() -> tf.data.Options:
    """Returns the options of every pipeline, for what is not made by `run_ahead`."""
    options = tf.data.Options()
    options.deterministic = True
    # Tuning runs in a thread that sleeps ever longer, up to a minute. When an iterator ends, TensorFlow 2.20
    # wakes it before it says that all is over; if the thread is quick, it sleeps again, and all wait for it.
    options.autotune.enabled = False
    # A worker's share is chosen here; a shard by files or by elements would change the batches.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
