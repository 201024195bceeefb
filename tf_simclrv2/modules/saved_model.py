"""Writes a trained network as a SavedModel that can be called, trained and served without this package."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.data.encoded_images import WHITE, Color
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import CLASS_NAMES_FILE
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.variable_paths import named_variables, variable_tree
from tf_simclrv2.modules.call_results import ENDS, RESULTS, Api
from tf_simclrv2.modules.model_card import ModelCard
from tf_simclrv2.modules.serving_signatures import Endpoints, Infer, serving_signatures


def save_module(
    network: SimCLR,
    path: str,
    config: ExperimentConfig | None = None,
    *,
    api: Api = "endpoints",
    endpoint: str | None = None,
    class_names: Sequence[str] = (),
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network as a SavedModel, with `simclr.json` and a model card.

    The module can be loaded with `tf.saved_model.load`, `HubLayer` or TensorFlow Serving where this package
    is not installed.

    Args:
        network: A built network.
        path: The directory to create.
        config: The run that trained the network, recorded in `simclr.json`; None (the default) omits it.
        api: What a call of the module returns: all endpoints by name (`endpoints`, the default), or one
            tensor, as in TF-Hub's common APIs for images (`feature_vector`, `classification`).
        endpoint: The last endpoint to keep. None (the default) keeps the whole network, or what `api`
            returns: h or the logits.
        class_names: Class names by label, written to the asset `labels.txt` and returned by the signature
            `classes`; () (the default) omits both.
        training: Facts about the training for the model card, such as `global_step` and accuracies; None
            (the default) omits them.

    Raises:
        ConfigError: There is no such endpoint, no classifier for `classification`, or the number of names
            is not the number of classes.

    Example:
        >>> save_module(network, "/tmp/module")
        >>> tf.saved_model.load("/tmp/module")(images, training=False)["final_avg_pool"]
    """
    network = exported_network(network, api, endpoint)
    card = describe(network, config, api, class_names, training)
    module, signatures = reusable_module(network, api, card.data.background_color, card.class_names)
    with tempfile.TemporaryDirectory() as folder:
        if card.class_names:
            card.write_class_names(folder)
            module.class_names = tf.saved_model.Asset(os.path.join(folder, CLASS_NAMES_FILE))
        tf.saved_model.save(module, path, signatures=signatures)
    card.write_description(path)
    card.write_readme(path)


def describe(
    network: SimCLR,
    config: ExperimentConfig | None = None,
    api: Api = "endpoints",
    class_names: Sequence[str] = (),
    training: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Builds the model card of an exported network; arguments and errors are those of `save_module`."""
    class_names = tuple(class_names) if network.config.num_classes else ()
    if class_names and len(class_names) != network.config.num_classes:
        raise ConfigError(
            f"class_names has {len(class_names)} names, but the network has {network.config.num_classes} "
            "classes; pass one name for each."
        )
    return ModelCard(
        model=network.config,
        run=config,
        api=api,
        endpoint_widths=network.endpoint_widths,
        class_names=class_names,
        training=training or {},
        dtype=network.variable_dtype,
    )


def exported_network(network: SimCLR, api: Api = "endpoints", endpoint: str | None = None) -> SimCLR:
    """Returns the part of a network that an export holds, with nothing frozen, so that it can be trained.

    Args:
        network: A built network.
        api: See `save_module`.
        endpoint: See `save_module`.

    Returns:
        The network itself if all of it is exported; else a network of this part with the same weights. Its
        blocks never rematerialize, since a module has no switch for that.

    Raises:
        ConfigError: There is no such endpoint, or no classifier for `classification`.
    """
    if api == "classification" and not network.config.num_classes:
        raise ConfigError("api is 'classification', but the network has no classifier; fine-tune it first.")
    cut = endpoint or ENDS.get(api)
    config = dataclasses.replace(network.config, fine_tune_after_block=-1)
    if cut:
        config = config.truncated(cut, classify=api != "feature_vector")
    if api == "classification" and not config.num_classes:
        raise ConfigError(
            f"endpoint is {cut!r}, which does not feed the classifier; leave it out, or use "
            f"--endpoint=proj_head_{network.config.classifier_layer}."
        )
    if config == network.config and not network.rematerialize:
        return network
    return _copy(network, config, network.dtype_policy)


def in_float32(network: SimCLR) -> SimCLR:
    """Returns the network computing in float32, for serving, whatever precision it was trained in.

    Args:
        network: A built network.

    Returns:
        The network itself if it computes in float32; else a float32 network with the same weights.
    """
    if network.dtype_policy.name == "float32":
        return network
    return _copy(network, network.config, "float32")


def _copy(network: SimCLR, config: ModelConfig, dtype: str | keras.DTypePolicy) -> SimCLR:
    """Builds another network and copies the weights that it shares with the first."""
    copy = SimCLR(config, name=network.name, dtype=dtype)
    copy.build((None, config.image_size, config.image_size, 3))
    weights = named_variables(network)
    for path, variable in named_variables(copy).items():
        variable.assign(keras.ops.convert_to_numpy(weights[path]))
    return copy


def reusable_module(
    network: SimCLR,
    api: Api = "endpoints",
    background: Color = WHITE,
    class_names: Sequence[str] = (),
) -> tuple[tf.train.Checkpoint, dict[str, Callable]]:
    """Wraps a network in TF-Hub's reusable SavedModel interface.

    Args:
        network: A built network that ends at the last endpoint of the API.
        api: See `save_module`.
        background: Red, green and blue in [0, 1] behind what is transparent in an image file.
        class_names: Class names by label; () if they are not known.

    Returns:
        The module and its signatures (see `serving_signatures`). The module has `variables`,
        `trainable_variables` and `regularization_losses`; its `__call__(images, training=False)` takes float
        images [N, H, W, 3] in [0, 1]. It also accepts `trainable=`, as the published modules do. Its
        variables have the paths of a training checkpoint, by which `load_weights` finds them.
    """
    images = tf.TensorSpec([None, None, None, 3], network.variable_dtype, name="images")
    modes = {training: _mode(network, images, training) for training in (False, True)}
    module = tf.train.Checkpoint(model=variable_tree(named_variables(network)))
    module.__call__ = _call(modes, images, RESULTS.get(api))
    module.variables = [variable.value for variable in network.variables]
    module.trainable_variables = [variable.value for variable in network.trainable_variables]
    module.regularization_losses = []
    signatures = serving_signatures(
        modes[False], images, network.config.image_size, network.endpoint_widths, background, class_names
    )
    return module, signatures


def _mode(network: SimCLR, images: tf.TensorSpec, training: bool) -> Infer:
    """Traces the network in one mode, once for all callers; outputs have the dtype of the images."""

    @tf.function(input_signature=[images], autograph=False)
    def run(images: tf.Tensor) -> Endpoints:
        outputs = network(images, training=training)
        return {name: tf.cast(output, images.dtype) for name, output in outputs.items()}

    return run


def _call(
    modes: Mapping[bool, Infer], images: tf.TensorSpec, result: str | None
) -> Callable[..., Endpoints | tf.Tensor]:
    """Makes `call(images, training=False, trainable=None)`; `trainable` takes precedence if it is given."""

    @tf.function
    def call(
        images: tf.Tensor, training: bool = False, trainable: bool | None = None
    ) -> Endpoints | tf.Tensor:
        outputs = modes[training if trainable is None else trainable](images)
        return outputs if result is None else outputs[result]

    # Small graphs around the two large ones.
    for training, trainable in ((False, None), (True, None), (False, False), (False, True)):
        call.get_concrete_function(images, training=training, trainable=trainable)
    return call
