"""Asks a serving bundle as a client of TensorFlow Serving's REST interface does.

    python -m export --model_dir=RUN --format=serving --output=BUNDLE
    docker run -p 8501:8501 -v BUNDLE:/models tensorflow/serving --model_config_file=/models/models.config
    python docs/examples/serving.py http://localhost:8501/v1/models/simclr IMAGE [IMAGE ...]

With a bundle's NAME/VERSION directory instead of an address the request is answered in this process, by the
loader that TensorFlow Serving shares.
"""

import base64
import json
import pathlib
import sys
import urllib.request

SIGNATURE, INPUT = "image_bytes", "image_bytes"


def request_of(images: list[bytes]) -> bytes:
    """The body of a predict request: binary values travel as base64 under `b64`."""
    instances = [{INPUT: {"b64": base64.b64encode(image).decode()}} for image in images]
    return json.dumps({"signature_name": SIGNATURE, "instances": instances}).encode()


def ask_server(address: str, body: bytes) -> list[dict]:
    """Sends the request to TensorFlow Serving."""
    with urllib.request.urlopen(f"{address}:predict", body) as answer:
        return json.load(answer)["predictions"]


def ask_bundle(directory: str, body: bytes) -> list[dict]:
    """Answers the request as the server would."""
    import tensorflow as tf

    request = json.loads(body)
    images = [base64.b64decode(instance[INPUT]["b64"]) for instance in request["instances"]]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], directory)
        signature = loaded.signature_def[request["signature_name"]]
        fetched = {name: info.name for name, info in signature.outputs.items()}
        outputs = session.run(fetched, {signature.inputs[INPUT].name: images})
    return [{name: output[i].tolist() for name, output in outputs.items()} for i in range(len(images))]


def main(server: str, *images: str) -> None:
    """Prints how long each image's answers are, and its class."""
    body = request_of([pathlib.Path(image).read_bytes() for image in images])
    answers = ask_server(server, body) if server.startswith("http") else ask_bundle(server, body)
    for image, answer in zip(images, answers, strict=True):
        logits = answer.get("logits_sup")
        widths = {name: len(values) for name, values in answer.items()}
        print(image, widths, f"class {logits.index(max(logits))}" if logits else "")


if __name__ == "__main__":
    main(*sys.argv[1:])
