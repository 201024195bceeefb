"""Features and classes of image files, from an exported module alone.

    python docs/examples/inference.py MODULE IMAGE [IMAGE ...]

JPEG or PNG of any size: the preprocessing is in the module.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf


def main(module_path: str, *images: str) -> None:
    """Prints each image's likeliest classes, and the shape of its features."""
    module = tf.saved_model.load(module_path)
    contents = tf.constant([pathlib.Path(image).read_bytes() for image in images])
    outputs = module.signatures["image_bytes"](image_bytes=contents)
    print("features:", outputs["final_avg_pool"].shape)
    if "logits_sup" not in outputs:
        return
    probabilities = tf.nn.softmax(outputs["logits_sup"]).numpy()
    labels = pathlib.Path(module_path, "assets", "labels.txt")
    names = labels.read_text().splitlines() if labels.exists() else range(probabilities.shape[1])
    for image, row in zip(images, probabilities, strict=True):
        best = np.argsort(-row)[:3]
        print(image, ", ".join(f"{names[i]} {row[i]:.3f}" for i in best))


if __name__ == "__main__":
    main(*sys.argv[1:])
