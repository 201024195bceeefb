"""A distillation step: the mixed loss, the teacher."""

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of, linear_teacher
from tf_simclrv2 import LARS, ModelConfig, SimCLR
from tf_simclrv2.tasks import Distillation

FLAGS = {"resnet_depth": 18, "image_size": 16, "train_batch_size": 8, "weight_decay": 1e-4}
LABELS = np.arange(4)


def config_for(alpha, precision="float64"):
    flags = {"train_mode": "distill", "distill_temperature": 0.5, "distill_alpha": alpha}
    return config_of({**FLAGS, **flags, "labeled_batch_size": len(LABELS)}, precision)


def task_for(alpha, precision="float64"):
    task = Distillation(config_for(alpha, precision), linear_teacher)
    assign_published_weights(task.network)
    task.compile(LARS(0.1, weight_decay=1e-4))
    return task


def tensors(batch):
    return {name: tf.constant(array) for name, array in batch.items()}


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_mixed_loss(alpha):
    task = task_for(alpha)
    batch = batch_of(task.config)
    images = np.concatenate([batch[name] for name in ("image", "labeled_image") if name in batch])
    logits, labeled = np.split(task.network(images, training=True)["logits_sup"].numpy(), [8])
    targets = np.exp(log_softmax(linear_teacher(tf.constant(batch["image"])).numpy() / 0.5))
    expected = alpha * -np.mean(np.sum(targets * log_softmax(logits / 0.5), axis=1))
    if alpha < 1.0:
        expected += (1 - alpha) * -np.mean(log_softmax(labeled)[np.arange(4), LABELS])
    losses, metrics = task.objective(tensors(batch))
    assert float(tf.add_n(list(losses.values()))) == pytest.approx(expected, rel=1e-5)
    agreement = np.mean(np.argmax(targets, axis=1) == np.argmax(logits, axis=1))
    assert float(metrics["teacher_agreement"]) == pytest.approx(agreement)


def test_the_teacher_does_not_see_labeled_images():
    seen = []

    def teacher(images):
        seen.append(images.numpy())
        return linear_teacher(images)

    task = Distillation(config_for(0.3), teacher)
    batch = batch_of(task.config)
    task.objective(tensors(batch))
    (images,) = seen
    np.testing.assert_array_equal(images, batch["image"])


def test_the_teacher_is_never_changed():
    teacher = SimCLR(ModelConfig(resnet_depth=18, image_size=16, num_classes=10), dtype="float32")
    teacher.build((None, 16, 16, 3))
    before = [variable.numpy() for variable in teacher.variables]
    config = config_for(1.0, "float32")
    task = Distillation(config, lambda images: teacher(images, training=False)["logits_sup"])
    task.compile(LARS(1.0))
    kernel = task.network.supervised_head.kernel.numpy()
    task.train_step(tensors(batch_of(task.config)))
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert np.any(task.network.supervised_head.kernel.numpy() != kernel)
    assert not {id(v) for v in teacher.variables} & {id(v) for v in task.variables}


def test_learning_from_a_teacher_lowers_the_loss():
    task = task_for(1.0, "float32")
    task.compile(LARS(0.01))
    batch = tensors(batch_of(task.config))
    step = tf.function(task.train_step)
    losses = []
    for _ in range(15):
        for metric in task.metrics:
            metric.reset_state()
        losses.append(float(step(batch)["distillation_loss"]))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.usefixtures("two_blocks")
def test_another_teacher_is_asked_from_then_on():
    """Also where Keras has traced a step with the first one."""
    task = Distillation(config_for(1.0), linear_teacher)
    task.compile(LARS(0.0))
    task.network.supervised_head.bias.assign(np.linspace(0.0, 3.0, 10))
    batches = tf.data.Dataset.from_tensors(batch_of(task.config))

    def losses():
        found = task.evaluate(batches, return_dict=True, verbose=0)
        return task.fit(batches, verbose=0).history["distillation_loss"][0], found["distillation_loss"]

    trained, evaluated = losses()
    task.set_teacher(lambda images: tf.zeros([images.shape[0], 10], images.dtype))
    for new, old in zip(losses(), (trained, evaluated), strict=True):
        assert new != pytest.approx(old, rel=1e-3)
    logits = task.network(batch_of(task.config)["image"])["logits_sup"].numpy() / 0.5
    assert losses()[1] == pytest.approx(-log_softmax(logits).mean(), rel=1e-6)
