"""Which images a split holds, compared with the images themselves."""

import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2 import DataConfig
from tf_simclrv2.data import load_source
from tf_simclrv2.data.extent import shared_images

SPLITS = ("train", "train[:30%]", "train[2:7]", "train[-3:]", "train[:2]+other", "other[1:]", "other[5:]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("pictures")
    picture = tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)).numpy()
    for split, count in (("train", 10), ("other", 6)):
        for i in range(count):
            path = root / split / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    return root


def test_splits_of_a_folder_share_the_files_that_both_list(folder):
    config = DataConfig(dataset="image_folder", data_dir=str(folder))
    sources = [load_source(config, split) for split in SPLITS]
    files = [{bytes(record["path"]) for record in source.records.as_numpy_iterator()} for source in sources]
    for (one, its), (other, others) in itertools.product(zip(sources, files, strict=True), repeat=2):
        assert shared_images(one.extents, other.extents) == len(its & others), (one.name, other.name)


def test_splits_of_a_dataset_share_the_images_that_both_hold():
    config = DataConfig(dataset="digits")
    sources = [
        load_source(config, split) for split in ("train[:40]", "train[30:50]", "test[:40]", "train[-9:]")
    ]
    images = [{bytes(record["image"]) for record in source.records.as_numpy_iterator()} for source in sources]
    for (one, its), (other, others) in itertools.product(zip(sources, images, strict=True), repeat=2):
        assert shared_images(one.extents, other.extents) == len(its & others), (one.name, other.name)


def test_a_link_to_a_folder_is_the_folder(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    ways = [DataConfig(dataset="image_folder", data_dir=str(path)) for path in (folder, tmp_path / "linked")]
    one, other = (load_source(config, "train").extents for config in ways)
    assert shared_images(one, other) == 10
