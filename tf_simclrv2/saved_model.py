"""A trained network as a SavedModel that can be called, and trained further, without this package."""

from __future__ import annotations

import os

import tensorflow as tf

from tf_simclrv2.config import CONFIG_FILE, ExperimentConfig
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.variable_paths import named_variables, variable_tree


def reusable_module(network: SimCLR) -> tf.train.Checkpoint:
    """Wraps a network as TF-Hub's reusable SavedModel interface wants it.

    Args:
        network: A built network.

    Returns:
        An object whose `__call__(images, training=False)` returns every endpoint by name, with
        `variables`, `trainable_variables` and `regularization_losses`. The saved file holds the
        tree of names of a training checkpoint, by which `load_weights` finds them.
    """
    module = tf.train.Checkpoint(model=variable_tree(named_variables(network)))
    images = tf.TensorSpec([None, None, None, 3], network.compute_dtype, name="images")

    @tf.function
    def call(images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        return network(images, training=training)

    for training in (False, True):
        call.get_concrete_function(images, training=training)
    module.__call__ = call
    module.variables = [variable.value for variable in network.variables]
    module.trainable_variables = [variable.value for variable in network.trainable_variables]
    module.regularization_losses = []
    return module


def save_module(network: SimCLR, path: str, config: ExperimentConfig | None = None) -> None:
    """Writes a network as a SavedModel.

    Args:
        network: A built network.
        path: Directory to make.
        config: The run that trained it, left as `config.json` inside, so that the directory can be
            fine-tuned from.

    Example:
        >>> save_module(network, "/tmp/module")
        >>> tf.saved_model.load("/tmp/module")(images, training=False)["final_avg_pool"]
    """
    tf.saved_model.save(reusable_module(network), path)
    if config is not None:
        with tf.io.gfile.GFile(os.path.join(path, CONFIG_FILE), "w") as file:
            file.write(config.to_json())
