"""A small run, a folder of pictures, and the embeddings of one by the other."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.small_network import small_network as small_network
from tests.training.small_runs import config_for, execute
from tf_simclrv2.embedding.embed import embed
from tf_simclrv2.embedding.embed_config import EmbedConfig

BROKEN = "train/blue/broken.png"


def write_pictures(folder: pathlib.Path) -> None:
    """Twelve pictures in two splits and two classes, all different, and a file that is no picture."""
    rng = np.random.default_rng(0)
    for number in range(12):
        split, color = ("train", "test")[number % 3 == 2], ("blue", "red")[number % 2]
        path = folder / split / color / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (20 + number, 30, 3))
        pixels[..., 0 if color == "red" else 2] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (folder / "notes.txt").write_text("not a picture")


@pytest.fixture(scope="package")
def pictures(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("embedding") / "pictures"
    write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory, small_network) -> pathlib.Path:
    """A pretraining on digits, with a classifier, and its SavedModel."""
    directory = tmp_path_factory.mktemp("run") / "run"
    execute(config_for(directory, train_steps=2, keep_hub_module_max=1))
    return directory


@pytest.fixture(scope="module")
def file(model_dir, pictures, tmp_path_factory) -> pathlib.Path:
    """The embeddings of all pictures."""
    path = tmp_path_factory.mktemp("embeddings") / "all.parquet"
    embed(EmbedConfig(str(model_dir), str(path), data_dir=str(pictures), strategy="one_device"), print)
    return path
