"""SIGTERM is noted while training lasts, and only then."""

import os
import signal
import threading

import numpy as np
import pytest

from tests.training.small_runs import Lines, config_for, execute, weights_of
from tf_simclrv2.errors import EXIT_PREEMPTED, Preempted
from tf_simclrv2.training import training_loop
from tf_simclrv2.training.interruptions.preemption import Preemption


def test_the_signal_is_noted_and_the_handler_from_before_comes_back():
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append("before"))
    try:
        with Preemption() as preemption:
            assert not preemption.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert preemption.asked and not received
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["before"]
        with pytest.raises(KeyError), Preemption():
            raise KeyError
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["before", "before"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_leave_the_handler_alone():
    found = []

    def enter() -> None:
        with Preemption() as preemption:
            found.append((signal.getsignal(signal.SIGTERM), preemption.asked))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(signal.getsignal(signal.SIGTERM), False)]


def test_a_run_that_is_stopped_between_checkpoints_saves_on_the_same_steps(tmp_path, monkeypatch):
    """A signal at step 3 of 6 with checkpoints every 2: later ones are where they always were."""

    class StopsAtThree(training_loop.TrainingProgress):
        def __call__(self, output):
            super().__call__(output)
            if int(self._global_step.numpy()) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    options = {"mode": "train", "train_steps": 6, "steps_per_loop": 1, "keep_checkpoint_max": 9}
    execute(config_for(tmp_path / "whole", **options))
    monkeypatch.setattr(training_loop, "TrainingProgress", StopsAtThree)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"stopped by SIGTERM at step 3 of 6; all is saved in .*ckpt-3,"):
        execute(config_for(tmp_path / "stopped", **options))
    assert signal.getsignal(signal.SIGTERM) is before
    assert EXIT_PREEMPTED == 75
    monkeypatch.undo()
    _, lines, _ = execute(config_for(tmp_path / "stopped", **options))
    assert isinstance(lines, Lines) and "resuming from step 3 of 6" in lines
    names = {
        kind: sorted(path.stem for path in (tmp_path / kind).glob("ckpt-*.index"))
        for kind in ("whole", "stopped")
    }
    assert sorted({*names["whole"], "ckpt-3"}) == names["stopped"]
    expected, found = (weights_of(tmp_path / kind, 6) for kind in ("whole", "stopped"))
    for key, value in expected.items():
        # Exact equality is tests/faults's, where kernels are deterministic.
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
