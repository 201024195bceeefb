"""Finds images that a network can hardly tell apart, within a split and between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_simclrv2.evaluation.similar_pairs import Pairs, similar_pairs
from tf_simclrv2.report.duplicates import LEAST, DuplicatePair, Duplicates
from tf_simclrv2.report.split_sample import SplitSample

# Pairs that are kept, the most similar ones.
KEPT = 24
_SAMPLE = 500


def near_duplicates(samples: Sequence[SplitSample]) -> tuple[Duplicates, ...]:
    """Finds near-duplicates between two splits and within each; or within the only one.

    Args:
        samples: Of one or two splits, as the same network saw them.
    """
    between = [(samples[0], samples[1])] if len(samples) > 1 else []
    return tuple(_duplicates_of(a, b) for a, b in [*between, *zip(samples, samples, strict=True)])


def median_cosine(unit: np.ndarray) -> float:
    """Returns the median cosine of different images.

    Args:
        unit: [N, D] of unit length.

    Returns:
        The median over a sample; 0 for a single image.
    """
    few = unit[np.linspace(0, len(unit) - 1, min(_SAMPLE, len(unit))).astype(int)]
    cosines = (few @ few.T)[np.triu_indices(len(few), k=1)]
    return float(np.median(cosines)) if len(cosines) else 0.0


def _duplicates_of(a: SplitSample, b: SplitSample) -> Duplicates:
    """The pairs of an image of `a` and one of `b`; within a split, each pair once."""
    within = a is b
    other_files = within or a.source.folder != b.source.folder
    of_name = {} if other_files else {name: row for row, name in enumerate(b.names)}
    own = np.array([of_name.get(name, -1) for name in a.names])
    count, best = 0, Pairs(*np.zeros([3, 0]))
    for pairs in similar_pairs(a.unit, None if within else b.unit, LEAST):
        others = own[pairs.first] != pairs.second
        count += int(others.sum())
        best = Pairs(*(np.append(so_far, new[others]) for so_far, new in zip(best, pairs, strict=True)))
        order = np.argsort(-best.cosine, kind="stable")[:KEPT]
        best = Pairs(*(values[order] for values in best))
    chosen = [(int(i), int(j), float(cosine)) for i, j, cosine in zip(*best, strict=True)]
    samples = (a,) if within else (a, b)
    return Duplicates(
        sources=tuple(sample.source.name for sample in samples),
        looked_at=tuple((len(sample.names), sample.source.num_examples) for sample in samples),
        count=count,
        same_files=int(np.sum(own >= 0)),
        pairs=tuple(_pair(a, b, *pair) for pair in chosen),
        images=np.array([(a.images[i], b.images[j]) for i, j, _ in chosen], np.uint8).reshape(
            -1, 2, *a.images.shape[1:]
        ),
    )


def _pair(a: SplitSample, b: SplitSample, i: int, j: int, cosine: float) -> DuplicatePair:
    return DuplicatePair(
        (a.names[i], b.names[j]),
        (a.source.folder, b.source.folder),
        (int(a.labels[i]), int(b.labels[j])),
        cosine,
    )
