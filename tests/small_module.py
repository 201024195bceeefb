"""A small exported module, and what its tests share."""

import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from tests.goldens import assign_published_weights
from tf_simclrv2 import ExperimentConfig, ModelConfig, SimCLR, save_module

R18 = ModelConfig(resnet_depth=18, image_size=32, num_classes=4)
CLASSES = ("cat", "dog", "owl", "yak")


def network_of(config: ModelConfig, dtype: str = "float32") -> SimCLR:
    network = SimCLR(config, dtype=dtype)
    network.build((None, config.image_size, config.image_size, 3))
    assign_published_weights(network)
    return network


def save_small_module(path: str) -> SimCLR:
    """Exports ResNet-18 with the goldens' weights."""
    network = network_of(R18)
    save_module(network, path, ExperimentConfig(model=R18), class_names=CLASSES, training={"global_step": 7})
    return network


def isolated(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program in a process that cannot import this package."""
    preamble = "import sys; sys.modules['tf_simclrv2'] = None\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", preamble + script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def relative(found, expected) -> float:
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    encode = tf.io.encode_jpeg if kind == "jpeg" else tf.io.encode_png
    return encode(tf.constant(pixels, tf.uint8)).numpy()


def picture(height: int = 40, width: int = 50, channels: int = 3) -> np.ndarray:
    ramp = np.linspace(0, 255, height * width * channels).reshape(height, width, channels)
    return ramp.astype(np.uint8)
