"""Embedding files without a network."""

import pathlib

import numpy as np

from tf_simclrv2.embedding.embedding_file import extension_of, write_embeddings
from tf_simclrv2.embedding.embeddings import Embeddings, Origin


def embeddings_of(
    vectors: np.ndarray,
    name: str = "image",
    classes: list[str] | None = None,
    margins: np.ndarray | None = None,
    network: str = "a" * 16,
) -> Embeddings:
    """Rows with counted names, by default without classes and predictions."""
    count = len(vectors)
    unknown = np.full(count, np.nan, np.float32)
    return Embeddings(
        names=np.array([f"{name} {row}" for row in range(count)], object),
        classes=np.array(classes or [""] * count, object),
        predictions=np.array([""] * count, object),
        probabilities=unknown,
        margins=unknown if margins is None else margins.astype(np.float32),
        vectors=np.asarray(vectors, np.float32),
        origin=Origin(network=network, endpoint="final_avg_pool"),
    )


def written(embeddings: Embeddings, path: pathlib.Path) -> str:
    """Writes them, and returns the path."""
    count, width = embeddings.vectors.shape
    write_embeddings(str(path), extension_of(str(path)), lambda: [embeddings], count, width)
    return str(path)
