"""The teacher of distillation, loaded from any kind of saved network."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.literal_path import literal_path
from tf_simclrv2.tasks import Teacher
from tf_simclrv2.weights.classes import Classes
from tf_simclrv2.weights.loading import find_weights, load_network

LOGITS = "logits_sup"
PROBE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class LoadedTeacher:
    """A teacher and what it knows.

    Attributes:
        predict: Images [N, H, W, 3] to logits [N, classes], in inference mode.
        classes: What its logits stand for.
        doubt: What its checkpoint does not say, in a sentence; or empty.
    """

    predict: Teacher
    classes: Classes
    doubt: str = ""

    @property
    def num_classes(self) -> int:
        """Width of the logits."""
        return self.classes.count


def load_teacher(path: str, precision: str = "float32") -> LoadedTeacher:
    """Loads a model_dir, a `ckpt-N` or a SavedModel, and Google's published weights in any form.

    Under a strategy this must be called in its scope.

    Args:
        path: Where the teacher is.
        precision: Dtype policy that it runs in, unless a SavedModel brings its own.

    Raises:
        CheckpointError: There is no model, it has no classifier, or its class names do not fit it.
    """
    if tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
        return _from_saved_model(path)
    weights = find_weights(path, setting="teacher")
    if weights.model is not None and weights.model.num_classes == 0 and not weights.is_keras:
        raise CheckpointError(_no_classifier(path))
    network = load_network(weights, precision)
    return LoadedTeacher(
        lambda images: network(images, training=False)[LOGITS],
        _classes(path, network.config.num_classes),
        weights.doubt,
    )


_OTHER_CLASSES = (
    "use a teacher that was fine-tuned on the same classes or, if the folders of the images to distill on "
    "are not classes, name the labeled images with --labeled_data_dir"
)


def _classes(path: str, count: int) -> Classes:
    return Classes.read(path, count, "the teacher", _OTHER_CLASSES)


def _from_saved_model(path: str) -> LoadedTeacher:
    module = tf.saved_model.load(literal_path(path))
    mode, outputs = _probe(module, path)
    if not isinstance(outputs, dict) or LOGITS not in outputs:
        raise CheckpointError(_no_classifier(path))
    classes = _classes(path, int(outputs[LOGITS].shape[-1]))
    return LoadedTeacher(lambda images: module(images, **mode)[LOGITS], classes)


def _probe(module: Any, path: str) -> tuple[dict[str, bool], Any]:
    """The argument that asks for inference, and what comes back for one image.

    Our modules say `training`, the published ones `trainable`.
    """
    image = tf.zeros([1, PROBE_SIZE, PROBE_SIZE, 3])
    for name in ("training", "trainable"):
        try:
            return {name: False}, module(image, **{name: False})
        except (TypeError, ValueError):
            continue
    raise CheckpointError(
        f"teacher is {path!r}, a SavedModel that cannot be called on images [N, H, W, 3]; "
        "export it with save_module."
    )


def _no_classifier(path: str) -> str:
    return f"teacher is {path!r}, but it has no classifier (no {LOGITS}); fine-tune it first."
