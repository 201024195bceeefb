"""Uses a module as a layer of a Keras 3 model that is fitted, saved and loaded.

python docs/examples/keras_hub_layer.py MODULE [EPOCHS]
"""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages are off.

import keras
import numpy as np
from command_line import run
from sklearn.datasets import load_digits

from tf_simclrv2 import HubLayer

IMAGES = 100


def main(module_path: str, epochs: str = "5") -> None:
    """Prints the accuracy on the images that it was fitted to, from the saved model."""
    digits = load_digits()
    images = (digits.images[:IMAGES, ..., np.newaxis].repeat(3, axis=-1) / 16).astype("float32")
    labels = digits.target[:IMAGES]
    inputs = keras.Input(images.shape[1:])
    features = HubLayer(module_path, endpoint="proj_head_1", trainable=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10)(features))
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    losses = model.fit(images, labels, batch_size=50, epochs=int(epochs), verbose=0).history["loss"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        _, accuracy = keras.models.load_model(path).evaluate(images, labels, verbose=0)
    print(f"loss {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last; accuracy {accuracy:.4f}")


if __name__ == "__main__":
    run(main)
