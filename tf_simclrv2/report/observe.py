"""Keeps what a network makes of images and of a training batch, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA

from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.evaluation import knn_votes
from tf_simclrv2.evaluation.frozen_protocols import FrozenResult
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS
from tf_simclrv2.objectives.collapse import alignment, effective_rank, uniformity
from tf_simclrv2.report.near_duplicates import median_cosine, near_duplicates
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.split_sample import SplitSample, names_in
from tf_simclrv2.report.thumbnails import thumbnails
from tf_simclrv2.tasks import Pretraining, Task

VIEW_PIXELS = 96
VIEWS_SHOWN = 8
# Images whose similarity is shown; with more, a cell would be smaller than a phone's pixel.
BATCH = 48
NEIGHBORS_SHOWN = 8
VOTERS = NEIGHBORS[0]
COMPONENTS = 128

Batch = dict[str, tf.Tensor]


def observe(task: Task, samples: Sequence[SplitSample], batch: Batch, frozen: FrozenResult) -> Observations:
    """Keeps what the report shows of a network's output.

    Args:
        task: The task with the network.
        samples: Of the images to show, and of the training images if they are others, by that network.
        batch: Training images as the task takes them, with their names; `BATCH` images are enough.
        frozen: What classifiers of the network's features predict on the whole of the first source.
    """
    shown, train = samples[0], samples[-1].source
    similarity, numbers = _similarity(task, batch, shown)
    return Observations(
        images=shown.images,
        labels=shown.labels,
        predictions=shown.predictions,
        votes=_votes(shown.unit, shown.labels),
        neighbors=_neighbors(shown.unit, NEIGHBORS_SHOWN),
        features=_principal_components(shown.unit),
        views=_views(task, batch),
        similarity=similarity,
        similarity_of_views=isinstance(task, Pretraining),
        class_names=shown.source.class_names,
        source=shown.source.name,
        step=int(task.global_step.numpy()),
        train_examples=train.num_examples,
        numbers={**_numbers(shown), **numbers},
        names=shown.names,
        folder=shown.source.folder,
        examples=shown.source.num_examples,
        view_names=names_in(train, batch["path"].numpy()[:VIEWS_SHOWN]),
        view_folder=train.folder,
        confusions=_confusions(frozen.labels, frozen.predictions),
        duplicates=near_duplicates(samples[:2]),
        train_labels=frozen.train_labels,
    )


def _numbers(sample: SplitSample) -> dict[str, float]:
    return {
        "uniformity_of_h": float(uniformity(tf.constant(sample.unit))),
        "effective_rank_of_h": float(effective_rank(tf.constant(sample.h))),
        "width_of_h": float(sample.h.shape[1]),
        "median_cosine_of_h": median_cosine(sample.unit),
    }


def _confusions(labels: np.ndarray, predictions: Mapping[str, np.ndarray]) -> dict[str, list[list[int]]]:
    """Counts the pairs of true and predicted class that occur."""
    found = {}
    for classifier, predicted in predictions.items():
        pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
        found[classifier] = np.column_stack([pairs, counts]).tolist()
    return found


def _neighbors(unit: np.ndarray, most: int) -> np.ndarray:
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(most, len(unit) - 1)]


def _votes(unit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that the nearest other labeled images vote for, as in the k-NN evaluation."""
    known = np.flatnonzero(labels != UNLABELED)
    if len(known) < 2:  # An image has no vote on itself.
        return np.full(len(labels), UNLABELED, np.int64)
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


def _similarity(task: Task, batch: Batch, sample: SplitSample) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the cosines of one batch, and the alignment of its pairs if it has pairs."""
    if not isinstance(task, Pretraining):
        unit, labels = sample.unit, sample.labels
        few = np.linspace(0, len(unit) - 1, min(BATCH, len(unit))).astype(int)
        rows = unit[few[np.argsort(labels[few], kind="stable")]]
        return (rows @ rows.T).astype(np.float32), {}
    z = task.network(task.views(batch), training=False)["proj_head_output"]
    z_1, z_2 = tf.split(tf.math.l2_normalize(tf.cast(z, tf.float32), axis=1), 2)
    cosines = exact_matmul(z_1, z_2, transpose_b=True).numpy()
    return cosines, {"alignment_of_pairs": float(alignment(z_1, z_2))}
