"""The order of training streams whose records lie in many files."""

import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.programs import finished
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import (
    BatchOptions,
    ServiceClient,
    Share,
    Source,
    finetuning_batches,
    label_subset,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.data.service import Service
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.data.shuffle import shuffled

FILES, IMAGES, CLASSES = 16, 800, 5
BLOCK = 40


# A buffer of ten batches.
OPTIONS = BatchOptions(image_size=33, batch_size=BLOCK // 10)


def write_dataset(data_dir: pathlib.Path, name: str, files: int, **splits: int) -> None:
    """A TFDS dataset of so many files and images a split; the pixels of an image tell its number."""

    def examples(split: str, count: int) -> list[tuple[str, dict]]:
        return [
            (f"{split}{i}", {"image": np.full([4, 4, 1], i, np.uint16), "label": i % CLASSES})
            for i in range(count)
        ]

    image = tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16, encoding_format="png")
    label = tfds.features.ClassLabel(num_classes=CLASSES)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict({"image": image, "label": label}),
        split_datasets={split: examples(split, count) for split, count in splits.items()},
        data_dir=data_dir,
        download_config=tfds.download.DownloadConfig(num_shards=files),
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("tfds")
    write_dataset(directory, "sixteen", FILES, train=IMAGES, test=90)
    return str(directory)


def config(data_dir: str, name: str = "sixteen", **settings) -> DataConfig:
    return DataConfig(dataset=name, data_dir=data_dir, **settings)


@pytest.fixture(scope="module")
def source(data_dir) -> Source:
    return load_source(config(data_dir), "train")


def index(record) -> int:
    return int(record["path"].decode().rsplit("#", 1)[1])


def order(records: tf.data.Dataset) -> list[int]:
    batches = records.map(lambda record: record["path"]).batch(1000)
    return [index({"path": path}) for paths in batches.as_numpy_iterator() for path in paths]


def epoch(source: Source, number: int, start: int = 0) -> list[int]:
    return order(source.shards.epoch(number, start, 0, BLOCK))


def epochs(source: Source, count: int, seed: int = 0) -> list[list[int]]:
    """The first ones, traced once."""
    numbers = tf.data.Dataset.range(count)
    stream = order(numbers.flat_map(lambda number: source.shards.epoch(number, 0, seed, BLOCK)))
    return np.reshape(stream, [count, -1]).tolist()


def correlation(first: list[int], second: list[int]) -> float:
    """Of the places that records have in two orders."""
    return np.corrcoef(np.argsort(first), np.argsort(second))[0, 1]


def rows(batches: tf.data.Dataset, count: int) -> dict[int, dict]:
    """The rows of the first batches by their keys."""
    return {
        int(key): {name: values[row] for name, values in batch.items()}
        for batch in batches.take(count).as_numpy_iterator()
        for row, key in enumerate(batch["key"])
    }


def assert_same(found: dict[int, dict], expected: dict[int, dict]) -> None:
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for name in row:
            np.testing.assert_array_equal(found[key][name], row[name], err_msg=f"{name} of {key}")


def test_epochs_have_unrelated_orders(source):
    orders = epochs(source, 4)
    pairs = [(first, second) for first in range(4) for second in range(first)]
    assert max(abs(correlation(orders[first], orders[second])) for first, second in pairs) < 0.1
    assert abs(correlation(orders[0], epochs(source, 1, seed=1)[0])) < 0.1
    # What the buffer does by itself.
    assert correlation(*(order(shuffled(source.records, BLOCK, 0, number)) for number in range(2))) > 0.9


def test_an_image_meets_those_of_the_whole_dataset(source):
    batch, count = 20, 8
    met = np.zeros([IMAGES, IMAGES], bool)
    for members in np.reshape(epochs(source, count), [-1, batch]):
        met[np.ix_(members, members)] = True
    partners = met.sum(axis=1) - 1
    unrelated = (IMAGES - 1) * (1 - (1 - (batch - 1) / (IMAGES - 1)) ** count)
    assert partners.mean() > 0.9 * unrelated
    spans = [np.ptp(np.flatnonzero(row)) for row in met]
    assert np.mean(spans) > 0.9 * IMAGES


def test_every_record_comes_once_and_under_its_name(source):
    expected = {index(record): record for record in source.records.as_numpy_iterator()}
    found = list(source.shards.epoch(0, 0, 0, BLOCK).as_numpy_iterator())
    assert len(found) == IMAGES and {index(record): record for record in found} == expected


def test_the_number_in_a_name_is_the_place_in_the_split(source, data_dir):
    (alone,) = load_source(config(data_dir), "train[437:438]").records.as_numpy_iterator()
    (found,) = (r for r in source.shards.epoch(2, 0, 0, BLOCK).as_numpy_iterator() if index(r) == 437)
    assert found["image"] == alone["image"]


@pytest.mark.parametrize(
    "split", ["train[:10%]", "train+test", "train[13:700]+test[5:]", "train[50%:]+train[:50%]", "train[-3:]"]
)
def test_slices_and_sums_of_splits(data_dir, split):
    part = load_source(config(data_dir), split)
    fixed = {index(record): record["image"] for record in part.records.as_numpy_iterator()}
    if split == "train[-3:]":  # All in one file.
        assert part.shards is None and len(fixed) == 3
        return
    mixed = list(part.shards.epoch(0, 0, 0, BLOCK).as_numpy_iterator())
    assert len(mixed) == part.num_examples
    assert {index(record): record["image"] for record in mixed} == fixed


@pytest.fixture(scope="module")
def uninterrupted(source, data_dir) -> dict[int, dict]:
    """More than an epoch of the pipeline."""
    return rows(pretraining_batches(source, config(data_dir), OPTIONS), 230)


@pytest.mark.parametrize("start", [333, IMAGES - 1, IMAGES + 81])
def test_a_resumed_stream_goes_on_as_if_never_stopped(source, data_dir, uninterrupted, start):
    resumed = rows(pretraining_batches(source, config(data_dir), OPTIONS, start=start), 8)
    assert_same(resumed, {key: uninterrupted[key] for key in range(start, start + 8 * OPTIONS.batch_size)})


def labels_of(source: Source) -> np.ndarray:
    return np.array([int(record["label"]) for record in source.records.as_numpy_iterator()])


@pytest.mark.parametrize("start", [BLOCK - 1, 5 * BLOCK, 5 * BLOCK + 7, IMAGES - 1])
def test_the_rest_of_an_epoch_is_its_end(source, start):
    assert epoch(source, 3, start) == epoch(source, 3)[start:]


def test_files_that_an_epoch_is_done_with_are_not_opened(tmp_path):
    """They are not there any more."""
    write_dataset(tmp_path, "many", 256, train=1024)
    source = load_source(config(str(tmp_path), "many"), "train")
    whole = epoch(source, 0)
    start = 1024 * 4 // 5
    first_needed = start // BLOCK * BLOCK
    files = [path for path in sorted((tmp_path / "many").rglob("*.tfrecord-*"))]
    done = {i // 4 for i in range(1024)} - {i // 4 for i in whole[first_needed:]}
    assert len(files) == 256 and len(done) > 128
    for number in done:
        files[number].unlink()
    assert epoch(source, 0, start) == whole[start:]
    with pytest.raises(tf.errors.NotFoundError):
        epoch(source, 0, 0)
    keys = rows(pretraining_batches(source, config(str(tmp_path), "many"), OPTIONS, start=start), 20)
    assert list(keys) == list(range(start, start + 20 * OPTIONS.batch_size))


def test_images_that_are_passed_over_are_not_decoded(source, data_dir):
    seen = []

    def read(record):
        key = tf.numpy_function(lambda key: seen.append(int(key)) or key, [record["key"]], tf.int64)
        with tf.control_dependencies([key]):
            return tf.identity(record["image"])

    watched = dataclasses.replace(source, read=read)
    start = 3 * BLOCK + 30
    rows(pretraining_batches(watched, config(data_dir), OPTIONS, start=start), 2)
    assert min(seen) == start


def test_another_process_has_the_same_order(source, data_dir):
    program = f"""
import json
from tests.data.test_shards import config, epoch
from tf_simclrv2.data import load_source
source = load_source(config({data_dir!r}), "train")
print(json.dumps(epoch(source, 5)))
"""
    ended = finished([sys.executable, "-c", program], 120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    expected = epoch(source, 5)
    assert json.loads(ended.stdout.splitlines()[-1]) == expected
    tf.random.set_seed(99)  # No global state.
    assert epoch(source, 5) == expected


def test_workers_share_one_stream(source, data_dir, uninterrupted):
    parts = [
        rows(
            pretraining_batches(
                source, config(data_dir), dataclasses.replace(OPTIONS, share=Share(2, worker, 2)), start=701
            ),
            40,
        )
        for worker in range(2)
    ]
    assert not parts[0].keys() & parts[1].keys()
    assert_same(parts[0] | parts[1], {key: uninterrupted[key] for key in range(701, 861)})


def test_a_data_service_makes_the_same_stream(source, data_dir, uninterrupted):
    service = Service.start()
    client = ServiceClient((service.address.removeprefix("grpc://"),))
    client.wait(20)
    served = pretraining_batches(
        source, config(data_dir), dataclasses.replace(OPTIONS, service=client), start=701
    )
    assert_same(rows(served, 30), {key: uninterrupted[key] for key in range(701, 821)})


@pytest.mark.parametrize("kept", [True, False])
def test_a_few_labels(source, data_dir, kept, monkeypatch):
    settings = config(data_dir, labels_per_class=40)
    if not kept:
        monkeypatch.setattr(sys.modules[label_subset.__module__], "KEPT_BYTES", 100)
    few = label_subset(source, settings)
    fixed = order(few.records)
    assert np.bincount(labels_of(few)).tolist() == [40] * CLASSES
    assert (few.shards is None) == kept
    every = rows(finetuning_batches(few, settings, OPTIONS), 2 * few.num_examples // OPTIONS.batch_size)
    labels = np.array([row["label"] for row in every.values()]).reshape(2, -1)
    assert all(np.bincount(half).tolist() == [40] * CLASSES for half in labels)
    resumed = rows(finetuning_batches(few, settings, OPTIONS, start=130), 15)
    assert_same(resumed, {key: every[key] for key in resumed})
    if not kept:
        assert sorted(epoch(few, 0)) == fixed and epoch(few, 0, 99) == epoch(few, 0)[99:]


def test_the_first_records_are_those_of_the_fixed_order(source):
    for few in (source.first(12), source.sample(12)):
        assert few.num_examples == 12 and few.shards is None
        assert order(few.records) == list(range(12))
    with pytest.raises(ValueError, match="sixteen/train has 12 records, but 800 in its shards"):
        dataclasses.replace(source, records=source.records.take(12), num_examples=12)


def test_what_is_in_memory_is_shuffled_as_a_whole(source, data_dir):
    """Files may go once all is cached."""
    settings = config(data_dir, cache_dataset=True)
    cached = rows(pretraining_batches(source, settings, OPTIONS), IMAGES // OPTIONS.batch_size)
    expected = labels_of(source)[order(shuffled(source.records, IMAGES, 0, 0))]
    np.testing.assert_array_equal([row["label"] for row in cached.values()], expected)


def ranges(lengths: tuple[int, ...]) -> Shards:
    begins = tf.constant(np.cumsum((0, *lengths)))
    return Shards(lengths, lambda part, skip: tf.data.Dataset.range(begins[part] + skip, begins[part + 1]))


@pytest.mark.parametrize("lengths", [(1, 1), (5, 0, 7, 1, 30), tuple(range(40)), (3,) * 65])
@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_parts_of_any_length(lengths, block):
    shards, count = ranges(lengths), sum(lengths)
    whole = list(shards.epoch(2, 0, 1, block).as_numpy_iterator())
    assert sorted(whole) == list(range(count))
    for start in {1, min(block, count), count // 2, count - 1, count}:
        assert list(shards.epoch(2, start, 1, block).as_numpy_iterator()) == whole[start:]


def test_chosen_records_of_parts():
    shards = ranges((5, 0, 7, 1, 30))
    chosen = np.arange(43) % 3 == 1
    chosen[5:12] = False  # None of a part.
    some = shards.only(chosen)
    assert some.lengths == (2, 0, 0, 0, 10)
    whole = list(some.epoch(0, 0, 0, 4).as_numpy_iterator())
    assert sorted(whole) == np.flatnonzero(chosen).tolist()
    assert list(some.epoch(0, 7, 0, 4).as_numpy_iterator()) == whole[7:]


@pytest.mark.parametrize("epoch", range(4))
def test_chosen_records_of_the_first_parts_alone(epoch):
    """Whatever the order of the parts, those without a chosen record are not opened."""
    some = ranges((5, 4, 7, 3, 6)).only(np.arange(25) < 9)
    assert sorted(some.epoch(epoch, 0, 0, 4).as_numpy_iterator()) == list(range(9))
