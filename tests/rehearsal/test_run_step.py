"""The shapes of batches that follow from a config are those of the batches that a run makes."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES, Stage
from tf_simclrv2.config import DataConfig, EvaluationConfig
from tf_simclrv2.data import BatchOptions, evaluation_batches, load_source
from tf_simclrv2.data.pipeline import distillation_batches, finetuning_batches, pretraining_batches
from tf_simclrv2.rehearsal.run_step import evaluation_specs, run_step, teacher_model, training_specs

DIGITS = DataConfig(dataset="digits", train_split="train", eval_split="test")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_training_batches(stage: Stage) -> None:
    config = stage.config("float32")
    size = config.model.image_size
    options = BatchOptions(size, config.training.train_batch_size, 0, config.labeled_batch_size)
    source = load_source(DIGITS, "train")
    if config.training.train_mode == "distill":
        labeled = source if config.labeled_batch_size else None
        batches = distillation_batches(source, labeled, DIGITS, options)
    else:
        make = pretraining_batches if config.training.train_mode == "pretrain" else finetuning_batches
        batches = make(source, DIGITS, options)
    assert training_specs(config, 1) == batches.element_spec
    half = training_specs(config, 2)
    assert {name: spec.shape[0] * 2 for name, spec in half.items()} == {
        name: spec.shape[0] for name, spec in batches.element_spec.items()
    }


def test_evaluation_batches() -> None:
    config = dataclasses.replace(STAGES[0].config("float32"), evaluation=EvaluationConfig(eval_batch_size=16))
    batches = evaluation_batches(
        load_source(DIGITS, "test"), image_size=config.model.image_size, batch_size=16
    )
    assert evaluation_specs(config, 1) == batches.element_spec


def test_evaluation_runs_what_counts_correct_answers() -> None:
    config = STAGES[0].config("float32")
    config = dataclasses.replace(
        config,
        run=dataclasses.replace(config.run, mode="eval"),
        evaluation=EvaluationConfig(eval_batch_size=16),
    )
    run = run_step(config, tf.distribute.get_strategy())
    batch = {name: tf.zeros(spec.shape, spec.dtype) for name, spec in run.specs.items()}
    found = run.step({**batch, "mask": tf.range(16) < 10})
    assert set(found) >= {"label_top_1_accuracy", "supervised_loss"}
    assert float(run.task.eval_means["supervised_loss"].count) == 10.0


def test_a_teacher_that_is_here_is_the_one_that_is_compiled(tmp_path: pathlib.Path) -> None:
    """Otherwise the memory and the time of the larger teacher would be missing."""
    [stage] = [stage for stage in STAGES if stage.name == "distill"]
    config = stage.config("float32")
    large = dataclasses.replace(config.model, resnet_depth=34, num_classes=3)
    saved = dataclasses.replace(config, model=large)
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(saved), default=str))
    tf.train.Checkpoint(value=tf.Variable(0.0)).write(str(tmp_path / "ckpt-1"))
    for path, depth, is_read in ((str(tmp_path), 34, True), ("/nowhere", config.model.resnet_depth, False)):
        distillation = dataclasses.replace(config.distillation, teacher=path)
        found, read = teacher_model(dataclasses.replace(config, distillation=distillation))
        assert (found.resnet_depth, read, found.num_classes) == (depth, is_read, config.model.num_classes)
