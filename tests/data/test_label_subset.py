"""Label subsets: balanced, seeded, and the same stream wherever it is started."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2 import ConfigError, DataConfig, DataError
from tf_simclrv2.data import BatchOptions, finetuning_batches, label_subset, load_source

DIGITS = DataConfig(dataset="digits", random_flip=False)


def subset(split="train", **changes):
    config = dataclasses.replace(DIGITS, **changes)
    return label_subset(load_source(config, split), config)


def rows_of(source):
    return [(record["path"], int(record["label"])) for record in source.records.as_numpy_iterator()]


@pytest.mark.parametrize(
    ("changes", "per_class"),
    [({"label_fraction": 0.05}, 7), ({"labels_per_class": 3}, 3), ({"label_fraction": 1e-9}, 1)],
)
def test_every_class_has_as_many(changes, per_class):
    source = subset(**changes)
    rows = rows_of(source)
    assert len(rows) == len(set(rows)) == source.num_examples == 10 * per_class
    assert np.bincount([label for _, label in rows]).tolist() == [per_class] * 10
    assert source.name == f"digits/train ({per_class} labels per class)"


def test_rows_are_the_whole_sources_in_its_order():
    whole, few = rows_of(load_source(DIGITS, "train")), rows_of(subset(labels_per_class=4))
    positions = [whole.index(row) for row in few]
    assert positions == sorted(positions)


def test_the_seed_chooses():
    assert rows_of(subset(labels_per_class=4)) == rows_of(subset(labels_per_class=4))
    assert rows_of(subset(labels_per_class=4)) != rows_of(subset(labels_per_class=4, label_seed=1))


def test_all_labels_are_the_source_itself():
    source = load_source(DIGITS, "train")
    assert label_subset(source, DIGITS) is source


def test_a_stream_goes_on_where_it_was_left():
    def stream(start):
        batches = finetuning_batches(
            subset(labels_per_class=2), DIGITS, BatchOptions(8, 5, seed=3), start=start
        )
        return [(b["key"].numpy(), b["image"].numpy()) for b in batches.take((45 - start) // 5)]

    whole, late = stream(0), stream(25)
    for (key, image), (late_key, late_image) in zip(whole[5:], late, strict=True):
        np.testing.assert_array_equal(key, late_key)
        np.testing.assert_array_equal(image, late_image)


def test_an_epoch_holds_every_chosen_image_once():
    source = subset(labels_per_class=2)
    batches = finetuning_batches(source, DIGITS, BatchOptions(8, 20)).take(2)
    for batch in batches:
        assert np.bincount(batch["label"]).tolist() == [2] * 10


def test_a_look_that_ends_early_disturbs_nobody():
    """It once emptied the subset under a run, in one of six."""
    for _ in range(4):
        source = subset(label_fraction=0.05)
        few = dataclasses.replace(source, records=source.records.take(8), num_examples=8)
        batches = finetuning_batches(source, DIGITS, BatchOptions(8, 35))
        next(iter(finetuning_batches(few, DIGITS, BatchOptions(8, 8))))
        assert sum(1 for _ in batches.take(40)) == 40


@pytest.mark.parametrize("kept", [True, False])
def test_the_dataset_is_not_read_in_every_epoch(kept, monkeypatch):
    if not kept:  # A large subset must not fill the memory.
        monkeypatch.setattr(sys.modules[label_subset.__module__], "KEPT_BYTES", 100)
    read = []

    def counted(record):
        tf.numpy_function(lambda path: read.append(path) or np.int64(0), [record["path"]], tf.int64)
        return record

    source = load_source(DIGITS, "train[:100]")
    source = dataclasses.replace(source, records=source.records.map(counted))
    few = label_subset(source, dataclasses.replace(DIGITS, labels_per_class=2))
    for _ in finetuning_batches(few, DIGITS, BatchOptions(8, 10)).take(9):
        pass
    # Once for the labels, once for the chosen images.
    assert len(read) == 200 if kept else len(read) >= 500


def test_looking_at_a_few_does_not_shorten_the_rest():
    """As a run does that shows its first images before it trains."""
    source = subset(labels_per_class=2)
    assert len(list(source.records.take(3))) == 3
    assert len(rows_of(source)) == len(rows_of(source)) == 20


def test_unlabeled_rows_are_not_a_class():
    source = load_source(DIGITS, "train[:300]")

    def forget(index, record):
        return {**record, "label": tf.where(index % 2 == 0, record["label"], tf.constant(-1, tf.int64))}

    source = dataclasses.replace(source, records=source.records.enumerate().map(forget))
    few = label_subset(source, dataclasses.replace(DIGITS, labels_per_class=2))
    assert np.bincount([label for _, label in rows_of(few)]).tolist() == [2] * 10


def test_more_than_a_class_has():
    counts = np.bincount([label for _, label in rows_of(load_source(DIGITS, "train"))])
    small = sorted((count, label) for label, count in enumerate(counts.tolist()) if count < 144)
    with pytest.raises(DataError) as refused:
        subset(labels_per_class=144)
    listed = ", ".join(f"{label} ({count})" for count, label in small)
    assert (
        f"144 labels per class are requested, but digits/train has fewer of {len(small)} classes: {listed};"
        in str(refused.value)
    )
    assert "--labels_per_class_at_most" in str(refused.value)
    assert f"--labels_per_class={small[0][0]}." in str(refused.value)
    with pytest.raises(DataError, match=r"fewer of \d classes: . \(0\), .*choose a split that has images of"):
        subset("train[:8]", label_fraction=0.5)


def test_up_to_so_many_labels_of_a_class():
    """A class that has fewer gives all it has; the others give what they give without it."""
    whole, strict = (
        rows_of(load_source(DIGITS, "train[:100]")),
        rows_of(subset("train[:100]", labels_per_class=3)),
    )
    counts = np.bincount([label for _, label in whole])
    source = subset("train[:100]", labels_per_class=10, labels_per_class_at_most=True)
    rows = rows_of(source)
    assert np.bincount([label for _, label in rows]).tolist() == np.minimum(counts, 10).tolist()
    assert len(rows) == source.num_examples and set(strict) <= set(rows) <= set(whole)
    assert source.name == "digits/train[:100] (up to 10 labels per class)"
    for label, count in enumerate(counts):
        assert (f"{label} ({count})" in source.summary) == (count < 10)
    enough = subset(labels_per_class=3, labels_per_class_at_most=True)
    assert rows_of(enough) == rows_of(subset(labels_per_class=3))
    assert enough.name == "digits/train (3 labels per class)" and not enough.summary


def test_a_class_without_images_gives_none():
    rows = rows_of(subset("train[:8]", labels_per_class=8, labels_per_class_at_most=True))
    assert rows == rows_of(load_source(DIGITS, "train[:8]"))


def test_without_labels(tmp_path):
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(np.zeros([9, 9, 3], np.uint8)).numpy())
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path), labels_per_class=1)
    with pytest.raises(DataError, match="has no labels, but taking a part of the labels needs them"):
        label_subset(load_source(config, "train"), config)


def test_class_folders(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(4):
            (tmp_path / label / f"{i}.png").write_bytes(
                tf.io.encode_png(np.zeros([9, 9, 3], np.uint8)).numpy()
            )
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path), label_fraction=0.5)
    source = label_subset(load_source(config, "train"), config)
    assert sorted(label for _, label in rows_of(source)) == [0, 0, 1, 1]


def test_tfds_datasets():
    config = DataConfig(dataset="cifar10", labels_per_class=1)
    with tfds.testing.mock_data(num_examples=200):
        source = label_subset(load_source(config, "train"), config)
        assert sorted(label for _, label in rows_of(source)) == list(range(10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_fraction": 0.0}, "label_fraction is 0.0; it must be above 0"),
        ({"label_fraction": 0.1, "labels_per_class": 2}, "set one of them"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(DIGITS, **changes)
