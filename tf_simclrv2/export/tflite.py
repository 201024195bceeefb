"""Writes TensorFlow Lite files: one in float32, and one with 8-bit weights (dynamic range)."""

from __future__ import annotations

import os
import tempfile

import tensorflow as tf

from tf_simclrv2.models import SimCLR
from tf_simclrv2.modules.serving_signatures import served_endpoints

FLOAT_FILE = "model.tflite"
INT8_FILE = "model_int8.tflite"


def write_tflite(network: SimCLR, directory: str) -> None:
    """Converts a network; the files have the signature `serving_default` for one image at a time.

    Args:
        network: A built float32 network.
        directory: An existing directory, which gets `model.tflite` and `model_int8.tflite`.
    """
    size = network.config.image_size

    # Not the served signature: TensorFlow Lite has no operations for its checks of requests.
    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], tf.float32, name="images")])
    def infer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(images, training=False)
        return {name: outputs[name] for name in served_endpoints(network.endpoint_widths)}

    module = tf.train.Checkpoint(variables=[variable.value for variable in network.variables])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": infer})
        for name, optimizations in ((FLOAT_FILE, []), (INT8_FILE, [tf.lite.Optimize.DEFAULT])):
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
            converter.optimizations = optimizations
            with open(os.path.join(directory, name), "wb") as file:
                file.write(converter.convert())
