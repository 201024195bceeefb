"""Workers' shares together are the batches of one process, and nobody decodes what another one does."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.data.image_files import write_images
from tf_simclrv2 import DataConfig
from tf_simclrv2.data import (
    BatchOptions,
    Share,
    distillation_batches,
    evaluation_batches,
    finetuning_batches,
    load_source,
    pretraining_batches,
)

SIZE, BATCH, IMAGES = 8, 8, 37
OPTIONS = {"image_size": SIZE, "batch_size": BATCH}


@pytest.fixture(scope="module")
def source_and_config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, count in (("a", 20), ("b", IMAGES - 20)):
        write_images(folder / name, count)
    config = DataConfig(dataset="image_folder", data_dir=str(folder))
    return load_source(config, "train"), config


def streams(source, config, share):
    options = BatchOptions(**OPTIONS, seed=1, labeled_batch_size=12, share=share)
    return {
        "pretrain": pretraining_batches(source, config, options, start=5),
        "finetune": finetuning_batches(source, config, options, start=5),
        "distill": distillation_batches(source, source, config, options, start=5),
    }


def global_batches(make, workers, replicas, count):
    """The batches of all replicas of all workers, put together in replica order."""
    local = replicas // workers
    parts = []
    for worker in range(workers):
        batches = list(make(Share(workers, worker, replicas)).take(count * local).as_numpy_iterator())
        parts.append([batches[i : i + local] for i in range(0, len(batches), local)])
    return [
        {name: np.concatenate([part[name] for step in steps for part in step]) for name in steps[0][0]}
        for steps in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize(("workers", "replicas"), [(1, 4), (2, 4)])
def test_all_shares_together_are_the_batches_of_one_process(source_and_config, workers, replicas):
    for name in ("pretrain", "finetune", "distill"):
        expected = list(streams(*source_and_config, Share())[name].take(3).as_numpy_iterator())
        found = global_batches(
            lambda share, name=name: streams(*source_and_config, share)[name], workers, replicas, 3
        )
        for batch, other in zip(expected, found, strict=True):
            for key, value in batch.items():
                np.testing.assert_array_equal(other[key], value, err_msg=f"{name} {key}")


def watched(source):
    """The source, and the paths and keys of what is read of it."""
    seen = []

    def note(path, key):
        seen.append((path, int(key)))
        return path

    def read(record):
        key = record.get("key", tf.constant(-1, tf.int64))
        path = tf.numpy_function(note, [record["path"], key], tf.string)
        return tf.io.read_file(tf.ensure_shape(path, []))

    return dataclasses.replace(source, read=read), seen


@pytest.mark.parametrize("worker", [0, 1])
def test_a_worker_reads_only_its_own_examples(source_and_config, worker):
    source, seen = watched(source_and_config[0])
    share = Share(workers=2, worker=worker, replicas=4)
    batches = pretraining_batches(source, source_and_config[1], BatchOptions(**OPTIONS, seed=1, share=share))
    taken = list(batches.take(8).as_numpy_iterator())
    mine = [key for key in range(8 * BATCH) if key % BATCH // (BATCH // 2) == worker]
    assert np.concatenate([batch["key"] for batch in taken]).tolist() == mine[:16]
    read = [key for _, key in seen]
    assert len(read) == len(set(read)) >= 16
    assert {key % BATCH // (BATCH // 2) for key in read} == {worker}


@pytest.mark.parametrize(("workers", "replicas"), [(1, 1), (1, 2), (1, 4), (2, 2), (2, 4)])
@pytest.mark.parametrize("images", [IMAGES, 32, 3])
def test_evaluation_sees_every_example_once(source_and_config, workers, replicas, images):
    source = dataclasses.replace(
        source_and_config[0], records=source_and_config[0].records.take(images), num_examples=images
    )
    source, seen = watched(source)
    found = global_batches(
        lambda share: evaluation_batches(source, **OPTIONS, share=share), workers, replicas, 99
    )
    assert len(found) == -(-images // BATCH)
    real = np.concatenate([batch["mask"] for batch in found])
    labels = np.concatenate([batch["label"] for batch in found])
    assert real.sum() == images and all(labels[~real] == -1)
    np.testing.assert_array_equal(labels[real], [int(record["label"]) for record in source.records])
    # Decoded once, by one of the workers.
    assert sorted(path for path, _ in seen) == sorted(record["path"].numpy() for record in source.records)


def test_evaluation_can_stop_after_some_batches(source_and_config):
    source = source_and_config[0]
    for workers in (1, 2):
        found = global_batches(
            lambda share: evaluation_batches(source, **OPTIONS, share=share, steps=2), workers, 2, 99
        )
        assert [batch["mask"].sum() for batch in found] == [BATCH, BATCH]


def test_workers_make_as_many_batches_whatever_cannot_be_read(source_and_config, tmp_path):
    write_images(tmp_path / "a", 9)
    for path in sorted((tmp_path / "a").iterdir())[:1]:
        path.write_bytes(b"no image")
    source = load_source(dataclasses.replace(source_and_config[1], data_dir=str(tmp_path)), "train")
    found = global_batches(lambda share: evaluation_batches(source, **OPTIONS, share=share), 2, 2, 99)
    assert len(found) == 2 and sum(batch["mask"].sum() for batch in found) == 8
