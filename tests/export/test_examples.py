"""The examples of the documentation, as a user runs them, on a small export."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tf_simclrv2 import ModelConfig, SimCLR, save_module
from tf_simclrv2.export.serving_bundle import write_warmup

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("left", "right", "top")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=16, num_classes=3))
    network.build((None, 16, 16, 3))
    assign_published_weights(network)
    path = tmp_path_factory.mktemp("example") / "simclr" / "1"
    save_module(network, str(path), class_names=NAMES)
    write_warmup(network, str(path), "simclr")
    return path


@pytest.fixture
def pictures(tmp_path):
    """Ramps in different directions and sizes: `b` is `a`, made larger."""
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], [1, 24, 3])
    for name, pixels in {
        "a.png": ramp,
        "b.png": np.repeat(np.repeat(ramp, 2, 0), 2, 1),
        "c.png": 255 - ramp.transpose(1, 0, 2),
    }.items():
        (tmp_path / name).write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path


def run(example: str, *arguments) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / f"{example}.py"), *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_inference(module, pictures):
    output = run("inference", module, pictures / "a.png", pictures / "b.png")
    assert "features: (2, 512)" in output
    assert len(re.findall(r"\.png (left|right|top) 0\.\d+, ", output)) == 2


def test_linear_probe(module):
    (accuracy,) = re.findall(r"proj_head_1: top-1 ([\d.]+)", run("linear_probe", module))
    assert float(accuracy) > 0.5  # Of an untrained network; chance is 0.1.


@pytest.mark.parametrize(("example", "effort"), [("fine_tuning", 12), ("keras_hub_layer", 6)])
def test_training(module, example, effort):
    first, last = map(float, re.findall(r"(?:loss |, )(\d\.\d{4})", run(example, module, effort))[:2])
    assert last < 0.8 * first


def test_retrieval(module, pictures):
    found = re.findall(r"([\d.]+) \S*/(\w)\.png", run("retrieval", module, pictures / "a.png", pictures))
    assert [name for _, name in found] == ["a", "b", "c"]
    assert float(found[0][0]) == pytest.approx(1.0, abs=1e-4)


def test_serving(module, pictures):
    output = run("serving", module, pictures / "a.png", pictures / "c.png")
    assert output.count("'proj_head_3': 128") == 2 and len(re.findall(r"class [012]$", output, re.M)) == 2
