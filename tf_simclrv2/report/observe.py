"""Runs a network on evaluation images and on a training batch, for the report."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA

from tf_simclrv2.data import Source
from tf_simclrv2.data.image_folder import UNLABELLED
from tf_simclrv2.evaluation import FeatureExtractor, knn_votes, split_features
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS
from tf_simclrv2.objectives.collapse import alignment, effective_rank, uniformity
from tf_simclrv2.progress import Say
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.thumbnails import thumbnails
from tf_simclrv2.tasks import Pretraining, Task

THUMBNAIL_PIXELS = 48
VIEW_PIXELS = 96
VIEWS_SHOWN = 8
# Images whose similarity is shown; with more, a cell would be smaller than a phone's pixel.
BATCH = 48
NEIGHBORS_SHOWN = 8
VOTERS = NEIGHBORS[0]
COMPONENTS = 128
ENDPOINT = "final_avg_pool"
LOGITS = "logits_sup"

Batch = dict[str, tf.Tensor]


def observe(
    task: Task, source: Source, batch: Batch, train_examples: int, most: int, say: Say
) -> Observations:
    """Runs a network on some images, and keeps what the report shows of its output.

    Args:
        task: The task with the network.
        source: The images; a sample is used if there are more than `most`.
        batch: Training images as the task takes them; `BATCH` images are enough.
        train_examples: The number of images that the network was trained on.
        most: The largest number of images to use.
        say: Receives progress lines.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.
    """
    images, outputs, labels = _look_at(task, source.sample(most), say)
    features = outputs[ENDPOINT]
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    neighbors = _neighbors(unit, NEIGHBORS_SHOWN)
    similarity, numbers = _similarity(task, batch, unit, labels)
    return Observations(
        images=images,
        labels=labels,
        predictions=outputs[LOGITS].argmax(axis=1) if LOGITS in outputs else np.full_like(labels, UNLABELLED),
        votes=_votes(unit, labels),
        neighbors=neighbors,
        features=_principal_components(unit),
        views=_views(task, batch),
        similarity=similarity,
        similarity_of_views=isinstance(task, Pretraining),
        class_names=source.class_names,
        source=source.name,
        step=int(task.global_step.numpy()),
        train_examples=train_examples,
        numbers={
            "uniformity_of_h": float(uniformity(tf.constant(unit))),
            "effective_rank_of_h": float(effective_rank(tf.constant(features))),
            "width_of_h": float(features.shape[1]),
            **numbers,
        },
    )


def _look_at(task: Task, source: Source, say: Say) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    seen: list[np.ndarray] = []

    def shrink(batch: Batch) -> None:
        seen.append(thumbnails(batch["image"], THUMBNAIL_PIXELS)[batch["mask"].numpy()])

    endpoints = [ENDPOINT] + ([LOGITS] if task.network.supervised_head is not None else [])
    extract = FeatureExtractor(task.network, endpoints)
    outputs, labels = split_features(extract, source, task.config, say, "features for the report", shrink)
    return np.concatenate(seen), outputs, labels


def _neighbors(unit: np.ndarray, most: int) -> np.ndarray:
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(most, len(unit) - 1)]


def _votes(unit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that the nearest other labelled images vote for, as in the k-NN evaluation."""
    known = np.flatnonzero(labels != UNLABELLED)
    if len(known) < 2:  # An image has no vote on itself.
        return np.full(len(labels), UNLABELLED, np.int64)
    own = np.full(len(labels), -1)
    own[known] = np.arange(len(known))
    return knn_votes(unit[known], labels[known], unit, VOTERS, own_rows=own)


def _principal_components(unit: np.ndarray) -> np.ndarray:
    components = min(COMPONENTS, *unit.shape)
    return PCA(components, random_state=0).fit_transform(unit).astype(np.float32)


def _views(task: Task, batch: Batch) -> np.ndarray:
    if isinstance(task, Pretraining):
        views = tf.split(task.views({name: value[:VIEWS_SHOWN] for name, value in batch.items()}), 2)
    else:
        views = [batch["image"][:VIEWS_SHOWN]]
    return np.stack([thumbnails(view, VIEW_PIXELS) for view in views], axis=1)


def _similarity(
    task: Task, batch: Batch, unit: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the cosines of one batch, and the alignment of its pairs if it has pairs."""
    if not isinstance(task, Pretraining):
        few = np.linspace(0, len(unit) - 1, min(BATCH, len(unit))).astype(int)
        rows = unit[few[np.argsort(labels[few], kind="stable")]]
        return (rows @ rows.T).astype(np.float32), {}
    z = task.network(task.views(batch), training=False)["proj_head_output"]
    z_1, z_2 = tf.split(tf.math.l2_normalize(tf.cast(z, tf.float32), axis=1), 2)
    cosines = tf.matmul(z_1, z_2, transpose_b=True).numpy()
    return cosines, {"alignment_of_pairs": float(alignment(z_1, z_2))}
