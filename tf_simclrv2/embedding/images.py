"""Which images are embedded: all of a folder, those of a list, or a split of a dataset."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import Source, load_source
from tf_simclrv2.data.folder_source import absolute_path, name_in, source_of_files
from tf_simclrv2.data.image_folder import (
    UNLABELED,
    ImageFiles,
    hash_of_names,
    list_every_image,
    list_image_files,
)
from tf_simclrv2.data.tfds_source import counted_name
from tf_simclrv2.errors import ConfigError, DataError

_FOLDER = "image_folder"


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order, and the name of each.

    Attributes:
        source: The images.
        names: Their names, if they are files; () for a dataset, whose images are counted.
    """

    source: Source
    names: tuple[str, ...] = ()

    def names_from(self, start: int, count: int) -> list[str]:
        """Returns the names of `count` images, from the one at `start` on."""
        stop = min(start + count, self.source.num_examples)
        if self.names:
            return list(self.names[start:stop])
        dataset, _, split = self.source.name.rpartition("/")
        return [counted_name(dataset, split, number) for number in range(start, stop)]


def find_images(
    data_dir: str | None, files: str | None = None, dataset: str | None = None, split: str | None = None
) -> Images:
    """Finds the images to embed.

    Args:
        data_dir: A folder, whose images are taken at any depth; or, for a dataset, the directory of TFDS.
        files: A text file that names an image on each line, relative to `data_dir` or else to the working
            directory.
        dataset: The name of a TFDS dataset.
        split: A split expression of a dataset, or of a folder that is arranged in splits and classes.

    Raises:
        ConfigError: None or several of them are given, or a dataset without a split.
        DataError: There are no such images.

    Example:
        >>> find_images("pictures").names[:2]
        ('test/circle/080.png', 'test/circle/081.png')
    """
    if dataset and dataset != _FOLDER:
        return _of_dataset(dataset, data_dir, files, split)
    if files:
        return _of_list(files, data_dir, split)
    if not data_dir:
        raise ConfigError(
            "there are no images to embed; pass --data_dir=FOLDER, --files=LIST or --dataset=NAME."
        )
    # A class without images is nothing to embed, and nothing to refuse.
    listed = (
        list_image_files(data_dir, split, ignore_empty_classes=True) if split else list_every_image(data_dir)
    )
    source = source_of_files(f"{data_dir}/{split}" if split else data_dir, listed, data_dir)
    return Images(source, tuple(name_in(source.folder, path) for path in listed.paths))


def _of_dataset(dataset: str, data_dir: str | None, files: str | None, split: str | None) -> Images:
    if files:
        raise ConfigError(f"files is {files!r} and dataset {dataset!r}; pass one of them.")
    if not split:
        raise ConfigError(f"dataset is {dataset!r} but split is not set; pass for example --split=train.")
    return Images(load_source(DataConfig(dataset=dataset, data_dir=data_dir), split))


def _of_list(list_file: str, data_dir: str | None, split: str | None) -> Images:
    if split:
        raise ConfigError(f"files is {list_file!r} and split {split!r}; pass one of them.")
    try:
        with open(list_file, encoding="utf-8-sig") as file:
            names = [line for line in file.read().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"files is {list_file!r}, which cannot be read as text ({error}); write a path on each line."
        ) from error
    paths = [os.path.join(data_dir or "", name) for name in names]
    missing = [path for path in paths if "://" not in path and not os.path.isfile(path)]
    if missing or not names:
        what = f"names {missing[0]!r}, which is not a file" if missing else "names no images"
        raise DataError(
            f"{list_file!r} {what}; write an image's path on each line, relative to --data_dir or, without "
            "it, to the working directory."
        )
    spelled = Counter(map(real_path, paths))
    (path, times), *_ = spelled.most_common(1)
    if times > 1:
        raise DataError(f"{list_file!r} names {path!r} {times} times; name each image once.")
    return images_of_files(names, data_dir or os.getcwd(), list_file)


def images_of_files(names: Sequence[str], folder: str, title: str) -> Images:
    """Returns images of certain files.

    Args:
        names: Their paths, relative to `folder`.
        folder: The folder.
        title: What they are called in messages.
    """
    # Some names may be absolute, and all files are read alike.
    paths = tuple(os.path.join(absolute_path(folder), name) for name in names)
    unlabeled = ImageFiles(paths, (UNLABELED,) * len(paths), (), "", hash_of_names(names))
    return Images(source_of_files(title, unlabeled, folder), tuple(names))


def real_path(path: str) -> str:
    """Returns the path of a file without the links that lead to it; those of other filesystems as they are.

    Args:
        path: The file, or the name of an image of a dataset.
    """
    return path if "://" in path else os.path.realpath(path)
