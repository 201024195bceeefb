"""A reusable SavedModel as a Keras 3 layer that trains; `hub.KerasLayer` knows only Keras 2."""

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

    Args:
        handle: The SavedModel's directory, or its `.tar.gz`. It must be there when the layer is loaded again.
        endpoint: Which of a module's endpoints to return; None returns what the module does.
        trainable: Train its variables, and use batch statistics while training; False runs it in
            inference mode always.

    Call arguments:
        images: float32 [N, H, W, 3] in [0, 1].
        training: As in every layer.

    Output: The endpoint, or a dict of all.

    Raises:
        ExportError: There is no module, or it is not reusable.
        ConfigError: It has no such endpoint.

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
            names = ", ".join(known) if isinstance(known, dict) else "none by name"
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
        raise ExportError(f"handle is {path!r}, which holds no SavedModel; make one with python -m export.")
    module = tf.saved_model.load(path)
    if not (callable(module) and hasattr(module, "trainable_variables")):
        raise ExportError(
            f"handle is {path!r}, a SavedModel that is not reusable (it has no __call__ or no "
            "trainable_variables); make one with python -m export."
        )
    return module
