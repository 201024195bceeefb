"""Checks TensorFlow Lite files where the package that wrote them cannot be imported.

    python -P tf_simclrv2/export/checks/check_tflite.py DIRECTORY EXPECTED.npz

EXPECTED holds `images` and the network's output for them by endpoint. Prints the largest relative difference
of each file; exits with 1 and a sentence if one is too large.
"""

import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

# Relative to the norm of an output; the second is for 8-bit weights.
TOLERANCES = {"model.tflite": 1e-5, "model_int8.tflite": 0.2}


def largest_difference(path: str, images: np.ndarray, expected: dict[str, np.ndarray]) -> float:
    """Returns the largest ‖found - expected‖ / ‖expected‖ of any output of a file."""
    run = Interpreter(path).get_signature_runner("serving_default")
    found = [run(images=image[np.newaxis]) for image in images]
    differences = []
    for name in found[0]:
        outputs = np.concatenate([output[name] for output in found])
        norm = max(np.linalg.norm(expected[name]), 1e-30)
        differences.append(np.linalg.norm(outputs - expected[name]) / norm)
    return float(np.max(differences))  # Which is NaN if one is.


def main() -> None:
    """Checks the files in the directory named on the command line."""
    directory, expected_path = sys.argv[1:]
    expected = dict(np.load(expected_path))
    images = expected.pop("images")
    words = []
    for name, tolerance in TOLERANCES.items():
        found = largest_difference(os.path.join(directory, name), images, expected)
        if not found <= tolerance:
            sys.exit(f"{name} differs by {found:.1e} from the network; at most {tolerance} is allowed.")
        words.append(f"{name} {found:.1e}")
    print(", ".join(words))


if __name__ == "__main__":
    for package in ("tf_simclrv2", "flags", "export"):
        sys.modules[package] = None  # type: ignore[assignment] - An import of it fails.
    main()
