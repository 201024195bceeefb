"""Selects images to show with their nearest neighbors."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.thumbnails import data_uri

ROWS = 8


@dataclasses.dataclass(frozen=True)
class Shown:
    """An image in a row.

    Attributes:
        src: The `src` of an `<img>`.
        alt: The text alternative.
        right: Whether it has the class of the query; None if that is not known.
    """

    src: str
    alt: str
    right: bool | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A query image and its neighbors, the most similar first."""

    query: Shown
    neighbors: tuple[Shown, ...]


def some_rows(seen: Observations) -> list[Row]:
    """Returns rows for images drawn at random, always the same ones."""
    drawn = np.random.default_rng(0).permutation(len(seen.images))[:ROWS]
    return [_row(seen, int(query)) for query in drawn]


def hardest_rows(seen: Observations) -> list[Row]:
    """Returns rows for the images with the most neighbors of other classes, of those that have any."""
    shares = _right(seen).mean(axis=1).filled(1.0)
    order = np.argsort(shares, kind="stable")[:ROWS]
    return [_row(seen, int(query)) for query in order if shares[query] < 1.0]


def right_share(seen: Observations) -> float | None:
    """Returns the share of neighbors that have the query's class; None if no pair has labels."""
    share = _right(seen).mean()
    return None if share is np.ma.masked else float(share)


def _right(seen: Observations) -> np.ma.MaskedArray:
    """Returns whether each neighbor has the query's class; masked if either has no label."""
    of_query, of_neighbor = seen.labels[:, np.newaxis], seen.labels[seen.neighbors]
    return np.ma.masked_array(of_neighbor == of_query, (of_query < 0) | (of_neighbor < 0))


def _row(seen: Observations, query: int) -> Row:
    label = int(seen.labels[query])

    def neighbor(place: int, index: int) -> Shown:
        other = int(seen.labels[index])
        known = label >= 0 and other >= 0
        right = other == label if known else None
        words = f", {seen.name_of(other)}, {'right' if right else 'wrong'}" if known else ""
        return Shown(data_uri(seen.images[index]), f"neighbor {place}{words}", right)

    name = f", {seen.name_of(label)}" if label >= 0 else ""
    return Row(
        Shown(data_uri(seen.images[query]), f"image {query}{name}"),
        tuple(neighbor(place, int(index)) for place, index in enumerate(seen.neighbors[query], 1)),
    )
