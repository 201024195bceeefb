"""Neighbors of transparent pictures do not depend on the colors that full transparency hides."""

import pathlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.small_network import small_network as small_network
from tf_simclrv2 import DataConfig, ModelConfig, SimCLR
from tf_simclrv2.data import evaluation_batches, load_source
from tf_simclrv2.evaluation import FeatureExtractor

SIDE, SIZE, COUNT = 48, 32, 30
CLASSES = ("disc", "ring", "square", "triangle", "star")


def drawn(kind: str, rng: np.random.Generator) -> Image.Image:
    """A shape of a random color, place and size, with a soft edge; what is around it is transparent."""
    x, y, r = (int(value) for value in (*rng.integers(16, SIDE - 16, 2), rng.integers(8, 15)))
    color = tuple(rng.integers(0, 256, 3).tolist())
    image = Image.new("RGBA", (SIDE, SIDE), (*color, 0))
    box, draw = (x - r, y - r, x + r, y + r), ImageDraw.Draw(image)
    if kind == "disc":
        draw.ellipse(box, fill=(*color, 255), outline=(*color, 128), width=2)
    elif kind == "ring":
        draw.ellipse(box, outline=(*color, 255), width=4)
    elif kind == "square":
        draw.rectangle(box, fill=(*color, 200))
    else:
        sides = {"triangle": 3, "star": 5}[kind]
        turn = int(rng.integers(360))
        draw.regular_polygon((x, y, r), sides, turn, fill=(*color, 255))
    return image


def write_copies(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """The same pictures in three folders, with black, white and noise where nothing is seen."""
    rng = np.random.default_rng(0)
    copies = [folder / name for name in ("black", "white", "noise")]
    for number in range(count):
        kind = CLASSES[number % len(CLASSES)]
        pixels = np.asarray(drawn(kind, rng))
        noise = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        for copy, hidden in zip(copies, (0, 255, noise), strict=True):
            colors = np.where(pixels[..., 3:] == 0, hidden, pixels)[..., :3].astype(np.uint8)
            (copy / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.dstack([colors, pixels[..., 3]])).save(copy / kind / f"{number:03}.png")
    return copies


def ranks(features: np.ndarray) -> np.ndarray:
    """Every picture's neighbors, the most similar first."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.argsort(-unit @ unit.T, axis=1, kind="stable")


def all_ranks(network: SimCLR, copies: list[pathlib.Path]) -> list[np.ndarray]:
    """The ranks in every copy."""
    found, extract = [], FeatureExtractor(network, ["final_avg_pool"])
    for copy in copies:
        source = load_source(DataConfig(dataset="image_folder", data_dir=str(copy)), "train")
        batches = evaluation_batches(source, image_size=SIZE, batch_size=10)
        features, _ = extract(batches, most=source.num_examples)
        found.append(ranks(features["final_avg_pool"]))
    return found


@pytest.fixture(scope="module")
def network():
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=SIZE, num_classes=0))
    network.build((None, SIZE, SIZE, 3))
    return network


def test_ranks_do_not_depend_on_hidden_colors(tmp_path, network):
    copies = write_copies(tmp_path, COUNT)
    black, white, noise = (np.asarray(Image.open(next(copy.glob("ring/*")))) for copy in copies)
    assert (black[..., :3] != white[..., :3]).mean() > 0.5 and (noise != black).any()
    first, *others = all_ranks(network, copies)
    assert len(np.unique(first, axis=0)) > COUNT // 2
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_a_hidden_color_that_was_seen_would_change_them(tmp_path, network):
    """Without the alpha channel the same pictures have other neighbors."""
    copies = write_copies(tmp_path, COUNT)
    for path in (path for copy in copies for path in copy.glob("*/*.png")):
        Image.fromarray(np.asarray(Image.open(path))[..., :3]).save(path)
    first, *others = all_ranks(network, copies)
    for other in others:
        assert (other != first).mean() > 0.3
