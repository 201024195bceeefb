"""Which images of a dataset a source holds, as positions in its splits: whether two sources share any."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Extent:
    """Consecutive images of one split.

    Attributes:
        split: The split, by a path that no other split has.
        start: Position of the first image.
        stop: Position after the last one.
    """

    split: str
    start: int
    stop: int

    def shared(self, other: Extent) -> int:
        """Returns how many images both hold."""
        if self.split != other.split:
            return 0
        return max(0, min(self.stop, other.stop) - max(self.start, other.start))


def extents_of(split: str, infos: Mapping[str, Any]) -> list[Extent]:
    """Returns the slices that a split expression names, in its order.

    Args:
        split: A TFDS split expression.
        infos: What TFDS knows of each split by its name, its `num_examples` at least.

    Raises:
        ValueError: A slice goes beyond its split, or the expression is none.
        KeyError: There is no such split.
        AttributeError: A slice is in shards, of which the infos say nothing.

    Example:
        >>> extents_of("train[90%:]", {"train": types.SimpleNamespace(num_examples=40)})
        [Extent(split='train', start=36, stop=40)]
    """
    parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    # Open ends are None.
    return [
        Extent(
            part.splitname,
            part.from_ or 0,
            infos[part.splitname].num_examples if part.to is None else part.to,
        )
        for part in parts
    ]


def shared_images(some: Iterable[Extent], others: Iterable[Extent]) -> int:
    """Returns how many images two lists of extents share, each of which names an image once.

    Example:
        >>> shared_images([Extent("digits/train", 0, 100)], [Extent("digits/train", 90, 120)])
        10
    """
    others = list(others)
    return sum(extent.shared(other) for extent in some for other in others)
