"""Writes what TensorFlow Serving reads besides a SavedModel: warm-up requests and models.config."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tf_simclrv2.files import write_atomically
from tf_simclrv2.models import SimCLR

WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
CONFIG_FILE = "models.config"
# The directory of models in TensorFlow Serving's container.
SERVING_ROOT = "/models"


def write_warmup(network: SimCLR, module: str, name: str) -> None:
    """Writes requests that a server runs before it reports that it is ready.

    Without them, the first request of a client would wait for graph optimization.

    Args:
        network: The exported network.
        module: The directory of its SavedModel.
        name: The name of the served model.
    """
    size = network.config.image_size
    gray = tf.fill([size, size, 3], tf.constant(128, tf.uint8))
    requests = {
        "serving_default": {"images": tf.zeros([1, size, size, 3])},
        "image_bytes": {"image_bytes": tf.io.encode_jpeg(gray)[tf.newaxis]},
    }
    path = os.path.join(module, WARMUP_FILE)
    os.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in requests.items():
            writer.write(_request(name, signature, inputs).SerializeToString())


def _request(name: str, signature: str, inputs: dict[str, tf.Tensor]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def write_models_config(directory: str) -> None:
    """Lists every model of a bundle for `tensorflow_model_server --model_config_file`.

    Args:
        directory: The bundle, which must be mounted as /models in the server.
    """
    versions = pathlib.Path(directory).glob("*/*/saved_model.pb")
    names = sorted({path.parts[-3] for path in versions if path.parts[-2].isdecimal()})
    entries = "".join(
        f'  config {{\n    name: "{name}"\n    base_path: "{SERVING_ROOT}/{name}"\n'
        '    model_platform: "tensorflow"\n  }\n'
        for name in names
    )
    write_atomically(os.path.join(directory, CONFIG_FILE), f"model_config_list {{\n{entries}}}\n")
