"""Samples a split: names, thumbnails, labels, and what networks make of the images."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Source
from tf_simclrv2.data.folder_source import absolute_path
from tf_simclrv2.evaluation import FeatureExtractor, split_features
from tf_simclrv2.evaluation.features import RAW_PIXELS
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say

THUMBNAIL_PIXELS = 48
# Side to which images are scaled down for the baseline on pixels.
BASELINE_PIXELS = 16
ENDPOINT = "final_avg_pool"
LOGITS = "logits_sup"


@dataclasses.dataclass(frozen=True)
class SplitSample:
    """N images of a split, and what networks make of them.

    Attributes:
        source: The split.
        names: The name of each image, in the source's folder if it has one.
        labels: int64 [N], -1 for an image without a label.
        images: uint8 [N, s, s, 4], thumbnails.
        h: float32 [N, width], of the network.
        predictions: int64 [N], of the network's classifier; -1 if there is none.
        baselines: float32 [N, width], h of other networks and small pixels, by name; {} if none is wanted.
    """

    source: Source
    names: tuple[str, ...]
    labels: np.ndarray
    images: np.ndarray
    h: np.ndarray
    predictions: np.ndarray
    baselines: dict[str, np.ndarray]

    @functools.cached_property
    def unit(self) -> np.ndarray:
        """float32 [N, width], h at unit length."""
        norms = np.linalg.norm(self.h, axis=1, keepdims=True)
        return self.h / np.maximum(norms, np.finfo(np.float32).tiny)


class SplitSampler:
    """Samples splits.

    Args:
        network: The network whose output is wanted.
        baselines: Other networks, by name, whose h is wanted too.
        config: See `split_features`; `training.compile` says what of a forward pass is compiled.
        most: The largest number of images of a split; a sample is used if it has more.
        say: Receives progress lines.
    """

    def __init__(
        self, network: SimCLR, baselines: Mapping[str, SimCLR], config: ExperimentConfig, most: int, say: Say
    ) -> None:
        endpoints = [ENDPOINT, *([LOGITS] if network.supervised_head is not None else [])]
        compile = config.training.compile
        self._extract = FeatureExtractor(network, endpoints, compile=compile)
        self._baselines = {
            name: FeatureExtractor(other, [ENDPOINT], compile=compile) for name, other in baselines.items()
        }
        self._config = config
        self._most = most
        self._say = say

    def __call__(self, source: Source) -> SplitSample:
        """Samples a split, decoding each image once.

        Raises:
            DataError: More images are unreadable than `max_skipped_fraction` allows.
        """
        images: list[np.ndarray] = []
        paths: list[bytes] = []
        others: dict[str, list[np.ndarray]] = collections.defaultdict(list)

        def note(batch: dict[str, tf.Tensor]) -> None:
            mask = batch["mask"].numpy()
            images.append(tf.image.convert_image_dtype(batch["thumbnail"], tf.uint8).numpy()[mask])
            paths.extend(batch["path"].numpy()[mask])
            for name, extract in self._baselines.items():
                others[name].append(extract([batch], len(mask))[0][ENDPOINT].astype(np.float32))
            if self._baselines:
                others[RAW_PIXELS].append(_small(batch["image"]).numpy()[mask])

        sample = dataclasses.replace(source.sample(self._most), named=True, thumbnail_size=THUMBNAIL_PIXELS)
        title = f"features of {source.name} for the report"
        outputs, labels = split_features(self._extract, sample, self._config, self._say, title, note)
        unknown = np.full_like(labels, -1)
        return SplitSample(
            source=source,
            names=names_in(source, paths),
            labels=labels,
            images=np.concatenate(images),
            h=outputs[ENDPOINT].astype(np.float32),  # Extracted in the network's own precision.
            predictions=outputs[LOGITS].argmax(axis=1) if LOGITS in outputs else unknown,
            baselines={name: np.concatenate(parts) for name, parts in others.items()},
        )


def _small(images: tf.Tensor) -> tf.Tensor:
    """Pixels of images, float [N, S, S, 3], scaled down, as rows."""
    side = min(BASELINE_PIXELS, int(images.shape[1]))
    return tf.reshape(tf.image.resize(images, [side, side], "area"), [-1, side * side * 3])


def names_in(source: Source, paths: Iterable[bytes]) -> tuple[str, ...]:
    """Returns the names of images: of a folder's files, their paths in the folder.

    Args:
        source: The images.
        paths: Values of the records' `path`.
    """
    names = [path.decode(errors="replace") for path in paths]
    if not source.folder:
        return tuple(names)
    return tuple(absolute_path(name).removeprefix(source.folder.rstrip("/") + "/") for name in names)
