"""A part of Fashion-MNIST (Xiao et al. 2017) as a folder of images, for `--dataset=image_folder`."""

from __future__ import annotations

import gzip
import pathlib
from typing import Literal

import numpy as np
from PIL import Image

from tf_simclrv2.data import draw_per_class

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
# Where Debian's package dataset-fashion-mnist puts it.
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")

FashionSource = Literal["debian", "tfds"]
_Split = Literal["train", "test"]
_DEBIAN_NAMES = {"train": "train", "test": "t10k"}
_IMAGES_HEADER, _LABELS_HEADER = 16, 8  # Bytes before the pixels and the labels in the IDX format.


def default_source() -> FashionSource:
    """Debian's files where they are, else TensorFlow Datasets."""
    return "debian" if DEBIAN.is_dir() else "tfds"


def write_image_folder(
    folder: pathlib.Path, counts: dict[_Split, int], source: FashionSource, validation: int = 0
) -> None:
    """Writes FOLDER/SPLIT/CLASS/NNNNN.png once; an interrupted writing starts over.

    Args:
        folder: What `--data_dir` will be.
        counts: Images of each split, shared evenly among the classes.
        source: Where the images come from.
        validation: Images of the split `validation`, of the training images that are left; 0 has none.
    """
    if folder.exists():
        return
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    for split, count in counts.items():
        images, labels = read(split, source)
        chosen = draw_per_class(labels, count // len(CLASSES))
        write_split(unfinished / split, images, labels, chosen)
        if split == "train" and validation:
            left = np.setdiff1d(np.arange(len(labels)), chosen)
            held_out = left[draw_per_class(labels[left], validation // len(CLASSES))]
            write_split(unfinished / "validation", images, labels, held_out)
    unfinished.rename(folder)


def write_split(folder: pathlib.Path, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> None:
    """Writes some of the images, named by their index.

    Args:
        folder: Gets a sub-folder for each class.
        images: uint8 [N, 28, 28].
        labels: int [N].
        chosen: Indices of those to write.
    """
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in chosen:
        Image.fromarray(images[index]).save(folder / CLASSES[labels[index]] / f"{index:05}.png")


def read(split: _Split, source: FashionSource) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels int [N] of a split."""
    return read_idx(DEBIAN, _DEBIAN_NAMES[split]) if source == "debian" else _read_tfds(split)


def read_idx(folder: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from the files of the original distribution."""
    pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=_IMAGES_HEADER).reshape(-1, 28, 28)
    return images, np.frombuffer(labels, np.uint8, offset=_LABELS_HEADER).astype(int)


def _read_tfds(split: str) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds

    examples = list(tfds.as_numpy(tfds.load("fashion_mnist", split=split, as_supervised=True)))
    return np.stack([image[..., 0] for image, _ in examples]), np.array([int(label) for _, label in examples])
