"""Fine-tunes a module with hub.load, in plain TensorFlow, without this package.

    python docs/examples/fine_tuning.py MODULE [STEPS]

All of the module's variables are trained, with a new classifier on top of its first head layer.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from command_line import run
from module_path import linked
from sklearn.datasets import load_digits

ENDPOINT, LEARNING_RATE, IMAGES = "proj_head_1", 0.05, 100


def main(module_path: str, steps: str = "20") -> None:
    """Prints the loss before and after."""
    with linked(module_path) as path:
        module = hub.load(path)
    digits = load_digits()
    images = digits.images[:IMAGES, ..., np.newaxis].repeat(3, axis=-1) / 16  # In [0, 1], as modules want.
    images, labels = tf.constant(images, tf.float32), tf.constant(digits.target[:IMAGES])
    width = module(images[:1], training=False)[ENDPOINT].shape[-1]
    kernel = tf.Variable(tf.zeros([width, 10]))
    variables = [*module.trainable_variables, kernel]

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = module(images, training=True)[ENDPOINT] @ kernel
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            if gradient is not None:  # None after the endpoint: the head's other layers, the old classifier.
                variable.assign_sub(LEARNING_RATE * gradient)
        return loss

    losses = [float(step()) for _ in range(int(steps))]
    print(f"loss {losses[0]:.4f} before, {losses[-1]:.4f} after {steps} steps")


if __name__ == "__main__":
    run(main)
