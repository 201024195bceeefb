"""What the command takes over from a checkpoint, and from one that it cannot read."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_simclrv2.cli.rehearse import _adopted
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.training.model_dir import adoption


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError("checkpoint is 'gs://bucket/run', which does not exist."),
        tf.errors.PermissionDeniedError(None, None, "no credentials for gs://bucket/run"),
        tf.errors.UnimplementedError(None, None, "File system scheme 'gs://bucket/run' not implemented"),
    ],
)
def test_a_bucket_that_is_out_of_reach_leaves_the_flags(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def adopt(*_: object) -> ExperimentConfig:
        raise error

    monkeypatch.setattr("tf_simclrv2.cli.rehearse.explicit_fields", dict)
    monkeypatch.setattr(adoption, "adopt", adopt)
    asked = ExperimentConfig()
    assert _adopted(asked) is asked
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("the flags alone describe the network: ") and "gs://bucket/run" in line
