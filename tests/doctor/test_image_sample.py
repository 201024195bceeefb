"""What is seen of the images of a folder."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclrv2 import DataConfig
from tf_simclrv2.data import load_source
from tf_simclrv2.doctor.image_sample import sample_images


def sample_of(folder):
    return sample_images(load_source(DataConfig(dataset="image_folder", data_dir=str(folder)), "train"))


def test_sizes_colors_and_unreadable_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, [40, 60, 3], np.uint8)
    for i in range(3):
        Image.fromarray(noise).save(tmp_path / f"noise_{i}.png")
    Image.new("RGB", (20, 30), (10, 200, 30)).save(tmp_path / "green.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    sample = sample_of(tmp_path)
    assert (sample.count, sample.unreadable, sample.constant) == (4, 1, 1)
    assert sample.names == (str(tmp_path / "broken.png"),)
    assert sample.brightest == 1.0 and sample.median_side == 40


def test_twelve_bits_in_a_file_of_sixteen_are_nearly_black(tmp_path):
    values = np.linspace(0, 4095, 32 * 32).reshape(32, 32, 1).astype(np.uint16)
    tf.io.write_file(str(tmp_path / "scan.png"), tf.io.encode_png(values))
    sample = sample_of(tmp_path)
    assert sample.count == 1 and sample.constant == 0
    assert sample.brightest == pytest.approx(4095 / 65535, rel=1e-3)


def test_transparent_images_are_counted(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [20, 20, 4], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "transparent.png")
    Image.fromarray(np.dstack([pixels[..., :3], np.full([20, 20], 255, np.uint8)])).save(
        tmp_path / "opaque.png"
    )
    Image.fromarray(pixels[..., :3]).save(tmp_path / "plain.png")
    sample = sample_of(tmp_path)
    assert (sample.count, sample.transparent) == (3, 1)
