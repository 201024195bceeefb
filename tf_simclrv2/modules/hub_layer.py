"""Wraps a reusable SavedModel in a trainable Keras 3 layer; `hub.KerasLayer` supports only Keras 2."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.errors import ConfigError, ExportError
from tf_simclrv2.literal_path import literal_path
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
        **kwargs: Further arguments of `keras.layers.Layer`. The module computes in its own precision, float32
            for an export, whatever the dtype policy is; the policy only decides the dtype of the output. For
            float32 features in a mixed-precision model, pass `dtype="float32"`.

    Call arguments:
        images: [N, H, W, 3], of any float dtype in [0, 1], or uint8 in [0, 255], which is scaled to [0, 1].
            In a functional or sequential model, uint8 needs `keras.Input(..., dtype="uint8")`: Keras turns
            what is passed to another input into floats without scaling it.
        training: Whether the layer is called for training; False by default.

    Output: One endpoint, or a dict of all endpoints by name, in the compute dtype of the layer.

    Raises:
        ExportError: There is no module, or it is not reusable.
        ConfigError: The module has no such endpoint, or the images are integers other than uint8.

    Example:
        >>> images = keras.Input((224, 224, 3))
        >>> features = HubLayer("module", endpoint="proj_head_1", trainable=True)(images)
        >>> model = keras.Model(images, keras.layers.Dense(10)(features))
    """

    def __init__(
        self, handle: str, endpoint: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        # Keras would round the images to half precision before the call, and the module does not take those.
        super().__init__(**{"autocast": False, **kwargs})
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
        self._input_dtypes = _input_dtypes(module)
        if endpoint is not None:
            self._refuse_unknown_endpoint(module)
        self.built = True

    def _refuse_unknown_endpoint(self, module: Any) -> None:
        known = module.__call__.concrete_functions[0].structured_outputs
        if not isinstance(known, dict) or self.endpoint not in known:
            names = ", ".join(known) if isinstance(known, dict) else "no named endpoints; leave it out"
            raise ConfigError(f"endpoint is {self.endpoint!r}, but the module {self.handle!r} has {names}.")

    def call(self, images: tf.Tensor, training: bool = False) -> Any:
        images = self._as_module_takes(images)
        outputs = self._module.value(images, training=bool(training and self.trainable))
        outputs = outputs if self.endpoint is None else outputs[self.endpoint]
        return tf.nest.map_structure(self._as_policy_says, outputs)

    def _as_module_takes(self, images: Any) -> Any:
        """Converts images to the dtype of a module that takes floats; returns any other input unchanged."""
        floats = [dtype for dtype in self._input_dtypes if dtype.is_floating]
        if not floats or images.dtype in self._input_dtypes:
            return images
        if images.dtype.is_floating or images.dtype == tf.uint8:
            return tf.image.convert_image_dtype(images, floats[0])
        raise ConfigError(
            f"images are {images.dtype.name}, but the module {self.handle!r} takes floats in [0, 1]; pass "
            "those, or uint8 in [0, 255]."
        )

    def _as_policy_says(self, output: tf.Tensor) -> tf.Tensor:
        return tf.cast(output, self.compute_dtype) if output.dtype.is_floating else output

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "handle": self.handle, "endpoint": self.endpoint}


def _load(path: str) -> Any:
    if path.endswith(ARCHIVE_SUFFIX):
        with tempfile.TemporaryDirectory() as directory:
            unpack_module(path, directory)
            return _load(directory)
    if not tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
        raise ExportError(f"handle is {path!r}, which is not a SavedModel; make one with python -m export.")
    module = tf.saved_model.load(literal_path(path))
    if not (callable(module) and hasattr(module, "trainable_variables")):
        raise ExportError(
            f"handle is {path!r}, a SavedModel that is not reusable (it has no __call__ or no "
            "trainable_variables); make one with python -m export."
        )
    return module


def _input_dtypes(module: Any) -> tuple[tf.DType, ...]:
    """Returns the dtypes that a module was traced for; none if its first argument is not a tensor."""
    arguments = [function.structured_input_signature[0] for function in module.__call__.concrete_functions]
    specs = [first for first, *_ in arguments if isinstance(first, tf.TensorSpec)]
    return tuple(dict.fromkeys(spec.dtype for spec in specs))
