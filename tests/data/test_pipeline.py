import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.data.image_files import encoded, sixteen_bits, write_images
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import (
    BatchOptions,
    SkippedImages,
    distillation_batches,
    evaluation_batches,
    finetuning_batches,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.data.shuffle import shuffled
from tf_simclrv2.errors import DataError

SIZE = 8


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    config = DataConfig(dataset="digits", data_dir=str(tmp_path_factory.mktemp("digits")))
    return load_source(config, "train[:100]"), config


@pytest.fixture
def classes(tmp_path):
    for name in ("a", "b"):
        write_images(tmp_path / name, 10)
    return tmp_path


def folder(path, **settings):
    config = DataConfig(dataset="image_folder", data_dir=str(path), **settings)
    return load_source(config, "train"), config


def pretraining(source, config, *, batch_size=10, seed=0, start=0, image_size=SIZE, skipped=None):
    options = BatchOptions(image_size, batch_size, seed, skipped=skipped)
    return pretraining_batches(source, config, options, start)


def take(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def by_key(batches):
    return {
        int(key): {name: values[row] for name, values in batch.items()}
        for batch in batches
        for row, key in enumerate(batch["key"])
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key in first:
        for name in first[key]:
            np.testing.assert_array_equal(first[key][name], second[key][name])


def test_elements(digits):
    spec = pretraining(*digits).element_spec
    assert spec["view_1"] == spec["view_2"] == tf.TensorSpec([10, SIZE, SIZE, 3], tf.float32)
    assert spec["label"] == spec["key"] == tf.TensorSpec([10], tf.int64)
    batch = take(pretraining(*digits), 1)[0]
    for view in (batch["view_1"], batch["view_2"]):
        assert view.min() >= 0 and view.max() <= 1
    assert all(np.abs(batch["view_1"] - batch["view_2"]).max(axis=(1, 2, 3)) > 1e-3)


def test_every_shape_is_static(digits):
    """As TPUs need it, though no epoch is a multiple of the batch."""
    source, config = digits
    options = BatchOptions(SIZE, 6)
    for batches in (
        pretraining_batches(source, config, options),
        finetuning_batches(source, config, options),
        distillation_batches(source, None, config, options),
        distillation_batches(source, source, config, options),
        evaluation_batches(source, image_size=SIZE, batch_size=6),
    ):
        shapes = {name: spec.shape for name, spec in batches.element_spec.items()}
        assert all(shape.is_fully_defined() for shape in shapes.values()), shapes


@pytest.mark.parametrize("light", [False, True])
def test_each_epoch_visits_every_example_once_in_its_own_order(digits, classes, light):
    source, config = folder(classes) if light else digits
    count = source.num_examples
    labels = np.array([int(record["label"]) for record in source.records])
    batches = take(pretraining(source, config, batch_size=count // 2), 6)
    np.testing.assert_array_equal(np.concatenate([b["key"] for b in batches]), np.arange(3 * count))
    epochs = np.concatenate([b["label"] for b in batches]).reshape(3, count)
    for epoch in epochs:
        np.testing.assert_array_equal(np.bincount(epoch), np.bincount(labels))
    assert not any(np.array_equal(x, y) for x, y in itertools.combinations([labels, *epochs], 2))


def test_an_epoch_is_a_permutation_though_the_buffer_is_smaller():
    orders = [
        list(shuffled(tf.data.Dataset.range(60), 5, 0, epoch).as_numpy_iterator())
        for epoch in tf.range(3, dtype=tf.int64)
    ]
    assert all(sorted(order) == list(range(60)) for order in orders)
    assert not any(x == y for x, y in itertools.combinations([list(range(60)), *orders], 2))


@pytest.mark.parametrize(("start", "cache"), [(30, False), (250, False), (130, True)])
def test_a_stream_continues_as_if_never_stopped(digits, start, cache):
    source, config = digits
    config = DataConfig(dataset="digits", data_dir=config.data_dir, cache_dataset=cache)
    whole = by_key(take(pretraining(source, config), 29))
    resumed = by_key(take(pretraining(source, config, start=start), 4))
    assert sorted(resumed) == list(range(start, start + 40))
    assert_same(resumed, {key: whole[key] for key in resumed})


def test_an_example_depends_on_seed_and_key_alone(classes):
    source, config = folder(classes)
    expected = by_key(take(pretraining(source, config, batch_size=10), 6))
    assert_same(by_key(take(pretraining(source, config, batch_size=4), 15)), expected)
    cached = DataConfig(dataset="image_folder", data_dir=str(classes), cache_dataset=True)
    assert_same(by_key(take(pretraining(source, cached), 6)), expected)
    tf.random.set_seed(99)  # No global state.
    assert_same(by_key(take(pretraining(source, config), 6)), expected)
    other = by_key(take(pretraining(source, config, seed=1), 6))
    assert any(np.any(other[key]["view_1"] != expected[key]["view_1"]) for key in expected)


def test_parallelism_changes_nothing(digits):
    single = tf.data.Options()
    single.autotune.enabled = False
    single.threading.private_threadpool_size = 1
    single.threading.max_intra_op_parallelism = 1
    expected = by_key(take(pretraining(*digits).with_options(single), 12))
    assert_same(by_key(take(pretraining(*digits), 12)), expected)


def test_the_cache_reads_each_file_once(classes):
    source, config = folder(classes, cache_dataset=True)
    batches = iter(pretraining(source, config))
    next(batches)
    for path in classes.rglob("*.png"):
        path.unlink()
    keys = [next(batches)["key"].numpy() for _ in range(9)]
    np.testing.assert_array_equal(np.concatenate(keys), np.arange(10, 100))


def test_fine_tuning_batches(digits):
    source, config = digits
    batch = take(finetuning_batches(source, config, BatchOptions(SIZE, 10), start=5), 1)[0]
    assert batch["image"].shape == (10, SIZE, SIZE, 3)
    np.testing.assert_array_equal(batch["key"], np.arange(5, 15))
    np.testing.assert_array_equal(batch["image"][..., 0], batch["image"][..., 1])  # Still gray.
    assert set(batch["label"]) <= set(range(10))


def test_fine_tuning_needs_labels(tmp_path):
    write_images(tmp_path, 3)
    source, config = folder(tmp_path)
    with pytest.raises(DataError, match=r"has no labels.*subfolder"):
        finetuning_batches(source, config, BatchOptions(SIZE, 2))


def test_evaluation_visits_each_image_once_and_fills_up(digits):
    source, _ = digits
    batches = take(evaluation_batches(source, image_size=SIZE, batch_size=32), 99)
    assert [batch["image"].shape for batch in batches] == [(32, SIZE, SIZE, 3)] * 4
    mask = np.concatenate([batch["mask"] for batch in batches])
    np.testing.assert_array_equal(mask, np.arange(128) < 100)
    labels = np.concatenate([batch["label"] for batch in batches])
    images = np.concatenate([batch["image"] for batch in batches])
    assert np.all(labels[100:] == -1) and not images[100:].any()
    for record, image, label in zip(source.records, images, labels, strict=False):
        original = tf.io.decode_png(source.read(record)).numpy() / 255
        np.testing.assert_allclose(image, np.repeat(original, 3, axis=-1), atol=1e-6)
        assert label == int(record["label"])


@pytest.mark.parametrize(
    ("name", "contents", "channels_differ"),
    [
        ("gray.png", encoded("L"), False),
        ("gray.jpg", encoded("L", "JPEG"), False),
        ("rgba.png", encoded("RGBA"), True),
        ("gray_alpha.png", encoded("LA"), False),
        ("palette.png", encoded("P"), True),
        ("sixteen.png", sixteen_bits(), False),
        ("color.JPEG", encoded("RGB", "JPEG"), True),
        ("cmyk.jpg", encoded("CMYK", "JPEG"), True),
        ("rgb.bmp", encoded("RGB", "BMP"), True),
        ("rgba.bmp", encoded("RGBA", "BMP"), True),
        ("still.gif", encoded("P", "GIF"), True),
    ],
)
def test_kinds_of_images(tmp_path, name, contents, channels_differ):
    (tmp_path / name).write_bytes(contents)
    source, config = folder(tmp_path)
    image = take(evaluation_batches(source, image_size=12, batch_size=1), 1)[0]["image"][0]
    assert image.shape == (12, 12, 3) and 0 <= image.min() < 0.3 and 0.7 < image.max() <= 1
    assert np.any(np.ptp(image, axis=-1) > 0.05) == channels_differ
    assert take(pretraining(source, config, batch_size=3), 1)[0]["view_1"].shape == (3, SIZE, SIZE, 3)


def break_images(directory):
    jpeg = encoded(kind="JPEG", size=40)
    (directory / "a" / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (directory / "b" / "empty.png").write_bytes(b"")
    (directory / "b" / "text.png").write_bytes(b"this is no image")
    return {"truncated.jpg", "empty.png", "text.png"}


@pytest.mark.parametrize("cache", [False, True])
def test_unreadable_images_are_left_out_and_named(classes, cache):
    broken = break_images(classes)
    source, config = folder(classes, max_skipped_fraction=0.2, cache_dataset=cache)
    skipped = SkippedImages(source.num_examples, config.max_skipped_fraction)
    found = by_key(take(pretraining(source, config, skipped=skipped), 10))
    assert len(found) == 100 and max(found) >= 110  # Their keys are missing.
    assert {name.rsplit("/", 1)[1] for name in skipped.names} == broken and skipped.count == 3
    epoch = [key for key in found if 23 <= key < 46]
    assert len(epoch) == 20
    resumed = by_key(take(pretraining(source, config, start=23), 2))
    assert_same(resumed, {key: found[key] for key in resumed})


def test_evaluation_leaves_unreadable_images_out(classes):
    break_images(classes)
    source, _ = folder(classes)
    skipped = SkippedImages(source.num_examples, 0.2)
    batches = take(evaluation_batches(source, image_size=SIZE, batch_size=8, skipped=skipped), 99)
    assert sum(batch["mask"].sum() for batch in batches) == 20 and skipped.count == 3


def test_named_batches_name_the_image_of_each_row(classes):
    """Though some files cannot be read, and the last batch is filled up."""
    broken = break_images(classes)
    source, config = folder(classes, max_skipped_fraction=0.5)
    named = dataclasses.replace(source, named=True, thumbnail_size=6)
    paths = [record["path"].numpy() for record in source.records]
    readable = [path for path in paths if path.decode().rsplit("/", 1)[1] not in broken]
    skipped = SkippedImages(20, 0.5)
    (batch,) = evaluation_batches(named, image_size=SIZE, batch_size=25, skipped=skipped)
    assert batch["path"].numpy().tolist() == readable + [b""] * (25 - len(readable))
    opaque = batch["thumbnail"].numpy()[..., 3] == 1
    assert opaque.shape == (25, 6, 6) and opaque.any(axis=(1, 2)).sum() == len(readable) == 20
    for row, path in enumerate(readable):
        (alone,) = evaluation_batches(only(source, path), image_size=SIZE, batch_size=1)
        np.testing.assert_array_equal(batch["image"][row], alone["image"][0])
    options = BatchOptions(SIZE, 10, skipped=SkippedImages(20, 0.5))
    plain = by_key(take(finetuning_batches(source, config, options), 4))
    both = by_key(take(finetuning_batches(named, config, options), 4))
    labels = {record["path"].numpy(): int(record["label"]) for record in source.records}
    for key, row in both.items():
        assert labels[row.pop("path")] == row["label"]
        np.testing.assert_array_equal(row["image"], plain[key]["image"])


def only(source, path):
    records = source.records.filter(lambda record: record["path"] == path)
    return dataclasses.replace(source, records=records, num_examples=1)


def test_too_many_unreadable_images_stop_the_run(classes):
    break_images(classes)
    source, config = folder(classes, max_skipped_fraction=0.1)
    skipped = SkippedImages(source.num_examples, config.max_skipped_fraction)
    message = r"3 of 23 images are unreadable, but at most 2 may be \(max_skipped_fraction=0.1\)"
    with pytest.raises(tf.errors.OpError, match=message):
        take(pretraining(source, config, skipped=skipped), 10)
    with pytest.raises(DataError, match=message):
        skipped.check()


def test_a_vanished_file_is_unreadable(classes):
    source, config = folder(classes)
    next(classes.rglob("*.png")).unlink()
    skipped = SkippedImages(source.num_examples, 0.1)
    assert len(by_key(take(pretraining(source, config, skipped=skipped), 4))) == 40
    assert skipped.count == 1


@pytest.mark.parametrize(
    ("num_examples", "fraction", "limit"),
    [(1000, 0.01, 10), (50, 0.01, 1), (50, 0.0, 0), (50, 1.0, 49), (1, 0.5, 0)],
)
def test_how_many_images_may_be_unreadable(num_examples, fraction, limit):
    skipped = SkippedImages(num_examples, fraction)
    assert skipped.limit == limit
    for number in range(limit):
        for _ in range(2):  # Counted once.
            skipped.record(f"{number}.jpg")
    with pytest.raises(DataError, match=f"{limit + 1} of {num_examples} .*0.jpg"):
        skipped.record(b"%d.jpg" % limit)


def test_the_stream_goes_through_a_strategy(digits):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    distributed = iter(strategy.experimental_distribute_dataset(pretraining(*digits)))
    for expected in take(pretraining(*digits), 3):
        keys = strategy.experimental_local_results(next(distributed)["key"])
        np.testing.assert_array_equal(tf.concat(keys, axis=0), expected["key"])
