"""The best checkpoint, and when a run stops early, by scripted accuracies."""

import json
import pathlib
import random
import types

import pytest
import tensorflow as tf

from tf_simclrv2 import DataConfig, EvaluationConfig, ExperimentConfig, RunConfig, TrainingConfig
from tf_simclrv2.training.model_dir import best_checkpoint
from tf_simclrv2.training.model_dir.best_checkpoint import Best, BestCheckpoint
from tf_simclrv2.training.model_dir.measurements import Measurements
from tf_simclrv2.training.model_dir.metrics_log import MetricsLog
from tf_simclrv2.training.validation import Validation

SPLIT = "train[90%:]"


class Killed(BaseException):
    """What ends a program at any moment."""


class ScriptedRun:
    """A run that trains nothing: each checkpoint holds its step, and has the accuracy that a script gives it.

    Args:
        directory: Its model_dir, perhaps of a run that was killed.
        script: Accuracy by step; every `interval` steps one is measured.
        patience: As in a run.
        interval: Steps between checkpoints.
    """

    def __init__(self, directory: pathlib.Path, script: list[float], patience=0, interval=2, metric="knn"):
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text("{}")
        self.directory, self.script, self.interval = directory, script, interval
        self.step = tf.Variable(0, dtype=tf.int64)
        self.steps = len(script) - 1
        self.checkpoint = tf.train.Checkpoint(step=self.step)
        config = ExperimentConfig(
            data=DataConfig(dataset="digits", validation_split=SPLIT),
            evaluation=EvaluationConfig(),
            training=TrainingConfig(patience=patience),
            run=RunConfig(keep_best=metric, model_dir=str(directory)),
        )
        source = types.SimpleNamespace(num_examples=100, sample=lambda most: None)
        plan = types.SimpleNamespace(
            config=config,
            validation_source=source,
            train_source=source,
            fitted_source=source,
            checkpoint_interval=interval,
            steps=self.steps,
            epoch=lambda step: step / 10,
        )
        prepared = Prepared(self, plan, config)
        exchange = types.SimpleNamespace(any=lambda mine: mine)
        self.newest = None
        self.said = []
        log = MetricsLog(str(directory), plan.epoch)
        self.validation = Validation(prepared, self, log, exchange, self.said.append)
        self.validation._measure = self.measured
        self.kill_at = None

    def measured(self) -> float:
        self.meet("measuring")
        return self.script[int(self.step)]

    def save(self, check_interval: bool) -> None:
        self.newest = self.checkpoint.write(str(self.directory / f"ckpt-{int(self.step)}"))

    def meet(self, moment: str) -> None:
        if self.kill_at == (moment, int(self.step)):
            raise Killed

    def resume(self) -> None:
        """Goes on from the newest checkpoint."""
        step = max((int(path.stem[5:]) for path in self.directory.glob("ckpt-*.index")), default=0)
        if step:
            self.newest = str(self.directory / f"ckpt-{step}")
            self.checkpoint.read(self.newest).assert_consumed()
        self.validation.resume(step)

    def train(self) -> int:
        """Trains to the end, and keeps two checkpoints; returns the step."""
        while int(self.step) < self.steps and not self.validation.is_over:
            self.step.assign_add(1)
            self.validation.measure_if_due()
            for path in self.directory.glob("ckpt-*"):
                if int(path.stem[5:].split(".")[0]) <= int(self.step) - 2 * self.interval:
                    path.unlink()
        return int(self.step)


class Prepared:
    """What `Validation` asks a prepared run for."""

    chief = True

    def __init__(self, run: ScriptedRun, plan, config):
        self._run, self.plan, self.config = run, plan, config

    @property
    def step(self) -> int:
        return int(self._run.step)


def expected(script: list[float], interval: int, patience: int) -> tuple[int, int]:
    """The best step and the last one, by going through the script anew after each measurement."""
    steps = [step for step in range(1, len(script)) if step % interval == 0 or step == len(script) - 1]
    for last in range(len(steps)):
        seen = [script[step] for step in steps[: last + 1]]
        best = seen.index(max(seen))
        if patience and last - best >= patience:
            break
    return steps[best], steps[last]


def check(directory: pathlib.Path, script: list[float], step: int) -> None:
    """That the folder holds the checkpoint of one step, and no other."""
    folder = directory / "best"
    assert json.loads((folder / "best.json").read_text()) == {
        "step": step,
        "metric": "knn",
        "value": script[step],
        "split": SPLIT,
        "images": 100,
    }
    names = {path.name for path in folder.iterdir()}
    of_checkpoint = {f"ckpt-{step}.index", f"ckpt-{step}.data-00000-of-00001"}
    assert names == {"best.json", "checkpoint", "config.json", *of_checkpoint}
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / f"ckpt-{step}")
    assert tf.train.load_variable(str(folder / f"ckpt-{step}"), "step/.ATTRIBUTES/VARIABLE_VALUE") == step


def script_of(rng: random.Random) -> list[float]:
    """Accuracies of a few values, so that some are equal: the first of these is the best."""
    return [rng.choice([0.1, 0.2, 0.3, 0.4, 0.5]) for _ in range(rng.randint(9, 24))]


@pytest.mark.parametrize("seed", range(6))
def test_the_best_of_all_is_kept_and_patience_ends_the_run(tmp_path, seed):
    rng = random.Random(seed)
    script, interval, patience = script_of(rng), rng.randint(1, 3), rng.choice([0, 1, 2, 3])
    run = ScriptedRun(tmp_path / "run", script, patience, interval)
    run.resume()
    best, last = expected(script, interval, patience)
    assert run.train() == last
    check(tmp_path / "run", script, best)
    stopped = Measurements.read(str(tmp_path / "run")).stopped_early
    assert stopped == ({"step": last, "patience": patience} if last < run.steps else None)


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_run_ends_with_the_same_best(tmp_path, monkeypatch, seed):
    """Killed while it measures, while it copies the best, or before it has written that it measured."""
    rng = random.Random(seed)
    script, patience = script_of(rng), rng.choice([0, 3])
    best, last = expected(script, 2, patience)
    moments = [("measuring", 4), ("copying", 2), ("named", 2), ("measured", 4), ("measured", 6)]
    run, kills = None, 0

    def meeting(moment, method, after):
        def wrapped(*args):
            if not after:
                run.meet(moment)
            method(*args)
            if after:
                run.meet(moment)

        return wrapped

    copy = meeting("copying", best_checkpoint.copy_atomically, True)
    monkeypatch.setattr(best_checkpoint, "copy_atomically", copy)
    monkeypatch.setattr(BestCheckpoint, "tidy", meeting("named", BestCheckpoint.tidy, False))
    monkeypatch.setattr(Measurements, "write", meeting("measured", Measurements.write, False))
    for kill_at in rng.sample(moments, 3):
        run = ScriptedRun(tmp_path / "run", script, patience)
        run.kill_at = kill_at
        try:
            run.resume()
            run.train()
        except Killed:
            kills += 1
    assert kills
    run = ScriptedRun(tmp_path / "run", script, patience)
    run.resume()
    assert run.train() == last
    check(tmp_path / "run", script, best)
    made = Measurements.read(str(tmp_path / "run")).made
    assert [measurement.step for measurement in made] == [
        step for step in range(1, last + 1) if step % 2 == 0 or step == run.steps
    ]
    assert [measurement.value for measurement in made] == [script[measurement.step] for measurement in made]


def test_a_stopped_run_stays_stopped_until_it_gets_more_patience(tmp_path):
    script = [0.0, 0.3, 0.5, 0.4, 0.4, 0.4, 0.6, 0.1]
    for patience, last, best in ((2, 4, 2), (2, 4, 2), (3, 5, 2), (4, 7, 6)):
        run = ScriptedRun(tmp_path / "run", script, patience, interval=1)
        run.resume()
        assert run.train() == last
        check(tmp_path / "run", script, best)
        assert ("stopped early" in run.validation.conclusion) == (last < 7)


def test_a_patience_that_has_run_out_when_a_run_resumes_is_recorded(tmp_path):
    script = [0.0, 0.3, 0.5, 0.4, 0.4, 0.4]
    first = ScriptedRun(tmp_path / "run", script[:5], interval=1)
    first.resume()
    first.train()
    run = ScriptedRun(tmp_path / "run", script, patience=2, interval=1)
    run.resume()
    assert run.validation.is_over
    assert Measurements.read(str(tmp_path / "run")).stopped_early == {"step": 4, "patience": 2}


def test_another_measure_starts_anew(tmp_path):
    script = [0.0, 0.9, 0.5, 0.4, 0.45, 0.3]
    first = ScriptedRun(tmp_path / "run", script[:4], interval=1)
    first.resume()
    first.train()
    other = ScriptedRun(tmp_path / "run", script, interval=1, metric="linear")
    other.resume()
    other.train()
    assert f"{tmp_path}/run/best was chosen by knn on {SPLIT}; it will be replaced" in other.said
    best = BestCheckpoint(str(tmp_path / "run")).read()
    assert best == Best(4, "linear", 0.45, SPLIT, 100)
    assert [made.step for made in Measurements.read(str(tmp_path / "run")).made] == [3, 4, 5]


def test_a_damaged_best_is_said_and_replaced(tmp_path):
    script = [0.0, 0.9, 0.5, 0.6]
    run = ScriptedRun(tmp_path / "run", script[:3], interval=1)
    run.resume()
    run.train()
    (tmp_path / "run" / "best" / "ckpt-1.data-00000-of-00001").write_bytes(b"torn")
    run = ScriptedRun(tmp_path / "run", script, interval=1)
    run.resume()
    assert any("best cannot be used" in line for line in run.said)
    run.train()
    check(tmp_path / "run", script, 3)
