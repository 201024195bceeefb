"""A model that Keras saves in its own format only, since it cannot read what it writes in the older one."""

from __future__ import annotations

import os
from typing import Any

import keras

from tf_simclrv2.errors import ExportError


class KerasFileModel(keras.Model):
    """A `keras.Model` whose `save` refuses HDF5.

    Keras writes HDF5 files of models that are Python classes, but fails to load them.
    """

    def save(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Saves the model as a `.keras` file; see `keras.Model.save` for the arguments.

        Raises:
            ExportError: The file is an HDF5 file.
        """
        stem, suffix = os.path.splitext(os.fspath(filepath))
        if suffix in (".h5", ".hdf5"):
            raise ExportError(
                f"filepath is {os.fspath(filepath)!r}, but Keras cannot load a {type(self).__name__} from an "
                f"HDF5 file; save it as {stem + '.keras'!r}."
            )
        super().save(filepath, *args, **kwargs)
