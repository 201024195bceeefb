"""What a folder holds for a job: how many pictures, how large, and which have labels."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import Source, check_same_classes, load_source
from tf_simclrv2.data.encoded_images import is_readable
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.data.skipped_images import SkippedImages
from tf_simclrv2.data.some_names import some_names
from tf_simclrv2.doctor.image_sample import sample_images
from tf_simclrv2.errors import DataError

TRAIN = "train"
# Folders next to `train` whose pictures are only for the final accuracy.
HELD_BACK = ("test", "validation", "val")
FEWEST_IMAGES = 16
# Of so many pictures, each is decoded before anything is trained, in seconds.
MOST_LOOKED_AT = 2_000
# Of so small a class, too, however many pictures there are: only one of it may be held out.
SMALL_CLASS = 5


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a job.

    Attributes:
        folder: The absolute path of the folder to pretrain on.
        count: How many pictures it holds.
        median_side: The median of the shorter sides of some of them, in pixels.
        labeled: Paths of those with a label, by class name in sorted order; empty if there are none.
        test_folder: The absolute path of class folders that are held back; None if there are none.
        summary: What was found in the folder, in a line.
        unlabeled_classes: Class folders of which no picture has a label, because `labels_from` names none.
        notes: What is left out, and why.
    """

    folder: str
    count: int
    median_side: float
    labeled: dict[str, tuple[str, ...]]
    test_folder: str | None
    summary: str
    unlabeled_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """How many pictures and labels there are, and a hash of the labels: what one job is about."""
        rows = sorted((os.path.abspath(path), name) for name, paths in self.labeled.items() for path in paths)
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:8]
        return f"{self.count} pictures with {self.label_count} labels ({digest})"

    @property
    def label_count(self) -> int:
        return count_labels(self.labeled)

    @property
    def fewest_labels(self) -> int:
        """Labels of the smallest class; 0 if there are none, or a class folder has none."""
        return 0 if self.unlabeled_classes else min(map(len, self.labeled.values()), default=0)


def count_labels(labeled: dict[str, tuple[str, ...]]) -> int:
    """Returns how many pictures there are in all classes."""
    return sum(map(len, labeled.values()))


def look_at(
    data_dir: str,
    labels_from: str | None = None,
    ignore_empty_classes: bool = False,
    max_skipped_fraction: float = DataConfig.max_skipped_fraction,
) -> Pictures:
    """Lists the pictures of a folder, and their labels.

    Args:
        data_dir: A folder of pictures, of class folders, or of `train` and perhaps `test`.
        labels_from: As `--labels_from`; None takes the labels of the class folders, if there are any.
        ignore_empty_classes: As `--ignore_empty_classes`.
        max_skipped_fraction: As `--max_skipped_fraction`.

    Raises:
        DataError: The folder or the labels cannot be used; the labels are not classes of the test pictures.
    """
    config = DataConfig(
        dataset="image_folder",
        data_dir=data_dir,
        labels_from=labels_from,
        ignore_empty_classes=ignore_empty_classes,
        max_skipped_fraction=max_skipped_fraction,
    )
    source = load_source(config, TRAIN)
    if "://" in source.folder:
        raise DataError(
            f"data_dir is {data_dir!r}, but auto sorts pictures into folders with links, which only a local "
            "disk supports; copy the folder to this machine."
        )
    if source.num_examples < FEWEST_IMAGES:
        raise DataError(
            f"{data_dir!r} holds {source.num_examples} pictures, but pretraining contrasts at least "
            f"{FEWEST_IMAGES} with each other; add some."
        )
    folder = os.path.join(source.folder, TRAIN)
    labeled, unreadable = _readable(_labels_to_learn(source, config))
    test_folder, notes = _held_back(source, config, labeled)
    if unreadable:
        what = f"{len(unreadable)} labeled picture(s) cannot be read and are left out"
        notes = (f"{what}: {some_names(unreadable)}", *notes)
    return Pictures(
        folder=folder if os.path.isdir(folder) else source.folder,
        count=source.num_examples,
        median_side=_median_side(source),
        labeled=labeled,
        test_folder=test_folder,
        summary=source.summary,
        unlabeled_classes=tuple(name for name in source.class_names if labeled and name not in labeled),
        notes=notes,
    )


def _median_side(source: Source) -> float:
    found = sample_images(source)
    if not found.count:
        raise DataError(
            f"None of {found.unreadable} pictures of {source.name} can be read; see simclrv2 doctor."
        )
    return found.median_side


def _labels_to_learn(source: Source, config: DataConfig) -> dict[str, tuple[str, ...]]:
    labeled = _labeled(source)
    if config.labels_from and len(labeled) < 2:
        what = f"only the class {next(iter(labeled))!r}" if labeled else "no picture"
        raise DataError(
            f"labels_from is {config.labels_from!r}, but it names {what} in {config.data_dir!r} that is "
            "trained on; label pictures of two classes at least, with paths relative to --data_dir."
        )
    for name in labeled:
        if os.path.basename(name) != name or name.startswith("."):
            raise DataError(
                f"labels_from is {config.labels_from!r}, which names the class {name!r}, but auto sorts "
                "pictures into folders of the classes' names; give it a name without / and without a dot in "
                "front."
            )
    return labeled if len(labeled) > 1 else {}  # A single class folder says nothing that could be learned.


def _unreadable(labeled: dict[str, tuple[str, ...]]) -> list[str]:
    """Of few pictures, those that cannot be read: of many, trainings skip some, but hardly one of few."""
    largest = SMALL_CLASS if count_labels(labeled) > MOST_LOOKED_AT else MOST_LOOKED_AT
    looked_at = [path for paths in labeled.values() if len(paths) <= largest for path in paths]
    with ThreadPoolExecutor() as pool:
        readable = pool.map(is_readable, looked_at)
    return [path for path, known in zip(looked_at, readable, strict=True) if not known]


def _readable(
    labeled: dict[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Leaves out what cannot be read, and lists it."""
    unreadable = _unreadable(labeled)
    lost = set(unreadable)
    left = {name: tuple(path for path in paths if path not in lost) for name, paths in labeled.items()}
    kept = {name: paths for name, paths in left.items() if paths}
    if len(labeled) > 1 and len(kept) < 2:
        raise DataError(
            f"Labeled pictures of fewer than two classes can be read ({some_names(unreadable)} cannot); "
            "label others."
        )
    return kept, unreadable


def _labeled(source: Source) -> dict[str, tuple[str, ...]]:
    if not source.has_labels:
        return {}
    by_label: dict[int, list[str]] = collections.defaultdict(list)
    for record in source.records.batch(4096).as_numpy_iterator():
        for path, label in zip(record["path"], record["label"], strict=True):
            if label != UNLABELED:
                by_label[int(label)].append(os.fsdecode(path))
    return {source.class_names[label]: tuple(by_label[label]) for label in sorted(by_label)}


def _held_back(
    source: Source, config: DataConfig, labeled: dict[str, tuple[str, ...]]
) -> tuple[str | None, tuple[str, ...]]:
    """The first folder next to `train` that holds classes, and what is to be said of such folders."""
    notes: list[str] = []
    beside = os.path.isdir(os.path.join(source.folder, TRAIN))
    for name in HELD_BACK if labeled and beside else ():
        folder = os.path.join(source.folder, name)
        if not os.path.isdir(folder):
            continue
        test = load_source(dataclasses.replace(config, labels_from=None), name)
        if not test.has_labels:
            notes.append(f"the pictures in {name} are not used, as they are not sorted into class folders")
            continue
        # As in a run: a few labels in a file may lack a class.
        lacking = [each for each in test.class_names if each not in labeled]
        if not config.labels_from or not set(source.class_names) <= set(test.class_names):
            check_same_classes(source, test, config.labels_from)
        _refuse_unreadable(test, name, config.max_skipped_fraction)
        if lacking:
            notes.append(f"no label yet of {some_names(lacking)}, whose pictures in {name} count as errors")
        return folder, tuple(notes)
    return None, tuple(notes)


def _refuse_unreadable(test: Source, name: str, max_fraction: float) -> None:
    """What a run would find out after pretraining."""
    unreadable = _unreadable(_labeled(test))
    limit = SkippedImages(test.num_examples, max_fraction).limit
    if len(unreadable) > limit:
        raise DataError(
            f"{len(unreadable)} of {test.num_examples} pictures in {name} cannot be read, but at most "
            f"{limit} may be; remove {some_names(unreadable)}."
        )


def split_labels(
    labeled: dict[str, tuple[str, ...]], share: float = 0.25, seed: int = 0
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Splits labeled pictures at random, class by class.

    Args:
        labeled: Paths by class name; at least two of each.
        share: The share of each class that goes into the second part, at least one picture.
        seed: Of the draw.

    Returns:
        The pictures to learn from, and those to choose by.
    """
    generator = np.random.default_rng(seed)
    learn, choose = {}, {}
    for name, paths in labeled.items():
        order = generator.permutation(len(paths))
        count = max(1, round(share * len(paths)))
        choose[name] = tuple(paths[index] for index in sorted(order[:count]))
        learn[name] = tuple(paths[index] for index in sorted(order[count:]))
    return learn, choose
