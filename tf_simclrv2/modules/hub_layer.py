"""Wraps a reusable SavedModel in a trainable Keras 3 layer; `hub.KerasLayer` supports only Keras 2."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.errors import ConfigError, ExportError
from tf_simclrv2.models.untracked import Untracked
from tf_simclrv2.modules.module_archive import ARCHIVE_SUFFIX, unpack_module


@keras.saving.register_keras_serializable("tf_simclrv2")
class HubLayer(keras.layers.Layer):
    """Calls a module that `save_module` or `python -m export` wrote, or another reusable SavedModel.

    Use it to build a Keras model on an exported network, and to fine-tune the network with it.

    Args:
        handle: The SavedModel's directory, or its `.tar.gz`. A saved Keras model stores only this path, so
            the module must still be there when that model is loaded.
        endpoint: The endpoint to return, for a module that returns several; None (the default) returns
            whatever the module returns.
        trainable: If True (the default), the module's variables are trained, and batch norm uses batch
            statistics while training. If False, the module always runs in inference mode.

    Call arguments:
        images: float32 [N, H, W, 3] in [0, 1].
        training: Whether the layer is called for training; False by default.

    Output: One endpoint, or a dict of all endpoints by name.

    Raises:
        ExportError: There is no module, or it is not reusable.
        ConfigError: The module has no such endpoint.

    Example:
        >>> images = keras.Input((224, 224, 3))
        >>> features = HubLayer("module", endpoint="proj_head_1", trainable=True)(images)
        >>> model = keras.Model(images, keras.layers.Dense(10)(features))
    """

    def __init__(
        self, handle: str, endpoint: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.handle = handle
        self.endpoint = endpoint
        module = _load(handle)
        # Keras tracks variables of its own kind: these share the module's storage.
        trained = {id(variable) for variable in module.trainable_variables}
        self.module_variables = [
            keras.Variable(
                variable,
                trainable=id(variable) in trained,
                dtype=variable.dtype.name,
                name=variable.name.split(":")[0].replace("/", "_"),
            )
            for variable in module.variables
        ]
        self.trainable = trainable  # Set last: Keras propagates it to existing variables only.
        self._module = Untracked(module)
        if endpoint is not None:
            self._refuse_unknown_endpoint(module)
        self.built = True

    def _refuse_unknown_endpoint(self, module: Any) -> None:
        images = tf.TensorSpec([None, None, None, 3], tf.float32)
        outputs = tf.function(lambda x: module(x, training=False)).get_concrete_function(images)
        known = outputs.structured_outputs
        if not isinstance(known, dict) or self.endpoint not in known:
            names = ", ".join(known) if isinstance(known, dict) else "no named endpoints; leave it out"
            raise ConfigError(f"endpoint is {self.endpoint!r}, but the module {self.handle!r} has {names}.")

    def call(self, images: tf.Tensor, training: bool = False) -> Any:
        outputs = self._module.value(images, training=bool(training and self.trainable))
        return outputs if self.endpoint is None else outputs[self.endpoint]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "handle": self.handle, "endpoint": self.endpoint}


def _load(path: str) -> Any:
    if path.endswith(ARCHIVE_SUFFIX):
        with tempfile.TemporaryDirectory() as directory:
            unpack_module(path, directory)
            return _load(directory)
    if not tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
        raise ExportError(f"handle is {path!r}, which is not a SavedModel; make one with python -m export.")
    module = tf.saved_model.load(path)
    if not (callable(module) and hasattr(module, "trainable_variables")):
        raise ExportError(
            f"handle is {path!r}, a SavedModel that is not reusable (it has no __call__ or no "
            "trainable_variables); make one with python -m export."
        )
    return module
