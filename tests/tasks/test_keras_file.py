"""A task in Keras's own files: it continues where it was saved, or says what to save instead."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.batches import BATCH, batch_of, config_of, linear_teacher
from tf_simclrv2 import LARS, ConfigError, Distillation, ExportError, WarmupCosine
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.tasks import build_task

pytestmark = pytest.mark.usefixtures("two_blocks")

STAGES = {
    "pretrain": {},
    "memory": {"memory_size": 2 * BATCH},
    "finetune": {"train_mode": "finetune", "ft_proj_selector": 1},
    "distill": {"train_mode": "distill", "distill_alpha": 0.5},
}


def task_of(stage, precision="float64"):
    flags = {"resnet_depth": 18, "image_size": 8, "train_batch_size": BATCH, **STAGES[stage]}
    return build_task(config_of(flags, precision), linear_teacher)


def compiled(stage):
    task = task_of(stage)
    task.compile(LARS(WarmupCosine(0.5, total_steps=9, warmup_steps=2), weight_decay=0.1))
    return task


def state_of(task):
    optimizer = {f"optimizer/{path}": v for path, v in named_variables(task.optimizer).items()}
    variables = {**named_variables(task.network), **optimizer, **task.checkpoint_state()}
    return {path: np.asarray(variable) for path, variable in variables.items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_loaded_task_continues_as_if_it_had_not_been_saved(stage, tmp_path):
    task = compiled(stage)
    batch = batch_of(task.config)
    batches = tf.data.Dataset.from_tensors(batch).repeat(2)
    task.fit(batches, verbose=0)
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert type(loaded) is type(task) and loaded.config == task.config
    if isinstance(loaded, Distillation):
        with pytest.raises(ConfigError, match=r"without its teacher; call set_teacher"):
            loaded.fit(batches, verbose=0)
        loaded.set_teacher(linear_teacher)
    assert int(loaded.optimizer.iterations) == 2
    for each in (task, loaded):
        each.fit(batches, verbose=0)
    ours, theirs = state_of(loaded), state_of(task)
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        np.testing.assert_allclose(ours[path], value, rtol=1e-12, atol=1e-14, err_msg=path)


def test_a_task_that_is_not_compiled(tmp_path):
    task = task_of("finetune", "mixed_bfloat16")
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    assert loaded.network.dtype_policy == task.network.dtype_policy
    images = batch_of(task.config)["image"]
    expected = task(images)["logits_sup"]
    np.testing.assert_array_equal(loaded(images)["logits_sup"], expected)


@pytest.mark.parametrize("stage", STAGES)
def test_what_cannot_be_written(stage, tmp_path):
    task = task_of(stage)
    for name in ("task.h5", "task.hdf5"):
        with pytest.raises(ExportError, match=r"from an HDF5 file; save it as '.*/task.keras'"):
            task.save(tmp_path / name)
    with pytest.raises(ExportError, match=r"write its network with save_module\(task.network, PATH\)"):
        task.export(tmp_path / "task")
    assert not list(tmp_path.iterdir())


def test_what_is_frozen_in_a_task_stays_frozen(tmp_path):
    task = task_of("finetune")
    task.network.resnet.trainable = False
    task.compile(LARS(0.5, weight_decay=0.1))
    batches = tf.data.Dataset.from_tensors(batch_of(task.config)).repeat(2)
    task.fit(batches, verbose=0)
    task.save(tmp_path / "task.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Of Keras, about an optimizer that begins anew.
        loaded = keras.models.load_model(tmp_path / "task.keras")
    paths = [[v.path for v in each.network.trainable_variables] for each in (loaded, task)]
    assert paths[0] == paths[1] and not any("resnet" in path for path in paths[0])
    assert int(loaded.global_step) == 2
    for each in (task, loaded):
        each.fit(batches, verbose=0)
    ours, theirs = state_of(loaded), state_of(task)
    for path, value in theirs.items():
        np.testing.assert_allclose(ours[path], value, rtol=1e-12, atol=1e-14, err_msg=path)


def test_a_momentum_encoder_stays_frozen(tmp_path):
    """Whatever this program has made before: Keras numbers layers that have no name."""
    task, _ = task_of("memory"), task_of("memory")
    task.momentum_encoder.network.resnet.stem.trainable = False
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    encoder = loaded.momentum_encoder.network.resnet
    assert not encoder.stem.trainable and encoder.block_groups[3].trainable


def test_a_lars_without_exclusions_has_none_when_it_is_loaded(tmp_path):
    task = task_of("finetune")
    optimizer = LARS(0.1, weight_decay=1e-2)
    optimizer.build(task.network.trainable_variables)
    task.compile(optimizer)
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    for name in ("not_decayed", "not_adapted"):
        config = loaded.optimizer.get_config()[name]
        assert config["positions"] == [] and config["count"] == len(task.network.trainable_variables)


@pytest.mark.parametrize("then, now", [("none", "xla"), ("xla", "none")])
def test_a_file_is_compiled_for_the_devices_where_it_is_loaded(then, now, tmp_path, monkeypatch):
    task = task_of("finetune")
    monkeypatch.setattr("tf_simclrv2.tasks.task.start_compiling", lambda asked: then)
    chosen = {"follows.keras": {}, "asked.keras": {"jit_compile": then == "xla"}}
    for name, options in chosen.items():
        task.compile(LARS(0.1), **options)
        task.save(tmp_path / name)
    monkeypatch.setattr("tf_simclrv2.tasks.task.start_compiling", lambda asked: now)
    loaded = [keras.models.load_model(tmp_path / name) for name in chosen]
    assert [each.jit_compile for each in loaded] == [now == "xla", then == "xla"]
