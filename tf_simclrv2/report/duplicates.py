"""Stores pairs of images that a network can hardly tell apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# Cosine of h above which two images are called near-duplicates.
LEAST = 0.99
# Above this median cosine of different images, the network finds everything alike.
ALIKE = 0.9


@dataclasses.dataclass(frozen=True)
class DuplicatePair:
    """A pair of images that are nearly the same to the network.

    Attributes:
        names: Of both.
        folders: The folder that each name is relative to; see `SplitSample`.
        labels: Of both; -1 for none.
        cosine: Of their h.
    """

    names: tuple[str, str]
    folders: tuple[str, str]
    labels: tuple[int, int]
    cosine: float


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """The near-duplicates within a split, or between two.

    Attributes:
        sources: The names of the splits.
        looked_at: For each split, how many images were looked at, and how many it has.
        count: The number of pairs.
        same_files: The number of files that are in both splits; they are not pairs.
        pairs: The most similar of them, the most similar first.
        images: uint8 [P, 2, s, s, 3 or 4], thumbnails of the pairs.
    """

    sources: tuple[str, ...]
    looked_at: tuple[tuple[int, int], ...]
    count: int
    same_files: int
    pairs: tuple[DuplicatePair, ...]
    images: np.ndarray

    def plain(self) -> dict[str, Any]:
        """Returns everything but the images for JSON."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "images"}

    @classmethod
    def of_plain(cls, plain: dict[str, Any], images: np.ndarray) -> Duplicates:
        """Rebuilds what `plain` returned."""
        pairs = [
            DuplicatePair(tuple(p["names"]), tuple(p["folders"]), tuple(p["labels"]), p["cosine"])
            for p in plain["pairs"]
        ]
        looked_at = tuple((some, all_) for some, all_ in plain["looked_at"])
        return cls(
            tuple(plain["sources"]), looked_at, plain["count"], plain["same_files"], tuple(pairs), images
        )
