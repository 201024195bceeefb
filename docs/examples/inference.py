"""Prints features and classes of image files, using only an exported module.

    python docs/examples/inference.py MODULE IMAGE [IMAGE ...]

Images may have any format and size: the preprocessing is in the module. An unreadable file is skipped.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

import numpy as np
import tensorflow as tf
from command_line import run
from image_files import answers
from module_path import linked


def main(module_path: str, *images: str) -> None:
    """Prints each image's most likely classes, and the shape of its features."""
    with linked(module_path) as path:
        module = tf.saved_model.load(path)

    def ask(files: list[bytes]) -> list[dict[str, np.ndarray]]:
        outputs = module.signatures["image_bytes"](image_bytes=tf.constant(files))
        return [{name: output[i].numpy() for name, output in outputs.items()} for i in range(len(files))]

    found = list(answers(ask, images, tf.errors.InvalidArgumentError))
    if not found:
        sys.exit("error: none of these images can be read.")
    print("features:", np.stack([answer["final_avg_pool"] for _, answer in found]).shape)
    if "logits_sup" not in found[0][1]:
        return
    labels = pathlib.Path(module_path, "assets", "labels.txt")
    # Not `splitlines`, which also ends a line at characters that a name may hold.
    lines = labels.read_text(encoding="utf-8").removesuffix("\n").split("\n") if labels.exists() else ()
    for image, answer in found:
        probabilities = tf.nn.softmax(answer["logits_sup"]).numpy()
        names = lines or range(len(probabilities))
        best = np.argsort(-probabilities)[:3]
        print(image, ", ".join(f"{names[i]} {probabilities[i]:.3f}" for i in best))


if __name__ == "__main__":
    run(main)
