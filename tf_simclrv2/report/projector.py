"""Writes files for TensorBoard's Embedding Projector: features, labels, and a sprite for each image."""

from __future__ import annotations

import io
import os

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins import projector

from tf_simclrv2.files import write_atomically
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.thumbnails import sheet

CONFIG_FILE = "projector_config.pbtxt"
FOLDER = "projector"


def write_projector(directory: str, seen: Observations) -> None:
    """Writes `projector_config.pbtxt`, and the files that it names in `projector/`.

    Args:
        directory: The log directory of TensorBoard.
        seen: The observations; the projector shows their features, which are principal components of h.
    """
    tf.io.gfile.makedirs(os.path.join(directory, FOLDER))
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "h"
    embedding.tensor_shape.extend(seen.features.shape)
    embedding.tensor_path = f"{FOLDER}/features.tsv"
    embedding.metadata_path = f"{FOLDER}/metadata.tsv"
    embedding.sprite.image_path = f"{FOLDER}/sprite.png"
    embedding.sprite.single_image_dim.extend(seen.images.shape[1:3])
    contents = {
        embedding.tensor_path: _table(seen.features),
        embedding.metadata_path: _metadata(seen),
        embedding.sprite.image_path: _png(seen.images),
        CONFIG_FILE: text_format.MessageToString(config).encode(),
    }
    for name, content in contents.items():
        write_atomically(os.path.join(directory, name), content)


def _table(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savetxt(file, values, fmt="%.5g", delimiter="\t")
    return file.getvalue()


def _metadata(seen: Observations) -> bytes:
    rows = ["class\tpredicted\tneighbors vote"]
    for labels in zip(seen.labels, seen.predictions, seen.votes, strict=True):
        rows.append("\t".join(seen.name_of(int(label)) if label >= 0 else "" for label in labels))
    return "".join(f"{row}\n" for row in rows).encode()


def _png(images: np.ndarray) -> bytes:
    file = io.BytesIO()
    sheet(images).save(file, "PNG")
    return file.getvalue()
