"""Strategies that choose which images to label next, from their embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.nearest_neighbors import nearest_rows

# Neighbors that an image is typical among, and the most clusters (Hacohen et al. 2022, section 3.2).
TYPICAL_AMONG = 20
MOST_CLUSTERS = 500
# Images of small margin among which different ones are chosen, for each image of the budget.
UNCERTAIN = 10
# Images from which on k-means sees a batch of them at a time.
_MANY = 20_000


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Images that may be chosen.

    Attributes:
        unit: float32 [N, D], embeddings of length 1.
        margins: float32 [N], see `Embeddings`; NaN without a classifier.
        labeled: bool [N], images that have a label and are not chosen again.
        seed: Of everything that is drawn.
    """

    unit: np.ndarray
    margins: np.ndarray
    labeled: np.ndarray
    seed: int = 0

    @property
    def free(self) -> np.ndarray:
        """The rows that may be chosen."""
        return np.flatnonzero(~self.labeled)


def choose(strategy: str, candidates: Candidates, budget: int) -> np.ndarray:
    """Chooses images to label.

    Args:
        strategy: One of `STRATEGIES`.
        candidates: The images.
        budget: How many to choose, at most as many as have no label.

    Returns:
        int [budget], different rows, the most useful first.

    Raises:
        ConfigError: The strategy needs a classifier, and there is none.

    Example:
        >>> choose("typical", Candidates(unit, margins, labeled=np.zeros(len(unit), bool)), 50)
    """
    return STRATEGIES[strategy](candidates, budget)


def uniform(candidates: Candidates, budget: int) -> np.ndarray:
    """Draws images at random: what every other strategy has to beat."""
    return np.random.default_rng(candidates.seed).permutation(candidates.free)[:budget]


def coverage(candidates: Candidates, budget: int) -> np.ndarray:
    """Chooses, one after the other, the image that is farthest from all that have a label or are chosen.

    Without a label, the first one is the closest to the mean.

    Reference: Sener and Savarese 2018, arXiv 1708.00489, algorithm 1.
    """
    unit, free = candidates.unit[candidates.free], candidates.free
    closest = np.full(len(unit), -np.inf, np.float32)
    for center in candidates.unit[candidates.labeled]:
        np.maximum(closest, unit @ center, out=closest)
    chosen: list[int] = []
    while len(chosen) < budget:
        started = bool(chosen) or candidates.labeled.any()
        row = int(closest.argmin()) if started else int((unit @ unit.mean(axis=0)).argmax())
        chosen.append(row)
        np.maximum(closest, unit @ unit[row], out=closest)
        closest[row] = np.inf
    return free[chosen]


def typical(candidates: Candidates, budget: int) -> np.ndarray:
    """Chooses the most typical image of each cluster, the largest cluster without a label first.

    There are as many clusters as images with a label and images to choose together, up to `MOST_CLUSTERS`.
    An image is typical if it is close to its nearest neighbors within its cluster.

    Reference: Hacohen et al. 2022, arXiv 2202.02794, section 3.
    """
    unit, labeled = candidates.unit, candidates.labeled
    count = min(int(labeled.sum()) + budget, MOST_CLUSTERS, len(unit))
    cluster_of = _clusters(unit, count, candidates.seed)
    has_label = np.bincount(cluster_of, weights=labeled, minlength=count)
    open_rows = [np.flatnonzero((cluster_of == cluster) & ~labeled) for cluster in range(count)]
    # From typical to not.
    ordered = [rows[np.argsort(-_typicality(unit[rows]), kind="stable")].tolist() for rows in open_rows]
    sizes = [len(rows) for rows in open_rows]
    chosen: list[int] = []
    while len(chosen) < budget:
        cluster = min(
            (cluster for cluster in range(count) if ordered[cluster]),
            key=lambda cluster: (has_label[cluster], -sizes[cluster]),
        )
        chosen.append(ordered[cluster].pop(0))
        has_label[cluster] += 1
    return np.array(chosen)


def margin(candidates: Candidates, budget: int) -> np.ndarray:
    """Chooses images between whose two likeliest classes the classifier hesitates, different ones.

    Of the `UNCERTAIN` times as many images with the smallest margins, it takes the one with the smallest
    margin of each of as many clusters as there are images to choose.

    Reference: Zhdanov 2019, arXiv 1901.05954, section 3, with the margin in place of weighted clusters.

    Raises:
        ConfigError: There is no classifier.
    """
    if np.isnan(candidates.margins).any():
        raise ConfigError(
            "strategy is 'margin', but the network has no classifier; embed with a fine-tuned network, or "
            "choose another strategy."
        )
    free = candidates.free
    order = free[np.argsort(candidates.margins[free], kind="stable")][: UNCERTAIN * budget]
    cluster_of = _clusters(candidates.unit[order], min(budget, len(order)), candidates.seed)
    _, first = np.unique(cluster_of, return_index=True)
    # k-means may find fewer clusters where images are the same.
    rest = np.setdiff1d(np.arange(len(order)), first)
    return order[np.concatenate([np.sort(first), rest])[:budget]]


def _clusters(unit: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The cluster of each row, int [N]."""
    if count == 1:
        return np.zeros(len(unit), np.int64)
    kind = MiniBatchKMeans if len(unit) > _MANY else KMeans
    return kind(count, random_state=seed, n_init=1).fit_predict(unit).astype(np.int64)


def _typicality(unit: np.ndarray) -> np.ndarray:
    """The inverse of each row's mean distance to its nearest neighbors."""
    if len(unit) < 2:
        return np.ones(len(unit))
    found = nearest_rows(unit, unit, min(TYPICAL_AMONG, len(unit) - 1), own_rows=np.arange(len(unit)))
    distances = np.sqrt(np.maximum(2.0 - 2.0 * found.similarity, 0.0))
    return 1.0 / (distances.mean(axis=1) + 1e-6)


STRATEGIES: dict[str, Callable[[Candidates, int], np.ndarray]] = {
    "typical": typical,
    "coverage": coverage,
    "margin": margin,
    "uniform": uniform,
}
