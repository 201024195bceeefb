"""Images in folders as a source, with the labels of the folders or of a file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.folder_walk import is_listed
from tf_simclrv2.data.image_folder import UNLABELED, ImageFiles, list_image_files
from tf_simclrv2.data.label_list import LabelList, is_list
from tf_simclrv2.data.labels_file import LabelsFile, named_twice
from tf_simclrv2.data.source import Record, Source, names_none
from tf_simclrv2.errors import DataError


def folder_source(config: DataConfig, split: str, labels_for: str = "") -> Source:
    """Opens a split of an image folder; arguments and errors as those of `load_source`."""
    folder = absolute_path(str(config.data_dir))
    files = list_image_files(config.data_dir, split, ignore_empty_classes=config.ignore_empty_classes)
    before = files
    if config.labels_from and is_list(config.labels_from):
        files = _listed(files, LabelList.read(config.labels_from), folder)
    elif config.labels_from:
        files = _relabeled(files, LabelsFile.read(config.labels_from), folder)
    if config.labels_from and files is before and labels_for:
        example = name_in(folder, files.paths[0])
        raise names_none(config.labels_from, f"{config.data_dir}/{split}", example, labels_for)
    return source_of_files(f"{config.data_dir}/{split}", files, folder)


def _listed(files: ImageFiles, chosen: LabelList, folder: str) -> ImageFiles:
    """The same files, of which only those in a list have their labels, if it names any of them."""
    if not files.class_names:
        raise DataError(
            f"labels_from is {chosen.path!r}, a list without labels, but the images have no class folders "
            "that provide them; pass a CSV file with the columns path and label."
        )
    labels = chosen.keep([name_in(folder, path) for path in files.paths], tuple(files.labels))
    if labels is None:
        return files
    count = sum(label != UNLABELED for label in labels)
    summary = f"{files.summary}; labels of {count:,} of the {len(chosen.names):,} images in {chosen.path}"
    return dataclasses.replace(files, labels=labels, summary=summary)


def _relabeled(files: ImageFiles, labels: LabelsFile, folder: str) -> ImageFiles:
    """The same files with the labels of a file, if it names any of them."""
    class_of: dict[str, str] = {}
    for typed, label in labels.class_of.items():
        name = name_in(folder, os.path.join(folder, typed))
        if name in class_of:  # In another spelling.
            raise named_twice(labels.path, name)
        class_of[name] = label
        if "://" not in folder and not os.path.isfile(os.path.join(folder, name)):
            raise DataError(
                f"{labels.path!r} names {name!r}, which is not in {folder!r}; write paths relative to that "
                "folder."
            )
    names = [name_in(folder, path) for path in files.paths]
    class_of = _by_listed_names(LabelsFile(labels.path, class_of), names, folder)
    numbered = LabelsFile(labels.path, class_of).number(names, files.class_names)
    if numbered is None:
        return files
    found, class_names = numbered
    count = sum(label != UNLABELED for label in found)
    summary = f"{files.summary}; {count:,} labels in {len(class_names)} classes from {labels.path}"
    if unread := [name for name in class_of if not is_listed(name)]:
        summary += f"; {len(unread):,} labels are of files that are not read, such as {unread[0]}"
    return dataclasses.replace(files, labels=found, class_names=class_names, summary=summary)


def _by_listed_names(labels: LabelsFile, names: Sequence[str], folder: str) -> dict[str, str]:
    """The classes by the names under which images are listed: through links, others lead to them as well."""
    if "://" in folder:
        return labels.class_of
    real_folder, listed = os.path.realpath(folder), set(names)

    def real(name: str) -> str:
        return os.path.realpath(os.path.join(folder, name))

    unlisted = {name: real(name) for name in labels.class_of if name not in listed}
    others = {
        name: path
        for name, path in unlisted.items()
        if os.path.isabs(name) or path != os.path.join(real_folder, name)
    }
    listed_as = {real(name): name for name in names} if others else {}
    class_of: dict[str, str] = {}
    for typed, label in labels.class_of.items():
        name = listed_as.get(others.get(typed, ""), typed)
        if class_of.setdefault(name, label) != label:
            raise named_twice(labels.path, name)
    return class_of


def source_of_files(name: str, files: ImageFiles, folder: str) -> Source:
    """Returns the source of image files.

    Args:
        name: For messages.
        files: The files, in the order of the records.
        folder: The folder that they lie in; "" if they lie anywhere.
    """
    return Source(
        name=name,
        summary=files.summary,
        names_hash=files.names_hash,
        extents=files.extents,
        folder=folder and absolute_path(folder),
        num_examples=len(files.paths),
        class_names=files.class_names,
        records=tf.data.Dataset.from_tensor_slices(
            {"path": tf.constant(files.paths), "label": tf.constant(files.labels, tf.int64)}
        ),
        read=_reading(files.paths),
        light=True,
    )


def _reading(paths: Sequence[str | bytes]) -> Callable[[Record], tf.Tensor]:
    """Reads files from where this process was started: a data service may be started anywhere."""
    first = os.fsdecode(paths[0]) if paths else ""
    if "://" in first or os.path.isabs(first):
        return lambda record: tf.io.read_file(record["path"])
    here = os.path.join(os.getcwd(), "")
    return lambda record: tf.io.read_file(here + record["path"])


def absolute_path(path: str) -> str:
    """Returns the absolute form of a local path; those of other filesystems (`gs://`) as they are."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def name_in(folder: str, path: str) -> str:
    """Returns the name of a file in a folder; a path elsewhere stays absolute.

    Args:
        folder: The folder's absolute path.
        path: The file.
    """
    return absolute_path(path).removeprefix(f"{folder.rstrip('/')}/")
