"""Selects images to show with their nearest neighbors."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.pictures import Picture, Pictures

ROWS = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """A query image and its neighbors, the most similar first."""

    query: Picture
    neighbors: tuple[Picture, ...]


def some_rows(seen: Observations, pictures: Pictures) -> list[Row]:
    """Returns rows for images drawn at random, always the same ones."""
    drawn = np.random.default_rng(0).permutation(len(seen.images))[:ROWS]
    return [_row(seen, int(query), pictures) for query in drawn]


def hardest_rows(seen: Observations, pictures: Pictures) -> list[Row]:
    """Returns rows for the images with the most neighbors of other classes, of those that have any."""
    shares = _right(seen).mean(axis=1).filled(1.0)
    order = np.argsort(shares, kind="stable")[:ROWS]
    return [_row(seen, int(query), pictures) for query in order if shares[query] < 1.0]


def right_share(seen: Observations) -> float | None:
    """Returns the share of neighbors that have the query's class; None if no pair has labels."""
    share = _right(seen).mean()
    return None if share is np.ma.masked else float(share)


def _right(seen: Observations) -> np.ma.MaskedArray:
    """Returns whether each neighbor has the query's class; masked if either has no label."""
    of_query, of_neighbor = seen.labels[:, np.newaxis], seen.labels[seen.neighbors]
    return np.ma.masked_array(of_neighbor == of_query, (of_query < 0) | (of_neighbor < 0))


def _row(seen: Observations, query: int, pictures: Pictures) -> Row:
    label = int(seen.labels[query])

    def picture(index: int, words: str, right: bool | None = None) -> Picture:
        of_class = seen.class_of(int(seen.labels[index]))
        return pictures.make(seen.images[index], seen.image_name(index), seen.folder, words, of_class, right)

    def neighbor(place: int, index: int) -> Picture:
        other = int(seen.labels[index])
        right = other == label if label >= 0 and other >= 0 else None
        return picture(index, f"neighbor {place}:", right)

    neighbors = enumerate(map(int, seen.neighbors[query]), 1)
    return Row(picture(query, ""), tuple(neighbor(place, index) for place, index in neighbors))
