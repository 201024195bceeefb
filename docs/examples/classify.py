"""Asks a server for the classes of image files.

    simclrv2 serve exports/mine
    python docs/examples/classify.py http://localhost:8501/v1/models/mine IMAGE [IMAGE ...]

The server may also be TensorFlow Serving. The module must contain the names of its classes, as modules of
fine-tuned networks do. Images may have any format; an unreadable one is skipped.
"""

import base64
import functools
import json
import sys
import urllib.error
import urllib.request

from command_line import run
from image_files import answers


class Refused(Exception):
    """The server cannot read one of the images."""


def ask_server(address: str, images: list[bytes]) -> list[dict]:
    """Returns a class and its probability for each image; binary values travel as base64 under `b64`."""
    instances = [{"b64": base64.b64encode(image).decode()} for image in images]
    request = json.dumps({"signature_name": "classes", "instances": instances}).encode()
    try:
        with urllib.request.urlopen(f"{address}:predict", request) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        reason = json.load(error)["error"]
        if error.code != 400 or "signature" in reason:  # Not for its images.
            sys.exit(f"error: {reason}")
        raise Refused(reason) from error
    except urllib.error.URLError as error:
        sys.exit(f"error: {address} does not answer ({error.reason}); start simclrv2 serve, and try again.")


def main(server: str, *images: str) -> None:
    """Prints each image's most likely class, and its probability."""
    found = list(answers(functools.partial(ask_server, server), images, Refused))
    if not found:
        sys.exit("error: none of these images can be read.")
    for image, answer in found:
        print(f"{image} {answer['class']} {answer['probability']:.3f}")


if __name__ == "__main__":
    run(main)
