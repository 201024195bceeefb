"""A model in Keras's own format, which keeps what is frozen; the older format, which fails, is refused."""

from __future__ import annotations

import os
from typing import Any, Self

import keras

from tf_simclrv2.errors import ExportError
from tf_simclrv2.models.freezing import freeze_only, frozen_paths


class KerasFileModel(keras.Model):
    """A `keras.Model` whose files keep which of its layers are frozen, and whose `save` refuses HDF5.

    Keras keeps only `trainable` of the model itself. It writes HDF5 files of models that are Python classes,
    but fails to load them.
    """

    _frozen_when_saved: tuple[str, ...] | None = None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen_layers": frozen_paths(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Self:
        config = dict(config)
        frozen = config.pop("frozen_layers", None)  # A file of an earlier version has none.
        model = super().from_config(config, custom_objects)
        if frozen is not None:
            model._frozen_when_saved = tuple(frozen)
            freeze_only(model, frozen)
        return model

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(config)
        if self._frozen_when_saved is not None:  # Building has made further layers.
            freeze_only(self, self._frozen_when_saved)

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
