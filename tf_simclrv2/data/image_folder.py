"""Images in folders: which files a split expression names, and their labels."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import types

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif")
UNLABELLED = -1

_File = tuple[str | None, str]  # Class name, or None, and path.


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files and the class of each.

    Attributes:
        paths: Files in a fixed order.
        labels: Index into `class_names` for each file, or -1.
        class_names: Sorted names of the class folders; () if unlabeled.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]


def list_image_files(data_dir: str, split: str) -> ImageFiles:
    """Finds the images of a split expression such as `train`, `train[:10%]` or `train+extra`.

    `train` is the folder `data_dir/train`, or `data_dir` itself if that does not exist. In it, each
    sub-folder that holds images, at any depth, is a class; without sub-folders the images are
    unlabeled, and so is a sum of splits if one of them is. Names that begin with a dot are ignored.

    Files come in the order of a hash of their paths within the folder, so that a slice such as
    `train[:10%]` draws from all classes.

    Args:
        data_dir: The folder.
        split: A TFDS split expression over the names of folders.

    Raises:
        DataError: A folder is missing, empty or mixes loose images with classes, or the
            expression is wrong.
    """
    folders = {name: _split_folder(data_dir, name) for name in _split_names(split)}
    files = {name: _files_by_class(folder) for name, folder in folders.items()}
    classes = {name for listed in files.values() for name, _ in listed}
    class_names = () if None in classes else tuple(sorted(classes))
    index = {name: number for number, name in enumerate(class_names)}
    chosen = _select(split, files)
    return ImageFiles(
        paths=tuple(path for _, path in chosen),
        labels=tuple(index.get(name, UNLABELLED) for name, _ in chosen),
        class_names=class_names,
    )


def _split_names(split: str) -> list[str]:
    try:
        tfds.core.ReadInstruction.from_spec(split)
    except ValueError as error:
        raise DataError(
            f"The split is {split!r}, which is not a split expression; write for example 'train', "
            "'train[:10%]' or 'train+extra'."
        ) from error
    return [part.split("[")[0].strip() for part in split.split("+")]


def _select(split: str, files: dict[str, list[_File]]) -> list[_File]:
    sizes = {name: types.SimpleNamespace(num_examples=len(listed)) for name, listed in files.items()}
    counts = ", ".join(f"{name} has {len(listed)} images" for name, listed in files.items())
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(sizes)
    except (ValueError, AttributeError) as error:  # A slice beyond the end; a slice in shards.
        raise DataError(f"The split is {split!r}, but {counts}; choose a slice within.") from error
    chosen = [file for part in parts for file in files[part.splitname][part.from_ : part.to]]
    if not chosen:
        raise DataError(f"The split is {split!r}, which is empty ({counts}); choose a larger slice.")
    return chosen


def _split_folder(data_dir: str, name: str) -> str:
    data_dir = os.path.expanduser(data_dir)
    folder = os.path.join(data_dir, name)
    if tf.io.gfile.isdir(folder):
        return folder
    if not tf.io.gfile.isdir(data_dir):
        raise DataError(
            f"The image folder {data_dir!r} does not exist; set --data_dir (--labelled_data_dir for labelled "
            "images) to an existing one."
        )
    if name == "train":
        return data_dir
    found = sorted(_names(data_dir, folders=True))
    raise DataError(
        f"The split {name!r} needs the folder {folder!r}, which does not exist; {data_dir!r} has "
        f"{', '.join(found) or 'no folders'}."
    )


def _files_by_class(folder: str) -> list[_File]:
    """The images below `folder`, in the order of a hash of their relative paths."""
    found = [(path.split("/")[0] if "/" in path else None, path) for path in _images_below(folder)]
    loose = [relative for name, relative in found if name is None]
    if not found:
        raise DataError(
            f"The folder {folder!r} holds no images; put files that end in {', '.join(EXTENSIONS)} there."
        )
    if loose and len(loose) < len(found):
        raise DataError(
            f"The folder {folder!r} mixes {len(loose)} loose images (such as {loose[0]!r}) with class "
            "folders; move them into a class, or all images into one flat folder."
        )
    found.sort(key=lambda item: (hashlib.md5(item[1].encode(), usedforsecurity=False).digest(), item[1]))
    return [(name, os.path.join(folder, relative)) for name, relative in found]


def _images_below(folder: str) -> list[str]:
    """Paths relative to `folder`, with forward slashes, sorted."""
    images = [name for name in _names(folder, folders=False) if name.lower().endswith(EXTENSIONS)]
    for child in _names(folder, folders=True):
        images += [f"{child}/{relative}" for relative in _images_below(os.path.join(folder, child))]
    return sorted(images)


def _names(folder: str, *, folders: bool) -> list[str]:
    _, children, files = next(tf.io.gfile.walk(folder))
    return [name.rstrip("/") for name in (children if folders else files) if not name.startswith(".")]
