"""Embeddings of images, with what is known about each image and about the network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from tf_simclrv2.errors import DataError


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where embeddings come from.

    Attributes:
        network: The name of the weights, see `network_identity`; "" if it is not known.
        network_path: The model_dir, checkpoint or SavedModel that held them.
        endpoint: The endpoint of the network.
        folder: The absolute path of the folder that the names of the images are relative to; "" if they name
            no files.
        background: What transparent images were laid on, as `DataConfig.background`.
    """

    network: str = ""
    network_path: str = ""
    endpoint: str = ""
    folder: str = ""
    background: str = "white"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Origin:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or not values.keys() <= {f.name for f in dataclasses.fields(cls)}:
            raise ValueError("its origin is not described as expected")
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings of N images.

    Attributes:
        names: str [N], the name of each image: in a folder, its path within the folder.
        classes: str [N], the class of each image; "" if it is not known.
        predictions: str [N], the class that the network's classifier predicts; "" without a classifier.
        probabilities: float32 [N], of the predicted class; NaN without a classifier.
        margins: float32 [N], by how much that probability exceeds the next one; NaN without a classifier.
        vectors: float32 [N, width]; may be memory-mapped.
        origin: Where they come from.
    """

    names: np.ndarray
    classes: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    margins: np.ndarray
    vectors: np.ndarray
    origin: Origin = Origin()

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Joins embeddings, at least one, of the same origin."""
        values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return cls(**values, origin=parts[0].origin)

    def rows(self, chosen: np.ndarray) -> Embeddings:
        """Returns the embeddings of some images, in the order of `chosen`, int [n]."""
        values = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        return Embeddings(**values, origin=self.origin)

    def rows_of(self, names: list[str], where: str) -> np.ndarray:
        """Returns the row of each name, int [len(names)].

        Args:
            names: Names of images.
            where: What holds these names, for the message.

        Raises:
            DataError: A name is unknown.
        """
        rows = {name: row for row, name in enumerate(self.names.tolist())}
        unknown = [name for name in names if name not in rows]
        if unknown:
            raise DataError(
                f"{where} names {unknown[0]!r}, which is none of the {len(self):,} embedded images, such as "
                f"{self.names[0]!r}; write names as they appear in the embedding file."
            )
        return np.array([rows[name] for name in names], np.int64)

    def of_same_network(self, other: Embeddings, what: str) -> None:
        """Refuses embeddings that cannot be compared with these.

        Args:
            other: The other ones.
            what: What they are, for the message.

        Raises:
            DataError: Another network or endpoint made them, or their widths differ.
        """
        ours, theirs = self.origin, other.origin
        if self.vectors.shape[1] != other.vectors.shape[1] or (
            ours.network
            and theirs.network
            and (ours.network, ours.endpoint) != (theirs.network, theirs.endpoint)
        ):
            raise DataError(
                f"{what} is of {theirs.endpoint or 'an endpoint'} of {theirs.network_path or 'a network'} "
                f"(weights {theirs.network or 'unknown'}, width {other.vectors.shape[1]}), but the other "
                f"embeddings are of {ours.endpoint or 'an endpoint'} of "
                f"{ours.network_path or 'a network'} (weights {ours.network or 'unknown'}, width "
                f"{self.vectors.shape[1]}); embed both with the same network."
            )


_ARRAYS = tuple(field.name for field in dataclasses.fields(Embeddings) if field.name != "origin")
