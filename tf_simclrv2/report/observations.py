"""Stores a network's output for some images in a small file, from which the report is made."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from tf_simclrv2.files import write_atomically
from tf_simclrv2.report.duplicates import Duplicates
from tf_simclrv2.report.thumbnails import pack, unpack

OBSERVATIONS_FILE = "report_data.npz"
_TUPLES = ("class_names", "names", "view_names")
# In files, as earlier versions wrote them.
_PAIRS = "twins_"
# What reading such a file can raise if it is damaged or cannot be reached.
READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    tf.errors.OpError,
)


class DamagedObservations(ValueError):
    """The file cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class Observations:
    """A network's output for N images, with their thumbnails.

    Attributes:
        images: uint8 [N, s, s, 3 or 4], thumbnails.
        labels: int64 [N], -1 for an image without a label.
        predictions: int64 [N], of the network's classifier; -1 if there is none.
        votes: int64 [N], the class that the nearest other images vote for; -1 without labels.
        neighbors: int64 [N, K], the most similar other images, the nearest first.
        features: float32 [N, D], the first principal components of the unit-length h.
        views: uint8 [P, V, s, s, 3], V augmented views of P training images.
        similarity: float32 [R, R], cosines within one batch.
        similarity_of_views: If True, rows are first views and columns second views of R images; if False,
            both are the same images, ordered by class.
        class_names: Class names by label; () if they are not known.
        source: The name of the images' source.
        step: The training step of the network.
        train_examples: The number of images that the network was trained on.
        numbers: Measures of the full h, by name.
        names: The name of each image; () if they are not known.
        folder: The absolute path of the folder that the names are relative to; "" if they name no files.
        examples: The number of images in the source, of which these are some; 0 if it is not known.
        view_names: The names of the P training images.
        view_folder: As `folder`, for these.
        confusions: For each classifier that was tested on the whole source, rows of true class, predicted
            class and number of images.
        duplicates: Near-duplicates within the splits and between them.
        train_labels: How many training images have a label; 0 if it is not known.
    """

    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    votes: np.ndarray
    neighbors: np.ndarray
    features: np.ndarray
    views: np.ndarray
    similarity: np.ndarray
    similarity_of_views: bool
    class_names: tuple[str, ...]
    source: str
    step: int
    train_examples: int
    numbers: dict[str, float]
    names: tuple[str, ...] = ()
    folder: str = ""
    examples: int = 0
    view_names: tuple[str, ...] = ()
    view_folder: str = ""
    confusions: dict[str, list[list[int]]] = dataclasses.field(default_factory=dict)
    duplicates: tuple[Duplicates, ...] = ()
    train_labels: int = 0

    @property
    def has_labels(self) -> bool:
        return bool(np.any(self.labels >= 0))

    def name_of(self, label: int) -> str:
        """Returns the name of a class, or its number if the name is not known."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    def class_of(self, label: int) -> str:
        """Returns the name of an image's class; empty without a label."""
        return self.name_of(label) if label >= 0 else ""

    def image_name(self, index: int) -> str:
        """Returns the name of an image, or its number if the name is not known."""
        return self.names[index] if self.names else f"image {index}"

    def save(self, directory: str) -> str:
        """Writes `report_data.npz` and returns its path."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in values.items() if name not in arrays}
        plain["duplicates"] = [found.plain() for found in self.duplicates]
        arrays |= {f"{_PAIRS}{i}": found.images for i, found in enumerate(self.duplicates)}
        arrays["shape"] = np.array(self.images.shape[:2])
        arrays["images"] = pack(self.images)
        arrays["plain"] = np.array(json.dumps(plain))
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        path = os.path.join(directory, OBSERVATIONS_FILE)
        write_atomically(path, file.getvalue())
        return path

    @classmethod
    def load(cls, directory: str) -> Observations | None:
        """Reads `report_data.npz`; returns None if there is none.

        Raises:
            DamagedObservations: The file is damaged, or from another version.
        """
        path = os.path.join(directory, OBSERVATIONS_FILE)
        if not tf.io.gfile.exists(path):
            return None
        try:
            with tf.io.gfile.GFile(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
                values = dict(arrays)
            plain = json.loads(str(values.pop("plain")))
            count, size = values.pop("shape").tolist()
            values["images"] = unpack(values["images"], count, size)
            plain |= {name: tuple(plain[name]) for name in _TUPLES if name in plain}
            stored = enumerate(plain.get("duplicates", []))
            plain["duplicates"] = tuple(Duplicates.of_plain(r, values.pop(f"{_PAIRS}{i}")) for i, r in stored)
            return cls(**values, **plain)
        except READ_ERRORS as error:
            raise DamagedObservations(str(error) or type(error).__name__) from error
