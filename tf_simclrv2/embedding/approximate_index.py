"""An index of an embedding file that finds most of the nearest images without looking at all of them.

The images are divided among lists, each around a center, and a search looks at the lists whose centers are
most similar to the query (an inverted file, from the package faiss). How many lists it takes is measured when
the index is built: as many as find `RECALL` of the nearest images of some images of the file. The index lies
next to the embedding file, and only the lists that a search scans are read from it.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import faiss
import numpy as np
import tensorflow as tf

from tf_simclrv2.evaluation.nearest_neighbors import Neighbors, nearest_rows
from tf_simclrv2.files import replacing, write_atomically
from tf_simclrv2.progress import Say, phase, track

# The share of the nearest images that a search finds, and how many of how many images it is measured with.
RECALL = 0.97
NEAREST = 100
SAMPLE = 200
SUFFIX = ".index"
_ROWS = 2**16
# What clustering needs for each center, and where more of them stop helping.
_LEAST_PER_LIST = 39
_TRAINED_PER_LIST = 64
_VERSION = 1


def approximate_rows(
    path: str, vectors: np.ndarray, queries: np.ndarray, k: int, own_rows: np.ndarray, say: Say
) -> Neighbors:
    """Finds most of the k most similar rows of an embedding file, with its index, which is built if need be.

    Args:
        path: The embedding file; the index lies in `<path>.index` and `<path>.index.json`.
        vectors: [N, D], the embeddings in the file.
        queries: [M, D].
        k: How many rows to find, at most N.
        own_rows: int [M], the row of the same image, which is never found, or -1.
        say: Receives lines for the user.

    Returns:
        As `nearest_rows`, with cosines in float32.

    Example:
        >>> approximate_rows("all.parquet", found.vectors, asked.vectors, 10, np.full(len(asked), -1), print)
    """
    stamp = _stamp(path, vectors)
    index, lists = _kept(path, stamp, say) or _built(path, stamp, vectors, say)
    with phase("searching", say):
        return _search(index, _unit_length(queries), k, own_rows, lists)


def _stamp(path: str, vectors: np.ndarray) -> dict[str, Any]:
    """What changes when the embedding file does."""
    file = os.stat(path)
    return {
        "version": _VERSION,
        "size": file.st_size,
        "time": file.st_mtime_ns,
        "shape": list(vectors.shape),
    }


def _kept(path: str, stamp: dict[str, Any], say: Say) -> tuple[faiss.IndexIVFFlat, int] | None:
    """The index next to the file and how many lists to search; None if there is none of this file."""
    source = f"{path}{SUFFIX}"
    try:
        with open(f"{source}.json", encoding="utf-8") as file:
            known = json.load(file)
        if known["of"] != stamp:
            say(f"the index in {source} is of an earlier version of {path} and is rebuilt")
            return None
        # What is mapped into memory must be there when it is read.
        if known["bytes"] != os.path.getsize(source):
            raise ValueError("it is incomplete")
        return faiss.read_index(source, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY), known["lists"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        say(f"the index in {source} is damaged and is rebuilt")
        return None


def _built(path: str, stamp: dict[str, Any], vectors: np.ndarray, say: Say) -> tuple[faiss.IndexIVFFlat, int]:
    index = _divided(vectors, say)
    lists, recall = _lists_to_search(index, vectors, say)
    say(
        f"index of {index.nlist:,} lists, of which a search looks at {lists:,}: it finds {recall:.1%} of the "
        f"{min(NEAREST, len(vectors) - 1)} nearest, measured with {min(SAMPLE, len(vectors))} images"
    )
    _keep(path, index, {"of": stamp, "lists": lists, "recall": recall}, say)
    return index, lists


def _divided(vectors: np.ndarray, say: Say) -> faiss.IndexIVFFlat:
    """Finds the centers in a sample, and puts every row into the list of its center."""
    count, width = vectors.shape
    lists = max(1, min(round(2 * math.sqrt(count)), count // _LEAST_PER_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    chosen = np.random.default_rng(0).choice(count, min(count, lists * _TRAINED_PER_LIST), replace=False)
    with phase("building the index", say):
        index.train(_unit_length(vectors[np.sort(chosen)]))
    for start in track(range(0, count, _ROWS), "index, block", say):
        index.add(_unit_length(vectors[start : start + _ROWS]))
    return index


def _lists_to_search(index: faiss.IndexIVFFlat, vectors: np.ndarray, say: Say) -> tuple[int, float]:
    """The smallest power of two, or all, that finds enough of what the exact search finds."""
    count = len(vectors)
    own = np.sort(np.random.default_rng(1).choice(count, min(SAMPLE, count), replace=False))
    queries, k = vectors[own], min(NEAREST, count - 1)
    if not k:
        return index.nlist, 1.0
    with phase("measuring the index", say):
        # The image itself takes one of the places, which is the last.
        exact = nearest_rows(vectors, queries, k + 1, own).index[:, :k]
        lists = 1
        while True:
            found = _search(index, _unit_length(queries), k, own, lists).index
            recall = float(
                np.mean([np.isin(right, got).mean() for right, got in zip(exact, found, strict=True)])
            )
            if recall >= RECALL or lists == index.nlist:
                return lists, recall
            lists = min(2 * lists, index.nlist)


def _search(
    index: faiss.IndexIVFFlat, queries: np.ndarray, k: int, own_rows: np.ndarray, lists: int
) -> Neighbors:
    """Looks at more lists if those hold fewer than k rows."""
    wanted = min(k + bool((own_rows >= 0).any()), index.ntotal)
    while True:
        parameters = faiss.SearchParametersIVF(nprobe=lists)
        similarity, rows = index.search(queries, wanted, params=parameters)
        if lists >= index.nlist or (rows >= 0).all():
            break
        lists = min(2 * lists, index.nlist)
    similarity = np.where((rows < 0) | (rows == own_rows[:, np.newaxis]), -np.inf, similarity)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    similarity, rows = (np.take_along_axis(part, order, axis=1) for part in (similarity, rows))
    return Neighbors(similarity.astype(np.float32), rows.astype(np.int32))


def _keep(path: str, index: faiss.IndexIVFFlat, known: dict[str, Any], say: Say) -> None:
    target = f"{path}{SUFFIX}"
    try:
        with replacing(target) as part:
            faiss.write_index(index, part)
        known = {**known, "bytes": os.path.getsize(target)}
        write_atomically(f"{target}.json", json.dumps(known) + "\n")
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        say(f"the index cannot be saved in {target} ({reason}); the next search rebuilds it")


def _unit_length(rows: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(rows, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, np.finfo(np.float32).tiny)
