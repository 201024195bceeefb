"""The momentum encoder: a network whose weights are a moving average of another network's."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.untracked import Untracked
from tf_simclrv2.private_api import run_for_all_replicas


class MomentumEncoder(keras.layers.Layer):
    """Computes the keys of the memory bank, with weights that slowly follow an online network's.

    It has the encoder and the projection head of the online network, but not its classifier. The gammas and
    betas of batch norm are averaged like all weights. Its statistics are not: the momentum encoder runs in
    training mode, on the statistics of its own batch (global ones if the online network uses global ones),
    and its moving statistics follow its own activations. Training never reads those; they are kept so that
    the momentum encoder can be evaluated like any network.

    Args:
        online: The network to follow; it must be built.
        decay: Weight of the old average, in [0, 1].

    Reference: MoCo, arXiv 1911.05722, section 3.2.
    """

    def __init__(self, online: SimCLR, decay: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = dataclasses.replace(online.config, num_classes=0)
        self.network = SimCLR(config, name="momentum", dtype=online.dtype_policy)
        self.network.build((None, config.image_size, config.image_size, 3))
        self.decay = decay
        pairs = zip(_averaged_weights(self.network), _averaged_weights(online), strict=True)
        # The online variables are not this layer's.
        self._pairs = Untracked(tuple((average.value, source.value) for average, source in pairs))
        self.built = True

    def call(self, images: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Returns the projections [N, D] of images [N, H, W, 3], through which no gradient flows."""
        return tf.stop_gradient(self.network(images, training=training)["proj_head_output"])

    def follow(self, step: tf.Tensor) -> None:
        """Moves the averages towards the online weights; at step 0 it copies them.

        Args:
            step: Integer scalar, steps done so far.
        """
        # In the precision of the weights; otherwise a float64 run would average with a float32 decay.
        decay = tf.constant(self.decay, self.network.variable_dtype)
        decay = tf.where(tf.equal(step, 0), tf.zeros_like(decay), decay)

        def move(average: tf.Variable, source: tf.Variable) -> None:
            average.assign(decay * average + (1.0 - decay) * source)

        def move_all(strategy: tf.distribute.Strategy) -> None:
            with tf.name_scope("momentum_average"):  # Its name in a profile.
                for average, source in self._pairs.value:
                    strategy.extended.update(average, move, args=(source,), group=False)

        # Replicas may not assign to trainable variables on their own, so all are updated together.
        run_for_all_replicas(move_all)


def _averaged_weights(network: SimCLR) -> list[keras.Variable]:
    return [*network.resnet.trainable_variables, *network.projection_head.trainable_variables]
