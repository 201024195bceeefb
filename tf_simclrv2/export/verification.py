"""Verifies an export in a fresh process, without this package, before it is published."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from tf_simclrv2.errors import ExportError
from tf_simclrv2.literal_path import literal_path
from tf_simclrv2.models import SimCLR
from tf_simclrv2.modules.serving_signatures import served_endpoints

# Side of the images of a check: convolutions take any size, and small images are faster.
MAX_SIDE = 64


def verify_module(network: SimCLR, module: str, result: str | None = None) -> float:
    """Compares a module with the network that it was made from, and checks that it can be trained.

    Args:
        network: The exported network.
        module: The directory of the SavedModel.
        result: The endpoint that a call returns; None if a call returns all endpoints by name.

    Returns:
        The largest relative difference of any output.

    Raises:
        ExportError: An output differs, or a trainable variable has no gradient.
    """
    outputs = _outputs(network, min(network.config.image_size, MAX_SIDE))
    if result is not None:
        outputs["result"] = outputs[result]
    return float(_run_check("check_module.py", literal_path(module), outputs))


def verify_tflite(network: SimCLR, directory: str) -> str:
    """Compares TensorFlow Lite files with the network that they were made from.

    Args:
        network: The exported network.
        directory: The directory of the files.

    Returns:
        A phrase with the largest relative difference of each file.

    Raises:
        ExportError: An output differs by more than the tolerance of its precision.
    """
    return _run_check("check_tflite.py", directory, _outputs(network, network.config.image_size))


def verify_onnx(network: SimCLR, path: str) -> float:
    """Compares an ONNX file with the network that it was made from.

    Args:
        network: The exported network.
        path: The file.

    Returns:
        The largest relative difference of any output.

    Raises:
        ExportError: An output differs, or is not in the file.
    """
    outputs = _outputs(network, min(network.config.image_size, MAX_SIDE))
    served = ("images", *served_endpoints(network.endpoint_widths))
    return float(_run_check("check_onnx.py", path, {name: outputs[name] for name in served}))


def _outputs(network: SimCLR, side: int) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).random([2, side, side, 3], np.float32)
    with tf.device("/CPU:0"):  # A GPU may round products to TensorFloat-32, and so may that of the check.
        outputs = network(images, training=False)
    return {"images": images, **{name: output.numpy() for name, output in outputs.items()}}


def _run_check(script: str, path: str, expected: dict[str, np.ndarray]) -> str:
    """Runs a check script on the CPU, without this package, and returns the last line that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "expected.npz")
        np.savez(file, **expected)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checks", script)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        # -P leaves out the script's own folder; packages of the user and of PYTHONPATH stay in reach.
        command = [sys.executable, "-P", script, path, file]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}, without a message").splitlines()[-1]
        raise ExportError(f"the export failed its check, and nothing was written: {reason}")
    return done.stdout.strip().splitlines()[-1]
