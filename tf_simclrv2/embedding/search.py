"""Searches embedded images for those that are most similar to others, by cosine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_simclrv2.config import RunConfig
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.device_errors import ON_THE_CPU, device_errors_explained
from tf_simclrv2.embedding.contact_sheet import Card, Row, contact_sheet
from tf_simclrv2.embedding.embed import Embedder
from tf_simclrv2.embedding.embedding_file import is_embedding_file, read_embeddings
from tf_simclrv2.embedding.embeddings import Embeddings
from tf_simclrv2.embedding.images import Images, find_images, images_of_files
from tf_simclrv2.embedding.outputs import Page, Table, Writers, write_outputs
from tf_simclrv2.embedding.search_config import SearchConfig
from tf_simclrv2.errors import ConfigError, DataError
from tf_simclrv2.evaluation.nearest_neighbors import Neighbors, nearest_rows
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.setting import as_path

_BATCH = 64
# From so many on, an exact search of many queries takes minutes.
_MANY = 1_000_000


@dataclasses.dataclass(frozen=True)
class Hits:
    """The most similar images of each query.

    Attributes:
        queries: M query images, each as a card of a page.
        found: Where the images were searched.
        neighbors: Similarities [M, k] and rows of `found` [M, k]. A row with a similarity of minus infinity
            is the query itself and counts for nothing.
    """

    queries: tuple[Card, ...]
    found: Embeddings
    neighbors: Neighbors

    def __iter__(self) -> Iterator[tuple[str, list[tuple[str, float, str]]]]:
        """Yields each query's name, and name, cosine and class of what was found, the most similar first."""
        for query, cosines, rows in zip(self.queries, *self.neighbors, strict=True):
            kept = [
                (str(self.found.names[row]), float(cosine), str(self.found.classes[row]))
                for cosine, row in zip(cosines, rows, strict=True)
                if np.isfinite(cosine)
            ]
            yield query.name, kept


def search(config: SearchConfig, say: Say) -> Hits:
    """Finds the images that are most similar to each query.

    By default the search is exhaustive, in blocks on the device. An image of the file that is a query is not
    its own neighbor.

    Args:
        config: What to search for.
        say: Receives lines for the user.

    Raises:
        CheckpointError: The network that would embed the queries cannot be loaded.
        ConfigError: A setting cannot be used.
        DataError: A file does not hold embeddings or an image, or the queries are of another network.
        RunError: The device's memory ran out.

    Example:
        >>> hits = search(SearchConfig("pictures.parquet", ("cats/7.png",)), print)
        >>> name, found = next(iter(hits))
        >>> found[0]
        ('cats/91.png', 0.981, 'cats')
    """
    keep_compiled_steps(RunConfig().compile_cache)
    path = as_path("embeddings", config.embeddings)
    with phase("reading the embeddings", say):
        found = read_embeddings(path)
    with device_errors_explained(ON_THE_CPU):
        parts, own = _queries(config, found, say)
        vectors = np.concatenate([part.vectors for part in parts])
        neighbors = _neighbors(config, path, found, vectors, own, say)
    queries = tuple(Card(name, part.origin, "query") for part in parts for name in part.names.tolist())
    hits = Hits(queries, found, Neighbors(*(part[:, : config.k] for part in neighbors)))
    write_outputs(config.outputs, Writers(_page(hits), lambda: _csv(hits), _json(hits)), say)
    return hits


def _neighbors(
    config: SearchConfig, path: str, found: Embeddings, queries: np.ndarray, own: np.ndarray, say: Say
) -> Neighbors:
    if config.index == "approximate":
        # Its package is an extra.
        from tf_simclrv2.embedding.approximate_index import approximate_rows

        return approximate_rows(path, found.vectors, queries, min(config.k, len(found)), own, say)
    if len(found) >= _MANY:
        say(f"comparing with all {len(found):,} images; --index=approximate finds most of them faster")
    with phase("searching", say):
        k = min(config.k + bool((own >= 0).any()), len(found))
        return nearest_rows(found.vectors, queries, k, own)


def _queries(config: SearchConfig, found: Embeddings, say: Say) -> tuple[list[Embeddings], np.ndarray]:
    """The query images, and the row of the searched file that each of them is, or -1."""
    rows = {name: row for row, name in enumerate(found.names.tolist())}
    parts: list[Embeddings] = []
    own: list[np.ndarray] = []
    embedder: Embedder | None = None
    for query in config.queries:
        if query in rows:
            own.append(np.array([rows[query]]))
            parts.append(found.rows(own[-1]))
            continue
        path = as_path("query", query)
        if is_embedding_file(path):
            part = read_embeddings(path)
        else:
            images = _images(query, path, found)
            embedder = embedder or _embedder(config, found, say)
            part = embedder.embed(images, _BATCH)
        found.of_same_network(part, f"the query {query!r}")
        parts.append(part)
        own.append(np.array([_own_row(part, name, found, rows) for name in part.names.tolist()]))
    return parts, np.concatenate(own)


def _own_row(part: Embeddings, name: str, found: Embeddings, rows: dict[str, int]) -> int:
    """The row of the same file, or -1."""
    own, searched = part.origin.folder, found.origin.folder
    if bool(own) != bool(searched):  # The folder of a dataset's split is "", and its names begin with it.
        return -1
    return rows.get(os.path.relpath(os.path.join(own, name), searched or os.curdir), -1)


def _images(query: str, path: str, found: Embeddings) -> Images:
    if os.path.isdir(path):
        return find_images(path)
    if not os.path.isfile(path):
        raise DataError(
            f"the query {query!r} is neither an image of the embedding file, such as {found.names[0]!r}, nor "
            "a file or a folder."
        )
    return images_of_files([path], os.getcwd(), query)


def _embedder(config: SearchConfig, found: Embeddings, say: Say) -> Embedder:
    path = config.network or found.origin.network_path
    if not path:
        raise ConfigError(
            "the embedding file does not say which network made it; pass --network=PATH to embed the query."
        )
    return Embedder(as_path("network", path), found.origin.endpoint or "final_avg_pool", say, "one_device")


def _page(hits: Hits) -> Page:
    def write(directory: str) -> str:
        found = hits.found
        rows = [
            Row(name, [Card(hit, found.origin, f"{cosine:.3f}") for hit, cosine, _ in kept], query)
            for query, (name, kept) in zip(hits.queries, hits, strict=True)
        ]
        asked = "1 query" if len(rows) == 1 else f"{len(rows):,} queries"
        notes = [f"{asked}, {len(found):,} images, cosine of {found.origin.endpoint}"]
        return contact_sheet("Similar images", notes, rows, directory)

    return write


def _csv(hits: Hits) -> Table:
    yield ("query", "rank", "path", "cosine", "class")
    for name, kept in hits:
        for rank, (hit, cosine, class_name) in enumerate(kept, 1):
            yield (name, rank, hit, f"{cosine:.6f}", class_name)


def _json(hits: Hits) -> Any:
    return [
        {"query": name, "found": [{"path": hit, "cosine": cosine, "class": of} for hit, cosine, of in kept]}
        for name, kept in hits
    ]
