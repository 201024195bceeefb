"""The variables in a file that Keras saved, by the names of layer and variable, in any of its formats."""

from __future__ import annotations

import io
import os
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from tf_simclrv2.errors import CheckpointError

_SUFFIXES = (".h5", ".hdf5", ".keras")
_IN_KERAS_FILE = "model.weights.h5"
# Keras 3 numbers the variables of a layer, in the order in which the layer made them.
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_WEIGHTED_SUM = ("kernel", "bias")


def is_keras_weights_file(path: str) -> bool:
    """Returns whether a path is a file with one of the endings of Keras: `.keras`, `.h5` or `.hdf5`."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix in _SUFFIXES and tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


class KerasWeightsFile:
    """Reads a whole model (`.keras`, `.h5`) or its weights (`.weights.h5`, older `.h5`) without building it.

    Layers of a model inside the model are found like its own.

    Args:
        path: The file.

    Attributes:
        path: The file.
        shapes: Shape of every variable, by `layer/variable`.

    Raises:
        CheckpointError: The file is damaged, or was saved by a Keras that left the names of layers out.

    Example:
        >>> KerasWeightsFile("resnet50.weights.h5").shapes["conv1_conv/kernel"]
        (7, 7, 3, 64)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._variables = _variables(h5py.File(io.BytesIO(_hdf5(path)), "r"))
        except (OSError, KeyError, zipfile.BadZipFile, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"checkpoint {path} cannot be read as a Keras file ({reason}); it is damaged or of "
                "another kind: save it again."
            ) from error
        except ValueError as error:
            raise CheckpointError(f"checkpoint {path} {error}.") from error
        self.shapes = {name: tuple(variable.shape) for name, variable in self._variables.items()}

    def tensor(self, name: str) -> np.ndarray:
        """Returns a variable as it was saved, by `layer/variable`.

        Raises:
            CheckpointError: The file is damaged.
        """
        try:
            return self._variables[name][()]
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {self.path} cannot be read at {name} ({error}); it is damaged: save it again."
            ) from error


def _hdf5(path: str) -> bytes:
    """The HDF5 file that holds the weights, which a `.keras` file wraps."""
    with tf.io.gfile.GFile(path, "rb") as file:
        contents = file.read()
    if not path.lower().endswith(".keras"):
        return contents
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        return archive.read(_IN_KERAS_FILE)


def _variables(file: h5py.File) -> dict[str, h5py.Dataset]:
    found: dict[str, h5py.Dataset] = {}

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) or path.startswith("optimizer"):
            return
        name = _name(path, item)
        if name in found:
            raise ValueError(f"holds {name} twice; save the model that you want to start from alone")
        found[name] = item

    file.visititems(visit)
    return found


def _name(path: str, variable: h5py.Dataset) -> str:
    *_, scope, last = ("", *path.split("/"))
    if scope != "vars":
        return f"{scope}/{last.split(':')[0]}"
    layer = variable.parent.attrs.get("name")
    if layer is None:
        raise ValueError(
            "was saved by a version of Keras that omitted the names of the layers; load it there and save it "
            "with model.save('name.h5')"
        )
    names = _BATCH_NORM if len(variable.parent) == len(_BATCH_NORM) else _WEIGHTED_SUM
    return f"{layer}/{names[int(last)] if int(last) < len(names) else last}"
