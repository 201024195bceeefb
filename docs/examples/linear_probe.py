"""Fits a linear classifier to frozen features of the projection head's first layer, with few labels.

    python docs/examples/linear_probe.py MODULE [ENDPOINT]

The images are scikit-learn's handwritten digits, as PNG files; use your own.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

import numpy as np
import tensorflow as tf
from command_line import run
from module_path import linked
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LABELED, TESTED, BATCH = 200, 200, 100


def features(module, files: list[bytes], endpoint: str) -> np.ndarray:
    """Features [N, width] of image files, a batch at a time."""
    serve = module.signatures["image_bytes"]
    batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    return np.concatenate([serve(image_bytes=tf.constant(batch))[endpoint] for batch in batches])


def main(module_path: str, endpoint: str = "proj_head_1") -> None:
    """Prints the accuracy on digits that the classifier has not seen."""
    digits = load_digits()
    pixels = (digits.images[..., np.newaxis] / 16 * 255).astype(np.uint8)
    files = [tf.io.encode_png(image).numpy() for image in pixels[: LABELED + TESTED]]
    with linked(module_path) as path:
        module = tf.saved_model.load(path)
    x = features(module, files, endpoint)
    y = digits.target[: LABELED + TESTED]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    probe.fit(x[:LABELED], y[:LABELED])
    print(f"{endpoint}: top-1 {probe.score(x[LABELED:], y[LABELED:]):.4f} on {TESTED} images")


if __name__ == "__main__":
    run(main)
