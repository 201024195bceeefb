"""Queries a serving bundle as a client of TensorFlow Serving's REST API does.

    python -m export --model_dir=RUN --format=serving --output=BUNDLE
    docker run -p 8501:8501 -v BUNDLE:/models tensorflow/serving --model_config_file=/models/models.config
    python docs/examples/serving.py http://localhost:8501/v1/models/simclr IMAGE [IMAGE ...]

With a bundle's NAME/VERSION directory instead of an address, the request is answered in this process. Images
may have any format; an unreadable one is skipped.
"""

import base64
import functools
import json
import os
import sys
import urllib.error
import urllib.request

from command_line import run
from image_files import answers
from module_path import linked

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

SIGNATURE, INPUT = "image_bytes", "image_bytes"


def request_of(images: list[bytes]) -> bytes:
    """The body of a predict request: binary values travel as base64 under `b64`."""
    instances = [{INPUT: {"b64": base64.b64encode(image).decode()}} for image in images]
    return json.dumps({"signature_name": SIGNATURE, "instances": instances}).encode()


class Refused(Exception):
    """The server cannot read one of the images."""


def ask_server(address: str, images: list[bytes]) -> list[dict]:
    """Sends a request to TensorFlow Serving."""
    try:
        with urllib.request.urlopen(f"{address}:predict", request_of(images)) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        reason = json.load(error)["error"]
        if error.code != 400:  # Not for its images.
            sys.exit(f"error: {reason}")
        raise Refused(reason) from error


def ask_bundle(directory: str, images: list[bytes]) -> list[dict]:
    """Answers the request as the server would."""
    import tensorflow as tf

    request = json.loads(request_of(images))
    contents = [base64.b64decode(instance[INPUT]["b64"]) for instance in request["instances"]]
    with linked(directory) as path:
        signature = tf.saved_model.load(path).signatures[request["signature_name"]]
    try:
        outputs = signature(**{INPUT: tf.constant(contents)})
    except tf.errors.InvalidArgumentError as error:
        raise Refused(error.message) from error
    values = {name: output.numpy().tolist() for name, output in outputs.items()}
    return [{name: value[i] for name, value in values.items()} for i in range(len(images))]


def main(server: str, *images: str) -> None:
    """Prints how long each image's answers are, and its class."""
    ask = functools.partial(ask_server if server.startswith("http") else ask_bundle, server)
    found = list(answers(ask, images, Refused))
    if not found:
        sys.exit("error: none of these images can be read.")
    for image, answer in found:
        logits = answer.get("logits_sup")
        widths = {name: len(values) for name, values in answer.items()}
        print(image, widths, f"class {logits.index(max(logits))}" if logits else "")


if __name__ == "__main__":
    run(main)
