"""Finds groups of images that a network can hardly tell apart, within embedding files and between them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tf_simclrv2.embedding.contact_sheet import Card, Row, contact_sheet
from tf_simclrv2.embedding.duplicates_config import DuplicatesConfig
from tf_simclrv2.embedding.embedding_file import read_embeddings
from tf_simclrv2.embedding.embeddings import Embeddings
from tf_simclrv2.embedding.images import real_path
from tf_simclrv2.embedding.outputs import Page, Table, Writers, write_outputs
from tf_simclrv2.errors import DataError
from tf_simclrv2.evaluation.similar_pairs import Pairs, similar_pairs
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.setting import as_path

# More pairs than a person or the memory has room for.
MOST_PAIRS = 5_000_000


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """An image of a group.

    Attributes:
        name: Its name.
        path: Where it lies; its name if it is not a file.
        file: The embedding file that holds it.
        label: Its class; "" if it is not known.
        cosine: The largest cosine with another image of the group.
        card: The image on a page.
    """

    name: str
    path: str
    file: str
    label: str
    cosine: float
    card: Card


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Groups of near-duplicates.

    Attributes:
        groups: The groups, those with images of several files first, then the largest. Within a group, images
            come in the order of the embedding files.
        looked_at: The number of images.
    """

    groups: tuple[tuple[Duplicate, ...], ...]
    looked_at: int

    @property
    def copies(self) -> tuple[str, ...]:
        """The path of every image but the first of its group: what can go, so that one of each stays."""
        return tuple(image.path for group in self.groups for image in group[1:])

    @property
    def summary(self) -> str:
        """How many there are, in a line."""
        if not self.groups:
            return f"no near-duplicates among {self.looked_at:,} images"
        images = sum(map(len, self.groups))
        between = sum(len({image.file for image in group}) > 1 for group in self.groups)
        mixed = sum(_is_mixed(group) for group in self.groups)
        parts = [
            f"{len(self.groups):,} groups of near-duplicates with {images:,} of {self.looked_at:,} images"
        ]
        if between:
            parts.append(f"{between:,} of them across several files")
        if mixed:
            parts.append(f"{mixed:,} with different classes")
        return "; ".join(parts)


def find_duplicates(config: DuplicatesConfig, say: Say) -> Duplicates:
    """Finds groups of images in which each one is nearly the same as another.

    Every image is compared with every other one, on the device. A file of an image folder that several
    embedding files hold counts once.

    Args:
        config: Where to look.
        say: Receives lines for the user.

    Raises:
        ConfigError: A setting cannot be used.
        DataError: A file does not hold embeddings, they are of different networks, or there are more than
            `MOST_PAIRS` pairs.

    Example:
        >>> find_duplicates(DuplicatesConfig(("train.npz", "test.npz")), print).summary
        '12 groups of near-duplicates with 31 of 60,000 images; 4 of them across several files'
    """
    with phase("reading the embeddings", say):
        files = _distinct([read_embeddings(as_path("embeddings", path)) for path in config.embeddings])
    for path, file in zip(config.embeddings, files, strict=True):
        files[0].of_same_network(file, path)
    with phase("comparing the images", say):
        pairs = _all_pairs(files, config.above)
    found = Duplicates(_groups(pairs, files, config.embeddings), sum(map(len, files)))
    write_outputs(
        config.outputs,
        Writers(_page(found, config), lambda: _table(found), _values(found), lambda: found.copies),
        say,
    )
    return found


def _distinct(files: Sequence[Embeddings]) -> list[Embeddings]:
    """The files with each image once, whatever links lead to it: a copy may be deleted, the original not."""
    seen: set[str] = set()
    kept = []
    for file in files:
        new = []
        for row, name in enumerate(file.names.tolist()):
            path = real_path(os.path.join(file.origin.folder, name))
            if path not in seen:
                seen.add(path)
                new.append(row)
        kept.append(file if len(new) == len(file) else file.rows(np.array(new, np.int64)))
    return kept


def _all_pairs(files: Sequence[Embeddings], above: float) -> Pairs:
    """The pairs within the files and between them; rows are counted through all files."""
    starts = np.cumsum([0, *map(len, files)])
    found: list[Pairs] = []
    count = 0
    for i, a in enumerate(files):
        for j, b in enumerate(files[i:], i):
            for pairs in similar_pairs(a.vectors, None if i == j else b.vectors, above):
                found.append(Pairs(pairs.first + starts[i], pairs.second + starts[j], pairs.cosine))
                count += len(pairs.first)
                if count > MOST_PAIRS:
                    raise DataError(
                        f"more than {MOST_PAIRS:,} pairs of images have a cosine above {above}; pass a "
                        "larger --above, or embed with a network that has learned to tell these images apart."
                    )
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def _groups(
    pairs: Pairs, files: Sequence[Embeddings], paths: Sequence[str]
) -> tuple[tuple[Duplicate, ...], ...]:
    count = sum(map(len, files))
    graph = coo_array((np.ones(len(pairs.first), bool), (pairs.first, pairs.second)), (count, count))
    number, group_of = connected_components(graph, directed=False)
    closest = np.full(count, -1.0, np.float32)
    for rows in (pairs.first, pairs.second):
        np.maximum.at(closest, rows, pairs.cosine)
    sizes = np.bincount(group_of, minlength=number)
    groups: dict[int, list[Duplicate]] = {}
    starts = np.cumsum([0, *map(len, files)])
    for row in np.flatnonzero(sizes[group_of] > 1).tolist():
        of = int(np.searchsorted(starts, row, side="right")) - 1
        file, place = files[of], row - int(starts[of])
        name, cosine = str(file.names[place]), float(closest[row])
        card = Card(name, file.origin, f"{cosine:.4f}")
        path, label = os.path.join(file.origin.folder, name), str(file.classes[place])
        groups.setdefault(int(group_of[row]), []).append(
            Duplicate(name, path, paths[of], label, cosine, card)
        )
    return tuple(sorted(map(tuple, groups.values()), key=_order))


def _order(group: tuple[Duplicate, ...]) -> tuple[bool, int, str]:
    return len({image.file for image in group}) == 1, -len(group), group[0].name


def _is_mixed(group: tuple[Duplicate, ...]) -> bool:
    return len({image.label for image in group if image.label}) > 1


def _title(group: tuple[Duplicate, ...]) -> str:
    files = list(dict.fromkeys(os.path.basename(image.file) for image in group))
    labels = sorted({image.label for image in group if image.label})
    parts = [f"{len(group):,} images", *([f"in {' and '.join(files)}"] if len(files) > 1 else [])]
    parts += [f"of different classes: {', '.join(labels)}"] if len(labels) > 1 else labels
    return ", ".join(parts)


def _page(found: Duplicates, config: DuplicatesConfig) -> Page:
    rows = [Row(_title(group), [image.card for image in group]) for group in found.groups]
    notes = [found.summary, f"cosine above {config.above}; below each image, the largest with another one"]
    return lambda directory: contact_sheet("Near-duplicates", notes, rows, directory)


def _table(found: Duplicates) -> Table:
    yield ("group", "file", "path", "class", "cosine")
    for number, group in enumerate(found.groups, 1):
        for image in group:
            yield (number, image.file, image.name, image.label, f"{image.cosine:.6f}")


def _values(found: Duplicates) -> Any:
    return [
        [
            {"file": image.file, "path": image.name, "class": image.label, "cosine": image.cosine}
            for image in group
        ]
        for group in found.groups
    ]
