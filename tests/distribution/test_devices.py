import pytest
import tensorflow as tf

from tf_simclrv2.distribution import devices


def test_the_tpu_of_another_host_is_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reached by its address, and is none of this host's devices."""
    assert devices.on_cpu()
    remote = object.__new__(tf.distribute.TPUStrategy)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: remote)
    assert not devices.on_cpu()
