import argparse
import math
import pathlib
import sys

import pytest

from benchmarks import evaluation_step, startup, train_step
from benchmarks.contenders.published import published_command
from benchmarks.measuring.child import numbers_of
from tf_simclrv2 import ModelConfig

OPTIONS = argparse.Namespace(
    precision="mixed_bfloat16",
    steps=3,
    peer="torch",
    batch=0,
    compile="auto",
    rematerialize=False,
    replicas=0,
    torch_python="python_of_torch",
    published="tf2",
    published_python="python_of_published",
)

# A checkout that does next to nothing, but reads flags and has the signatures of the published program.
CHECKOUT = {
    "model.py": """
import tensorflow.compat.v2 as tf
from absl import flags
FLAGS = flags.FLAGS

class Model:
    def __init__(self, num_classes):
        self.weights = tf.Variable(tf.ones([3, num_classes]))
        self.trainable_variables = [self.weights]
    def __call__(self, inputs, training):
        views = tf.split(inputs, 2 if training else 1, axis=-1)
        h = tf.reduce_mean(tf.concat(views, 0), [1, 2])
        assert h.shape[0] == FLAGS.train_batch_size * len(views)
        return h, h @ self.weights

class WarmUpAndCosineDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, base, examples):
        self.rate = base * FLAGS.train_batch_size / 256.0
    def __call__(self, step):
        return self.rate

def build_optimizer(schedule):
    return tf.keras.optimizers.SGD(schedule)

def add_weight_decay(model, adjust_per_optimizer):
    return FLAGS.weight_decay * tf.nn.l2_loss(model.weights)
""",
    "objective.py": """
import tensorflow.compat.v2 as tf
def add_contrastive_loss(hidden, hidden_norm, temperature, strategy):
    n = hidden.shape[0] // 2
    logits = hidden[:n] @ tf.transpose(hidden[n:]) / temperature
    return tf.reduce_mean(logits), logits, tf.eye(n)
def add_supervised_loss(labels, logits):
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
""",
    "metrics.py": """
def update_pretrain_metrics_train(loss_mean, accuracy, entropy, loss, logits, labels):
    loss_mean.update_state(loss)
def update_finetune_metrics_train(loss_mean, accuracy, loss, labels, logits):
    loss_mean.update_state(loss)
def update_finetune_metrics_eval(top_1, top_5, outputs, labels):
    top_5.update_state(labels, outputs)
""",
}


def test_the_published_program_is_given_the_point():
    model = ModelConfig(resnet_depth=50, width_multiplier=2, sk_ratio=0.0625, image_size=96)
    words = published_command("python", "tf2", "eval", model, batch_size=8, steps=3)
    assert words[0] == "python" and pathlib.Path(words[1]).exists()
    assert words[2:] == ["tf2", "eval", "50", "2", "0.0625", "96", "8", "3", "1"]


@pytest.mark.parametrize("program", [train_step, startup])
def test_who_is_measured_at_a_point(program):
    peer = ["torch"] if program is train_step else "torch"  # One program measures several peers at once.
    options = argparse.Namespace(**vars(OPTIONS) | {"peer": peer})
    commands = program.contenders("r50_224px_b8", options)
    assert list(commands) == ["ours", "torch", "published"]
    assert commands["ours"][:2] == [sys.executable, program.__file__]
    assert commands["torch"][0] == "python_of_torch"
    assert commands["published"][0] == "python_of_published" and "train" in commands["published"]
    assert list(program.contenders("r50_sk_224px_b8", options)) == [
        "ours",
        "published",
    ]  # No kernels in PyTorch.
    alone = argparse.Namespace(
        **vars(OPTIONS) | {"peer": ["none"] if program is train_step else "none", "published": None}
    )
    assert list(program.contenders("r50_224px_b8", alone)) == ["ours"]


def test_who_is_measured_in_evaluation():
    commands = evaluation_step.contenders("r18_32px_b64", OPTIONS)
    assert list(commands) == ["ours, mixed_bfloat16", "ours, float32", "published"]
    assert "eval" in commands["published"]
    alone = argparse.Namespace(**vars(OPTIONS) | {"published": None})
    assert len(evaluation_step.contenders("r18_32px_b64", alone)) == 2


@pytest.mark.parametrize("precision", evaluation_step.PRECISIONS)
def test_a_step_of_evaluation_is_timed(precision):
    step = evaluation_step.evaluation_step(ModelConfig(resnet_depth=18, image_size=8), 4, precision)
    first, second = step(), step()
    assert math.isfinite(first) and 0 < second < first  # The first one traces.


@pytest.mark.parametrize("kind", ["train", "eval"])
def test_steps_of_a_checkout_are_timed(kind, tmp_path):
    for name, text in CHECKOUT.items():
        (tmp_path / name).write_text(text)
    model = ModelConfig(resnet_depth=18, image_size=8)
    found = numbers_of(published_command(sys.executable, str(tmp_path), kind, model, batch_size=4, steps=2))
    assert len(found["step_s"]) == 2 and 0 < max(found["step_s"]) < found["first_step_s"]
    moments = [found["moments"][part] for part in startup.PARTS]
    assert moments == sorted(moments)


def test_parts_of_a_start_are_counted_from_the_start_of_the_process():
    program = "import json, time; t = time.time(); print(json.dumps({'moments': dict.fromkeys(%r, t)}))"
    seconds = startup.seconds_to_parts([sys.executable, "-c", program % (startup.PARTS,)])
    assert set(seconds) == {"imported_s", "built_s", "first_step_s"}
    assert 0 < min(seconds.values()) < 30


def test_the_rows_of_a_start_hold_all_to_ours():
    def turn(seconds: float) -> dict[str, float]:
        return {"imported_s": 1.0, "built_s": 2.0, "first_step_s": seconds}

    lines = list(startup.rows("p", {"ours": [turn(4.0), turn(6.0)], "published": [turn(10.0)]}))
    assert lines[0] == "| p | ours | 1.00 | 2.00 | 5.00 | 4.00 to 6.00 | 1.00 |"
    assert lines[1] == "| p | published | 1.00 | 2.00 | 10.00 | 10.00 to 10.00 | 2.00 |"
