"""Images in folders: which files a split expression names, and their labels."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import types
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.data.class_names import composed
from tf_simclrv2.data.encoded_images import is_readable
from tf_simclrv2.data.extent import Extent, extents_of
from tf_simclrv2.data.folder_walk import EXTENSIONS, FolderWalk
from tf_simclrv2.data.some_names import some_names
from tf_simclrv2.errors import DataError

UNLABELED = -1
# What TFDS takes for the sum of all splits.
ALL_SPLITS = "all"


class _File(NamedTuple):
    """A file's class, or None; its path; and its name, the path within the split's folder."""

    class_name: str | None
    path: str
    name: str


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files and the class of each.

    Attributes:
        paths: Files in a fixed order.
        labels: Index into `class_names` for each file, or -1.
        class_names: Sorted names of the class folders; () if unlabeled.
        summary: What the folders hold, and which files in them were not taken.
        names_hash: SHA-256 of their paths within the folder of the split, in hexadecimal digits: the same
            wherever that folder is.
        extents: Which part of which folders they are; () if they are not a split.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    summary: str
    names_hash: str
    extents: tuple[Extent, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The images of a split's folder; how many files were not taken, by extension; links; empty classes."""

    files: list[_File]
    pictures: collections.Counter[str]
    others: collections.Counter[str]
    repeated: int
    empty: tuple[str, ...]


def list_image_files(data_dir: str, split: str, *, ignore_empty_classes: bool = False) -> ImageFiles:
    """Finds the images of a split expression such as `train`, `train[:10%]` or `train+extra`.

    `train` is the folder `data_dir/train`, or `data_dir` itself if that does not exist. In it, each
    sub-folder is a class; its images may lie at any depth, and one of them at least can be read. Without
    sub-folders the images are unlabeled, and so is a sum of splits if one of them is. Names that begin with a
    dot are ignored. A file or folder to which several ways lead, through links, is listed once.

    Files come in the order of a hash of their paths within the folder, so that a slice such as
    `train[:10%]` draws from all classes.

    Args:
        data_dir: The folder.
        split: A TFDS split expression over the names of folders.
        ignore_empty_classes: Whether a class folder may hold no readable image; it is then no class.

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
    classes = {file.class_name for listed in files.values() for file in listed}
    class_names = () if None in classes else tuple(sorted(classes))
    summary = _summary(list(listings.values()), class_names)
    extents = _extents(split, files)
    chosen = [file for part in extents for file in files[part.split][part.start : part.stop]]
    if not chosen:
        raise DataError(f"The split is {split!r}, which is empty ({_sizes(files)}); choose a larger slice.")
    places = {
        name: folder if "://" in folder else os.path.realpath(folder) for name, folder in folders.items()
    }
    found = _image_files(chosen, class_names, summary)
    placed = tuple(dataclasses.replace(extent, split=places[extent.split]) for extent in extents)
    return dataclasses.replace(found, extents=placed)


def list_every_image(folder: str) -> ImageFiles:
    """Finds every image below a folder, in the order of their paths.

    Args:
        folder: The folder; names that begin with a dot are ignored, and each file is listed once.

    Returns:
        The images. The class of each is the name of the folder that it lies in; directly in `folder` it has
        none.

    Raises:
        DataError: The folder is missing or holds no images, or a name is not text.
    """
    if not tf.io.gfile.isdir(folder):
        raise DataError(f"The image folder {folder!r} does not exist; set --data_dir to an existing one.")
    walk = FolderWalk(folder)
    if not walk.images:
        raise DataError(_no_images(folder))
    files = [
        _File(composed(os.path.basename(os.path.dirname(name))) or None, os.path.join(folder, name), name)
        for name in walk.images
    ]
    class_names = tuple(sorted({file.class_name for file in files if file.class_name}))
    listing = _Listing(files, walk.pictures, walk.others, walk.repeated, ())
    return _image_files(files, class_names, _summary([listing], class_names))


def _image_files(files: list[_File], class_names: tuple[str, ...], summary: str) -> ImageFiles:
    index = {name: number for number, name in enumerate(class_names)}
    return ImageFiles(
        paths=tuple(file.path for file in files),
        labels=tuple(index.get(file.class_name, UNLABELED) for file in files),
        class_names=class_names,
        summary=summary,
        names_hash=hash_of_names(file.name for file in files),
    )


def hash_of_names(names: Iterable[str]) -> str:
    """Returns the SHA-256 of names in their order, in hexadecimal digits."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _no_images(folder: str) -> str:
    return f"The folder {folder!r} holds no images; put files that end in {', '.join(EXTENSIONS)} there."


def _split_names(split: str) -> list[str]:
    names = [part.split("[")[0].strip() for part in split.split("+")]
    if ALL_SPLITS in names:
        raise DataError(
            f"The split is {split!r}, but {ALL_SPLITS!r} stands for every split of a TFDS dataset and cannot "
            "name a folder; rename the folder, or write the folders' names with + between them."
        )
    try:
        tfds.core.ReadInstruction.from_spec(split)
    except ValueError as error:
        raise DataError(
            f"The split is {split!r}, which is not a split expression; write for example 'train', "
            "'train[:10%]' or 'train+extra'."
        ) from error
    return names


def _extents(split: str, files: dict[str, list[_File]]) -> list[Extent]:
    sizes = {name: types.SimpleNamespace(num_examples=len(listed)) for name, listed in files.items()}
    try:
        return extents_of(split, sizes)
    except (ValueError, AttributeError) as error:  # A slice beyond the end; a slice in shards.
        raise DataError(f"The split is {split!r}, but {_sizes(files)}; choose a slice within it.") from error


def _sizes(files: dict[str, list[_File]]) -> str:
    return ", ".join(f"{name} has {len(listed)} images" for name, listed in files.items())


def _split_folder(data_dir: str, name: str) -> str:
    folder = os.path.join(data_dir, name)
    if tf.io.gfile.isdir(folder):
        return folder
    if not tf.io.gfile.isdir(data_dir):
        raise DataError(
            f"The image folder {data_dir!r} does not exist; set --data_dir (--labeled_data_dir for labeled "
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
    found = [(composed(path.split("/")[0]) if "/" in path else None, path) for path in walk.images]
    loose = [relative for name, relative in found if name is None]
    if not found:
        raise DataError(_no_images(folder))
    if loose and len(loose) < len(found):
        raise DataError(
            f"The folder {folder!r} mixes {len(loose)} loose images (such as {loose[0]!r}) with class "
            "folders; move them into a class, or all images into one flat folder."
        )
    classes = {name for name, _ in found if name is not None}
    folders = set(map(composed, walk.top_folders))
    empty = () if loose else tuple(sorted(folders - classes | _unreadable(folder, found)))
    found = [(name, relative) for name, relative in found if name not in empty]
    found.sort(key=lambda item: (hashlib.md5(item[1].encode(), usedforsecurity=False).digest(), item[1]))
    files = [_File(name, os.path.join(folder, relative), relative) for name, relative in found]
    return _Listing(files, walk.pictures, walk.others, walk.repeated, empty)


def _unreadable(folder: str, found: list[tuple[str | None, str]]) -> set[str]:
    """The classes of which no image can be read; only one of each other class is decoded."""
    waiting = {name for name, _ in found if name is not None}
    for name, relative in found:
        if name in waiting and is_readable(os.path.join(folder, relative)):
            waiting.remove(name)
    return waiting


def _refuse_empty(folder: str, empty: tuple[str, ...]) -> None:
    if empty:
        raise DataError(
            f"The folder {folder!r} holds no image of {some_names(empty)} that can be read; put some there, "
            "remove what is not a class, or pass --ignore_empty_classes."
        )


def _summary(listings: list[_Listing], class_names: tuple[str, ...]) -> str:
    """What was found and what was not taken, in a line."""
    images = sum(len(listing.files) for listing in listings)
    pictures = sum((listing.pictures for listing in listings), collections.Counter())
    others = sum((listing.others for listing in listings), collections.Counter())
    repeated = sum(listing.repeated for listing in listings)
    empty = sorted({name for listing in listings for name in listing.empty})
    kinds = f"in {len(class_names)} classes ({some_names(class_names)})" if class_names else "without classes"
    parts = [f"{images:,} images {kinds}"]
    if pictures:
        parts.append(f"{_number(pictures, 'picture')} in formats that are not read: {_counts(pictures)}")
    if others:
        parts.append(f"{_number(others, 'other file')} ignored: {_counts(others)}")
    if not pictures and not others:
        parts.append("no files ignored")
    if repeated:
        parts.append(f"{repeated:,} link{'s' if repeated > 1 else ''} to what is listed already")
    if empty:
        parts.append(f"no image in: {some_names(empty)}")
    return "; ".join(parts)


def _number(counts: collections.Counter[str], what: str) -> str:
    total = counts.total()
    return f"{total:,} {what}{'s' if total > 1 else ''}"


def _counts(counts: collections.Counter[str]) -> str:
    return some_names([f"{count:,} {extension}" for extension, count in counts.most_common()])
