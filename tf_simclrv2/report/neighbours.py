"""Images beside those that the network finds most similar."""

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
        src: For an `<img>`.
        alt: What it is.
        right: Whether it is of the query's class; None where that is not known.
    """

    src: str
    alt: str
    right: bool | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A query and its neighbours, the most similar first."""

    query: Shown
    neighbours: tuple[Shown, ...]


def some_rows(seen: Observations) -> list[Row]:
    """Of images drawn at random, always the same ones."""
    drawn = np.random.default_rng(0).permutation(len(seen.images))[:ROWS]
    return [_row(seen, int(query)) for query in drawn]


def hardest_rows(seen: Observations) -> list[Row]:
    """Of the images whose neighbours are most often of another class; none whose neighbours are all right."""
    shares = _right(seen).mean(axis=1).filled(1.0)
    order = np.argsort(shares, kind="stable")[:ROWS]
    return [_row(seen, int(query)) for query in order if shares[query] < 1.0]


def right_share(seen: Observations) -> float | None:
    """Share of neighbours that are of the query's class; None where no pair has labels."""
    share = _right(seen).mean()
    return None if share is np.ma.masked else float(share)


def _right(seen: Observations) -> np.ma.MaskedArray:
    """Whether a neighbour is of the query's class, where both are labelled."""
    of_query, of_neighbour = seen.labels[:, np.newaxis], seen.labels[seen.neighbours]
    return np.ma.masked_array(of_neighbour == of_query, (of_query < 0) | (of_neighbour < 0))


def _row(seen: Observations, query: int) -> Row:
    label = int(seen.labels[query])

    def neighbour(place: int, index: int) -> Shown:
        other = int(seen.labels[index])
        known = label >= 0 and other >= 0
        right = other == label if known else None
        words = f", {seen.name_of(other)}, {'right' if right else 'wrong'}" if known else ""
        return Shown(data_uri(seen.images[index]), f"neighbour {place}{words}", right)

    name = f", {seen.name_of(label)}" if label >= 0 else ""
    return Row(
        Shown(data_uri(seen.images[query]), f"image {query}{name}"),
        tuple(neighbour(place, int(index)) for place, index in enumerate(seen.neighbours[query], 1)),
    )
