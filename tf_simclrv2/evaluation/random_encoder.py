"""A network with random weights, as a fair baseline of a trained one."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Source
from tf_simclrv2.evaluation.split_features import split_batches
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.private_api import layers_within


def random_encoder(
    network: SimCLR,
    source: Source,
    config: ExperimentConfig,
    strategy: tf.distribute.Strategy | None = None,
) -> SimCLR:
    """Creates a network of the same shape with random weights.

    In a newly initialized network residual branches are off and the statistics of batch norm fit no images.
    Here the branches are on, and the statistics are those of a batch of images.

    Args:
        network: The network whose shape it has.
        source: The images; the first batch is used.
        config: See `split_batches`.
        strategy: What it is made under; by default the strategy in scope.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.
    """
    shape = dataclasses.replace(network.config, batch_norm_decay=0.0, fine_tune_after_block=-1)
    with (strategy or tf.distribute.get_strategy()).scope():
        random = SimCLR(shape, name="random", dtype=network.dtype_policy)
        random.build((None, shape.image_size, shape.image_size, 3))
    for norm in (layer for layer in layers_within(random) if isinstance(layer, BatchNormRelu)):
        norm.gamma.assign(tf.ones_like(norm.gamma))
    with split_batches(source, config) as batches:
        batch = next(iter(batches))
    random(batch["image"][batch["mask"]], training=True)
    return random
