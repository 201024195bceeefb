"""Which part of a step is compiled where, and that it is the same step."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.programs import finished
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS
from tf_simclrv2.distribution import compilation, compilation_cache, devices
from tf_simclrv2.distribution.compilation import compile_mode, compiled, fused_on_gpu
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.progress import Progress
from tf_simclrv2.rehearsal.refusals import graphs_of
from tf_simclrv2.tasks import build_task
from tf_simclrv2.training.trainer import Trainer

CLUSTERED_STEPS = pathlib.Path(__file__).with_name("clustered_steps.py")
MUST_COMPILE = "_XlaMustCompile"


@pytest.mark.parametrize(
    "gpu, replicas, mode", [(False, 1, "none"), (False, 2, "none"), (True, 1, "xla"), (True, 2, "cluster")]
)
def test_auto_chooses_by_device(
    gpu: bool, replicas: int, mode: str, strategy: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "on_gpu", lambda: gpu)
    with strategy(replicas).scope():
        assert compile_mode("auto") == mode
        assert compile_mode("auto", exchanges=False) == ("xla" if gpu else "none")
        for asked in ("none", "cluster"):
            assert compile_mode(asked) == asked


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("asked", ["auto", "none", "xla", "cluster"])
def test_a_tpu_compiles_by_itself(asked: str, cores: int) -> None:
    with CompileOnlyStrategy(cores).scope():
        assert compile_mode(asked) == "none"


def test_several_replicas_are_not_compiled_as_a_whole(strategy: Callable) -> None:
    with strategy(2).scope(), pytest.raises(ConfigError, match=r"compile is 'xla', but 2 replicas.*cluster"):
        compile_mode("xla")
    with strategy(2).scope():
        assert compile_mode("xla", exchanges=False) == "xla"


@pytest.mark.usefixtures("two_blocks")
@pytest.mark.parametrize("mode", ["none", "xla"])
def test_orbit_and_fit_compile_the_step_alike(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU, an uncompiled step still holds functions that are.
    monkeypatch.setattr(compilation, "on_gpu", lambda: False)
    monkeypatch.setattr(devices, "on_cpu", lambda: True)
    config = config_of({"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "compile": mode})
    task = build_task(config)
    task.compile(LARS(0.1))
    assert task.jit_compile == (mode == "xla")
    batch = {**batch_of(config), "key": np.arange(8)}
    batches = tf.data.Dataset.from_tensors(batch).repeat()
    trainer = Trainer(task, batches, tf.distribute.get_strategy())
    loop = trainer.create_train_loop_fn().get_concrete_function(iter(batches), tf.constant(2))
    found = [attributes for graph in graphs_of(loop.graph) for attributes in _attributes_of_called(graph)]
    assert any(MUST_COMPILE in attributes for attributes in found) == (mode == "xla")


@pytest.mark.usefixtures("two_blocks")
def test_a_compiled_evaluation_counts_the_same() -> None:
    flags = {"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "train_mode": "supervised"}
    found = []
    for mode in ("none", "xla"):
        keras.utils.set_random_seed(0)
        config = config_of({**flags, "compile": mode})
        task = build_task(config)
        task.compile(LARS(0.1))
        padded = {**batch_of(config), "mask": np.arange(8) < 5}
        batches = tf.data.Dataset.from_tensors(padded).repeat(2)
        progress = Progress("", 2, lambda line: None)
        evaluator = ClassificationEvaluator(task, batches, tf.distribute.get_strategy(), progress)
        assert (evaluator._compiled_step == evaluator._replica_step) == (mode == "none")
        found.append(evaluator.evaluate(tf.constant(2)))
        counts = evaluator.class_accuracy
        assert counts is not None and counts.images.tolist() == [2] * 5 + [0] * 5
    assert found[1] == pytest.approx(found[0], rel=1e-9) and "eval/label_top_1_accuracy" in found[0]


def test_a_step_in_clusters_is_the_same() -> None:
    """In a process of its own: once on, clustering stays, and on a CPU it needs a flag of TensorFlow's."""
    flags = "--tf_xla_cpu_global_jit"
    environment = {**os.environ, "TF_XLA_FLAGS": flags, "CUDA_VISIBLE_DEVICES": ""}
    done = finished([sys.executable, str(CLUSTERED_STEPS)], patience=600, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    (losses, clusters), (losses_in_clusters, some) = found["none"], found["cluster"]
    assert clusters == 0 < some
    assert len(set(losses)) > 1 and losses_in_clusters == pytest.approx(losses, rel=1e-9)


def _attributes_of_called(graph: tf.Graph) -> list:
    return [function.cached_definition.attr for function in graph._functions.values()]


def test_what_xla_fuses_on_a_gpu_is_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    @fused_on_gpu
    def square(x: tf.Tensor) -> tf.Tensor:
        return x * x

    def attributes() -> list:
        graph = tf.function(lambda x: square(x)).get_concrete_function(tf.TensorSpec([2])).graph
        return _attributes_of_called(graph)

    monkeypatch.setattr(compilation, "on_gpu", lambda: False)
    assert attributes() == []
    monkeypatch.setattr(compilation, "on_gpu", lambda: True)
    assert [MUST_COMPILE in found for found in attributes()] == [True]
    np.testing.assert_array_equal(square(tf.constant([2.0, 3.0])), [4.0, 9.0])


def test_a_shape_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch of a pass may be smaller; further passes compile nothing."""
    monkeypatch.setattr(compilation, "on_gpu", lambda: True)
    traced = []

    @fused_on_gpu
    def double(x: tf.Tensor) -> tf.Tensor:
        traced.append(x.shape[0])
        return x + x

    for rows in (8, 8, 5, 8, 8, 5):
        assert double(tf.ones([rows])).shape == [rows]
    assert traced == [8, 5]


@pytest.mark.usefixtures("two_blocks")
def test_fit_traces_nothing_in_later_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "train_mode": "supervised"}
    config = config_of({**flags, "compile": "xla"})
    task = build_task(config)
    task.compile(LARS(0.1))
    objective, traced = task.objective, []

    def counted(batch: dict[str, tf.Tensor], training: bool = True) -> tuple:
        traced.append(batch["image"].shape[0])
        return objective(batch, training)

    monkeypatch.setattr(task, "objective", counted)
    batches = tf.data.Dataset.from_tensor_slices(batch_of(config)).batch(5)
    task.fit(batches, verbose=0)
    once = list(traced)
    task.fit(batches, epochs=3, verbose=0)
    assert traced == once and once


def test_compiled_is_the_function_itself_without_xla() -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        return x + 1.0

    assert compiled(function, "none") is function and compiled(function, "cluster") is function
    assert float(compiled(function, "xla")(tf.constant(1.0))) == 2.0


def test_compiled_steps_are_kept_for_each_kind_of_gpu(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TF_XLA_FLAGS", "XLA_FLAGS"):
        monkeypatch.setenv(variable, "--mine=1")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert keep_compiled_steps(str(tmp_path)) is None
    assert os.environ["TF_XLA_FLAGS"] == os.environ["XLA_FLAGS"] == "--mine=1"
    details = {"device_name": "NVIDIA H100 80GB", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(compilation_cache.tf.config.experimental, "get_device_details", lambda gpu: details)
    assert keep_compiled_steps("") is None
    folder = keep_compiled_steps(str(tmp_path))
    assert folder is not None and "NVIDIA_H100_80GB_9.0" in folder and tf.__version__ in folder
    words = os.environ["TF_XLA_FLAGS"].split()
    assert words[0] == "--mine=1" and f"--tf_xla_persistent_cache_directory={folder}/programs" in words
    assert os.environ["XLA_FLAGS"].endswith(f"--xla_gpu_per_fusion_autotune_cache_dir={folder}/autotuning")
    assert sorted(os.listdir(folder)) == ["autotuning", "programs"]
    before = dict(os.environ)
    keep_compiled_steps(str(tmp_path / "other"))  # What is set already stays.
    assert dict(os.environ) == before


def test_a_run_goes_on_where_compiled_steps_cannot_be_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", "--mine=1")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(compilation_cache.tf.config.experimental, "get_device_details", lambda gpu: {})
    (tmp_path / "file").write_text("")
    lines: list[str] = []
    assert keep_compiled_steps(str(tmp_path / "file" / "cache"), lines.append) is None
    assert os.environ["TF_XLA_FLAGS"] == "--mine=1"
    (line,) = lines
    assert line.startswith("compiled steps are not kept (") and "--compile_cache" in line


def test_a_directory_of_any_name_is_one_word_to_xla(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XLA reads quotes and backslashes as a shell does; a flag that ended at a space would keep nothing."""
    for variable in ("TF_XLA_FLAGS", "XLA_FLAGS"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(compilation_cache.tf.config.experimental, "get_device_details", lambda gpu: {})
    folder = keep_compiled_steps(str(tmp_path / "my \"'cache'\" \\#"))
    assert f"--tf_xla_persistent_cache_directory={folder}/programs" in shlex.split(os.environ["TF_XLA_FLAGS"])
    assert shlex.split(os.environ["XLA_FLAGS"]) == [
        f"--xla_gpu_per_fusion_autotune_cache_dir={folder}/autotuning"
    ]
