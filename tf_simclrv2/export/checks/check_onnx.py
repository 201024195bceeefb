"""Checks an ONNX file where the package that wrote it cannot be imported.

    python -P tf_simclrv2/export/checks/check_onnx.py FILE EXPECTED.npz

EXPECTED holds `images` and the network's output for them by endpoint; the file must have these outputs and no
others. Prints the largest relative difference; exits with 1 and a sentence if something is wrong.
"""

import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-4


def largest_difference(path: str, images: np.ndarray, expected: dict[str, np.ndarray]) -> float:
    """Returns the largest ‖found - expected‖ / ‖expected‖ of any output, for all images and for the first."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if set(names) != set(expected):
        sys.exit(f"the file has the outputs {sorted(names)}, but {sorted(expected)} were expected.")
    differences = []
    for count in (len(images), 1):
        for name, found in zip(names, session.run(names, {"images": images[:count]}), strict=True):
            wanted = expected[name][:count]
            differences.append(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-30))
    return float(np.max(differences))  # Which is NaN if one is.


def main() -> None:
    """Checks the file named on the command line."""
    path, expected_path = sys.argv[1:]
    expected = dict(np.load(expected_path))
    images = expected.pop("images")
    found = largest_difference(path, images, expected)
    if not found <= TOLERANCE:
        sys.exit(
            f"the file's outputs differ by {found:.1e} from the network's; at most {TOLERANCE} is allowed."
        )
    print(f"{found:.1e}")


if __name__ == "__main__":
    for package in ("tf_simclrv2", "flags", "export"):
        sys.modules[package] = None  # type: ignore[assignment] - An import of it fails.
    main()
