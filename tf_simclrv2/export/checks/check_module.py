"""Checks a SavedModel where the package that wrote it cannot be imported.

    python -P tf_simclrv2/export/checks/check_module.py MODULE EXPECTED.npz

EXPECTED holds `images` and the network's output for them by endpoint, and also as `result` if a call returns
one tensor. Prints the largest relative difference; exits with 1 and a sentence if something is wrong.
"""

import sys

import numpy as np
import tensorflow as tf

TOLERANCE = 1e-5


def difference(found: tf.Tensor, expected: np.ndarray) -> float:
    """Returns ‖found - expected‖ / ‖expected‖."""
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


def check_call(module: object, images: np.ndarray, expected: dict[str, np.ndarray]) -> float:
    """Compares the outputs of a call, with both arguments that select inference."""
    differences = []
    for word in ("training", "trainable"):
        outputs = module(images, **{word: False})
        outputs = outputs if isinstance(outputs, dict) else {"result": outputs}
        names = {"result"} if "result" in expected else set(expected)
        if set(outputs) != names:
            sys.exit(f"the module returns {sorted(outputs)}, but {sorted(names)} were expected.")
        differences += [difference(outputs[name], expected[name]) for name in outputs]
    return float(np.max(differences))  # Which is NaN if one is.


def check_signatures(module: object, images: np.ndarray, expected: dict[str, np.ndarray]) -> float:
    """Compares every signature that takes images, and calls those that take files."""
    differences = []
    for name, signature in module.signatures.items():
        if "image_bytes" in signature.structured_input_signature[1]:
            png = tf.io.encode_png(tf.fill([40, 30, 3], tf.constant(128, tf.uint8)))
            outputs = signature(image_bytes=png[tf.newaxis])
            numbers = [output for output in outputs.values() if output.dtype != tf.string]
            if not all(np.all(np.isfinite(output)) for output in numbers):
                sys.exit(f"the outputs of the signature {name} are not finite.")
            continue
        outputs = signature(images=tf.constant(images))
        differences += [difference(outputs[key], expected[key]) for key in outputs]
    return float(np.max(differences))  # Which is NaN if one is.


def check_gradients(module: object, images: np.ndarray) -> None:
    """Checks that every trainable variable has a gradient, in training and in inference mode."""
    variables = list(module.trainable_variables)
    for training in (True, False):
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(module(images, training=training))
            loss = tf.add_n([tf.reduce_mean(output**2) for output in outputs])
        missing = sum(gradient is None for gradient in tape.gradient(loss, variables))
        if missing or not variables:
            sys.exit(f"{missing} of {len(variables)} trainable variables have no gradient.")


def main() -> None:
    """Checks the module named on the command line."""
    path, expected_path = sys.argv[1:]
    expected = dict(np.load(expected_path))
    images = expected.pop("images")
    module = tf.saved_model.load(path)
    found = np.max([check_call(module, images, expected), check_signatures(module, images, expected)])
    if not found <= TOLERANCE:
        sys.exit(
            f"the module's outputs differ by {found:.1e} from the network's; at most {TOLERANCE} is allowed."
        )
    check_gradients(module, images)
    print(f"{found:.1e}")


if __name__ == "__main__":
    for package in ("tf_simclrv2", "flags", "export"):
        sys.modules[package] = None  # type: ignore[assignment] - An import of it fails.
    main()
