"""SIGTERM and Ctrl-C are noted while training lasts, and only then."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from tests.training.small_runs import Lines, config_for, execute, weights_of
from tf_simclrv2.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED, Preempted
from tf_simclrv2.interruption import CtrlC
from tf_simclrv2.training import training_loop
from tf_simclrv2.training.interruptions import preemption as preemption_module
from tf_simclrv2.training.interruptions.preemption import Preemption
from tf_simclrv2.training.trainer import Trainer

both = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@both
def test_the_signal_is_noted_and_the_handler_from_before_comes_back(number):
    received = []
    before = signal.signal(number, lambda *_: received.append("before"))
    try:
        with Preemption() as preemption:
            assert not preemption.signal
            os.kill(os.getpid(), number)
            assert preemption.signal == number and not received
        os.kill(os.getpid(), number)
        assert received == ["before"]
        with pytest.raises(KeyError), Preemption():
            raise KeyError
        os.kill(os.getpid(), number)
        assert received == ["before", "before"]
    finally:
        signal.signal(number, before)


@both
def test_it_is_heard_while_the_main_thread_is_outside_of_python(number):
    """As in a step of training: here, in a call that no signal ends."""
    heard = threading.Event()
    with Preemption(when_noted=heard.set):
        threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
        assert heard.wait(20)


def test_ctrl_c_with_nothing_to_save_is_not_noted():
    with Preemption(is_worth_saving=lambda: False) as preemption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert not preemption.signal
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.signal == signal.SIGTERM


def test_a_second_ctrl_c_interrupts_where_no_program_of_ours_runs():
    with Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGINT)
        assert preemption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    # The thread that hears of signals may be late, and must not take the next test's program for this one's.
    for thread in threading.enumerate():
        if thread.name == "signals":
            thread.join(20)


def test_a_second_ctrl_c_ends_a_program_of_ours_at_once(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(CtrlC, "end", lambda self: ended.set())
    monkeypatch.setattr(CtrlC, "current", CtrlC())
    with pytest.raises(KeyboardInterrupt), Preemption():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        assert not ended.is_set()
        os.kill(os.getpid(), signal.SIGINT)
    assert ended.wait(20)


def test_ctrl_c_is_acknowledged_only_if_training_is_still_there(monkeypatch):
    lines = Lines()
    monkeypatch.setattr(preemption_module, "PATIENCE", 5.0)
    before = {*threading.enumerate()}
    with Preemption(say=lines):
        os.kill(os.getpid(), signal.SIGINT)
    for thread in {*threading.enumerate()} - before:
        thread.join(20)
    assert lines == []
    monkeypatch.setattr(preemption_module, "PATIENCE", 0.2)
    with Preemption(say=lines):
        os.kill(os.getpid(), signal.SIGINT)
        while not lines:
            time.sleep(0.01)
    assert lines == ["Ctrl-C: finishing the step, then saving; press it again to end at once"]


def test_other_threads_leave_the_handler_alone():
    found = []

    def enter() -> None:
        with Preemption() as preemption:
            found.append((signal.getsignal(signal.SIGTERM), preemption.signal))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(signal.getsignal(signal.SIGTERM), 0)]


def test_a_run_that_is_stopped_between_checkpoints_saves_on_the_same_steps(tmp_path, monkeypatch):
    """A signal at step 3 of 6 with checkpoints every 2: later ones are where they always were."""

    class StopsAtThree(training_loop.TrainingProgress):
        def __call__(self, output):
            super().__call__(output)
            if self._step() == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    options = {"mode": "train", "train_steps": 6, "steps_per_loop": 1, "keep_checkpoint_max": 9}
    execute(config_for(tmp_path / "whole", **options))
    monkeypatch.setattr(training_loop, "TrainingProgress", StopsAtThree)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        Preempted, match=r"stopped by SIGTERM at step 3 of 6; everything is saved in .*ckpt-3;"
    ) as stop:
        execute(config_for(tmp_path / "stopped", **options))
    assert stop.value.exit_code == EXIT_PREEMPTED
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


def test_ctrl_c_while_the_step_is_traced_ends_the_run(tmp_path, monkeypatch):
    """Nothing is lost, and a compilation may take minutes."""

    def interrupt(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        raise AssertionError("the signal comes here")

    monkeypatch.setattr(Trainer, "replica_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(config_for(tmp_path, mode="train"))
    assert not list(tmp_path.glob("ckpt-*"))


def test_ctrl_c_ends_a_loop_of_steps_after_the_step_that_it_is_at(tmp_path, monkeypatch):
    """Of 1,000 steps that the graph would make without coming back to Python."""

    def interrupt_in_the_loop(trainer):
        begin = trainer.train_loop_begin

        def begin_and_watch():
            begin()
            threading.Thread(target=interrupt, daemon=True).start()

        def interrupt():
            while trainer.task.global_step.numpy() < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        trainer.train_loop_begin = begin_and_watch

    original = training_loop.TrainingLoop.__init__

    def init(self, *args):
        original(self, *args)
        interrupt_in_the_loop(self._trainer)

    monkeypatch.setattr(training_loop.TrainingLoop, "__init__", init)
    options = {"mode": "train", "train_steps": 1000, "steps_per_loop": 1000, "checkpoint_steps": 1000}
    line = r"stopped by Ctrl-C at step (\d+) of 1,000; everything is saved in"
    with pytest.raises(Preempted, match=line) as stop:
        execute(config_for(tmp_path, **options))
    assert stop.value.exit_code == EXIT_INTERRUPTED == 130
    (index,) = tmp_path.glob("ckpt-*.index")
    step = int(index.stem.split("-")[1])
    assert 2 <= step < 1000 and f"ckpt-{step};" in str(stop.value)
