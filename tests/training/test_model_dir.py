"""Which runs may go on in a directory."""

import dataclasses

import pytest
import tensorflow as tf

from tf_simclrv2 import ConfigError, ExperimentConfig, ObjectiveConfig
from tf_simclrv2.training.model_dir import ModelDir


@pytest.mark.parametrize("before, now", [(2048, 4096), (0, 2048), (2048, 0)])
def test_a_memory_of_another_size_is_another_run(tmp_path, before, now):
    old, new = (
        dataclasses.replace(ExperimentConfig(), objective=ObjectiveConfig(memory_size=size))
        for size in (before, now)
    )
    directory = ModelDir(str(tmp_path))
    directory.write_config(old, {})
    directory.refuse_other_run(new)  # Nothing has been trained yet.
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(tmp_path / "ckpt"))
    directory.refuse_other_run(old)
    with pytest.raises(ConfigError, match=rf"--memory_size={before} \(here it is {now}\)"):
        directory.refuse_other_run(new)
