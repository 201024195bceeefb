"""Writes an ONNX file in float32, for any batch size and any image size."""

from __future__ import annotations

import onnx
import tensorflow as tf
import tf2onnx

from tf_simclrv2.errors import ExportError
from tf_simclrv2.models import SimCLR
from tf_simclrv2.modules.serving_signatures import served_endpoints

ONNX_SUFFIX = ".onnx"
ONNX_FILE = f"model{ONNX_SUFFIX}"
# The key of `simclr.json` among the properties of the file.
DESCRIPTION_PROPERTY = "simclr"
# A protocol buffer holds at most 2 GiB; some of it is the graph.
MAX_BYTES = 2_000_000_000
# Dimensions of the input; the outputs share the first.
_DIMENSIONS = ("batch", "height", "width")


def write_onnx(network: SimCLR, path: str, description: str) -> None:
    """Converts a network; the file has the input `images` and the outputs of the signature `serving_default`.

    Args:
        network: A built float32 network.
        path: The file to write.
        description: The text of `simclr.json`, which becomes a property of the file.

    Raises:
        ExportError: The weights are larger than an ONNX file can be.
    """
    size = 4 * sum(variable.shape.num_elements() for variable in network.variables)
    if size > MAX_BYTES:
        raise ExportError(
            f"the network has {size / 1e9:.1f} GB of weights, but an ONNX file holds at most "
            f"{MAX_BYTES / 1e9:.0f} GB; export it with --format=saved_model."
        )
    images = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")

    # Not the served signature: ONNX has no operations for its checks of requests.
    @tf.function(input_signature=[images], autograph=False)
    def infer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(images, training=False)
        return {name: outputs[name] for name in served_endpoints(network.endpoint_widths)}

    model, _ = tf2onnx.convert.from_function(infer, input_signature=[images])
    _name_dimensions(model)
    onnx.helper.set_model_props(model, {DESCRIPTION_PROPERTY: description})
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def _name_dimensions(model: onnx.ModelProto) -> None:
    """Replaces numbered names of the dimensions that may vary."""
    for value in (*model.graph.input, *model.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, _DIMENSIONS, strict=False):
            if not dimension.dim_value:
                dimension.dim_param = name
