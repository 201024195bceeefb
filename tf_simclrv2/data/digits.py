"""The `digits` dataset: scikit-learn's handwritten digits as a TFDS builder, without any download."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

_TEST_SIZE = 360
_BRIGHTEST = 16  # load_digits counts dark pixels in 4x4 cells: 0 to 16.


class Digits(tfds.core.GeneratorBasedBuilder):
    """1797 handwritten digits of 8x8 pixels: 1437 in `train`, 360 in `test`, stratified.

    Each example is {"image": uint8 [8, 8, 1] in 0..255, "label": int64 in 0..9}.

    Example:
        >>> Digits(data_dir="data").info.features["label"].num_classes
        10
    """

    VERSION = tfds.core.Version("1.0.0")
    # TFDS would look next to the code for checksums of downloads, which do not exist.
    code_path = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="scikit-learn's handwritten digits (load_digits), scaled to 0..255.",
            homepage="https://archive.ics.uci.edu/dataset/80",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # Nothing to download.
        images, labels, splits = read_digits()
        return {name: self._generate_examples(images, labels, chosen) for name, chosen in splits.items()}

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in chosen:
            yield int(index), {"image": images[index], "label": int(labels[index])}


def read_digits() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Reads all digits.

    Returns:
        Images uint8 [1797, 8, 8, 1], labels int64 [1797], and which of them are in `train` and in `test`.

    Example:
        >>> images, labels, splits = read_digits()
        >>> images[splits["test"]].shape
        (360, 8, 8, 1)
    """
    # Imported here, since only the first use of the dataset needs scikit-learn.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.rint(digits.images[..., None] * (255 / _BRIGHTEST)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(images)), test_size=_TEST_SIZE, stratify=digits.target, random_state=0
    )
    return images, digits.target, {"train": train, "test": test}
