"""Images in folders: which files a split expression names, and their labels."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import types
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.data.folder_walk import EXTENSIONS, FolderWalk
from tf_simclrv2.errors import DataError

UNLABELLED = -1
_SHOWN = 8  # Names or numbers in a message.

_File = tuple[str | None, str]  # Class name, or None, and path.


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files and the class of each.

    Attributes:
        paths: Files in a fixed order.
        labels: Index into `class_names` for each file, or -1.
        class_names: Sorted names of the class folders; () if unlabeled.
        summary: What the folders hold, and which files in them were not taken.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    summary: str


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The images of a split's folder; how many files were not taken, by extension; links; empty classes."""

    files: list[_File]
    others: collections.Counter[str]
    repeated: int
    empty: tuple[str, ...]


def list_image_files(data_dir: str, split: str, *, ignore_empty_classes: bool = False) -> ImageFiles:
    """Finds the images of a split expression such as `train`, `train[:10%]` or `train+extra`.

    `train` is the folder `data_dir/train`, or `data_dir` itself if that does not exist. In it, each
    sub-folder that holds images, at any depth, is a class; without sub-folders the images are
    unlabeled, and so is a sum of splits if one of them is. Names that begin with a dot are ignored. A file
    or folder to which several ways lead, through links, is listed once.

    Files come in the order of a hash of their paths within the folder, so that a slice such as
    `train[:10%]` draws from all classes.

    Args:
        data_dir: The folder.
        split: A TFDS split expression over the names of folders.
        ignore_empty_classes: Whether a class folder may hold no image; it is then no class.

    Raises:
        DataError: A folder is missing, empty or mixes loose images with classes, a name is not text, or
            the expression is wrong.
    """
    folders = {name: _split_folder(data_dir, name) for name in _split_names(split)}
    listings = {name: _listing(folder) for name, folder in folders.items()}
    for name, listing in listings.items():
        if not ignore_empty_classes:
            _refuse_empty(folders[name], listing.empty)
    files = {name: listing.files for name, listing in listings.items()}
    classes = {name for listed in files.values() for name, _ in listed}
    class_names = () if None in classes else tuple(sorted(classes))
    index = {name: number for number, name in enumerate(class_names)}
    chosen = _select(split, files)
    return ImageFiles(
        paths=tuple(path for _, path in chosen),
        labels=tuple(index.get(name, UNLABELLED) for name, _ in chosen),
        class_names=class_names,
        summary=_summary(list(listings.values()), class_names),
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
    found = FolderWalk(data_dir).top_folders
    raise DataError(
        f"The split {name!r} needs the folder {folder!r}, which does not exist; {data_dir!r} has "
        f"{', '.join(found) or 'no folders'}."
    )


def _listing(folder: str) -> _Listing:
    """The images below `folder`, in the order of a hash of their relative paths."""
    walk = FolderWalk(folder)
    found = [(path.split("/")[0] if "/" in path else None, path) for path in walk.images]
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
    files = [(name, os.path.join(folder, relative)) for name, relative in found]
    empty = () if loose else tuple(sorted(set(walk.top_folders) - {name for name, _ in found}))
    return _Listing(files, walk.others, walk.repeated, empty)


def _refuse_empty(folder: str, empty: tuple[str, ...]) -> None:
    if empty:
        raise DataError(
            f"The folder {folder!r} holds no images of {_few(empty)}; put some there, remove what is not a "
            "class, or pass --ignore_empty_classes."
        )


def _summary(listings: list[_Listing], class_names: tuple[str, ...]) -> str:
    """What was found and what was not taken, in a line."""
    images = sum(len(listing.files) for listing in listings)
    others = sum((listing.others for listing in listings), collections.Counter())
    repeated = sum(listing.repeated for listing in listings)
    empty = sorted({name for listing in listings for name in listing.empty})
    kinds = f"in {len(class_names)} classes ({_few(class_names)})" if class_names else "without classes"
    parts = [f"{images:,} images {kinds}"]
    if others:
        counts = [f"{count:,} {extension}" for extension, count in others.most_common()]
        parts.append(f"{sum(others.values()):,} other files ignored: {_few(counts)}")
    else:
        parts.append("no files ignored")
    if repeated:
        parts.append(f"{repeated:,} links to what is listed already")
    if empty:
        parts.append(f"no image in: {_few(empty)}")
    return "; ".join(parts)


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (", …" if len(words) > _SHOWN else "")
