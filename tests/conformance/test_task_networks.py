"""Every task's network, in the files that others read."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES, Stage
from tf_simclrv2 import save_module

every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)


def _assert_same_outputs(stage: Stage, loaded: Callable, network: Callable) -> None:
    batch = stage.batch("float32")
    images = batch["view_1"] if "view_1" in batch else batch["image"]
    ours, theirs = (model(images, training=False) for model in (loaded, network))
    assert set(ours) == set(theirs)
    for name, want in theirs.items():
        bound = 1e-6 * np.abs(want).max()
        np.testing.assert_allclose(ours[name], want, rtol=0, atol=bound, err_msg=name)


@every_stage
def test_saved_model_restores_it(stage: Stage, tmp_path: pathlib.Path) -> None:
    network = stage.task("float32").network
    save_module(network, str(tmp_path / "module"), stage.config("float32"))
    _assert_same_outputs(stage, tf.saved_model.load(str(tmp_path / "module")), network)


@every_stage
def test_keras_file_restores_it(stage: Stage, tmp_path: pathlib.Path) -> None:
    network = stage.task("float32").network
    network.save(tmp_path / "network.keras")
    _assert_same_outputs(stage, keras.models.load_model(tmp_path / "network.keras"), network)
