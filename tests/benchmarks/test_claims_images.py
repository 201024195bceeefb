"""Fashion-MNIST as a folder of images: the right pixels under the right classes."""

import gzip
import pathlib
import struct

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from benchmarks.measuring import fashion_mnist
from benchmarks.measuring.fashion_mnist import CLASSES, read, write_image_folder, write_split
from tf_simclrv2 import DataConfig
from tf_simclrv2.data import load_source


def made_up_images(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10


def write_idx(folder: pathlib.Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """The format as its author describes it: magic number, sizes, all big-endian, then the bytes."""
    pixels = struct.pack(">4i", 0x803, len(images), 28, 28) + images.tobytes()
    classes = struct.pack(">2i", 0x801, len(labels)) + labels.astype(np.uint8).tobytes()
    (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels))
    (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(classes))


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """Stands in for Debian's package; 40 training and 20 test images."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    splits = {"train": made_up_images(40, 0), "t10k": made_up_images(20, 1)}
    for name, (images, labels) in splits.items():
        write_idx(folder, name, images, labels)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    return splits


def test_idx_files_are_read(debian):
    for split, name in {"train": "train", "test": "t10k"}.items():
        images, labels = read(split, "debian")
        np.testing.assert_array_equal(images, debian[name][0])
        np.testing.assert_array_equal(labels, debian[name][1])


def test_tfds_gives_the_same_form():
    with tfds.testing.mock_data(num_examples=12):
        images, labels = read("train", "tfds")
    assert images.shape == (12, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (12,) and set(labels) <= set(range(10))


def test_the_source_follows_what_is_installed(debian, monkeypatch):
    assert fashion_mnist.default_source() == "debian"
    monkeypatch.setattr(fashion_mnist, "DEBIAN", pathlib.Path("/nowhere"))
    assert fashion_mnist.default_source() == "tfds"


def test_files_hold_the_images_of_their_class(tmp_path):
    images, labels = made_up_images(50, 2)
    write_split(tmp_path, images, labels, np.arange(10, 40))
    files = sorted(tmp_path.glob("*/*.png"))
    assert [int(file.stem) for file in sorted(files, key=lambda file: file.stem)] == [*range(10, 40)]
    for file in files:
        index = int(file.stem)
        assert file.parent.name == CLASSES[labels[index]]
        np.testing.assert_array_equal(np.asarray(Image.open(file)), images[index])
    assert {len(list(folder.iterdir())) for folder in tmp_path.iterdir()} == {3}


def test_a_run_reads_the_folder(debian, tmp_path):
    write_image_folder(tmp_path / "images", {"train": 20, "test": 10}, "debian")
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path / "images"))
    for split, count in {"train": 20, "test": 10}.items():
        source = load_source(config, split)
        assert (source.num_examples, source.num_classes) == (count, 10)
        assert set(source.class_names) == set(CLASSES)


def test_the_folder_is_written_once(debian, tmp_path):
    write_image_folder(tmp_path / "images", {"train": 20}, "debian")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").rglob("*")}
    write_image_folder(tmp_path / "images", {"train": 40}, "debian")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "images").rglob("*")} == before


def test_an_interrupted_writing_starts_over(debian, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fashion_mnist, "write_split", _fail_behind_the_first(write_split))
        with pytest.raises(KeyboardInterrupt):
            write_image_folder(tmp_path / "images", {"train": 20, "test": 10}, "debian")
    assert not (tmp_path / "images").exists()
    write_image_folder(tmp_path / "images", {"train": 20, "test": 10}, "debian")
    assert len(list((tmp_path / "images").rglob("*.png"))) == 30


def _fail_behind_the_first(write):
    def failing(folder, *rest):
        if folder.name != "train":
            raise KeyboardInterrupt
        write(folder, *rest)

    return failing
