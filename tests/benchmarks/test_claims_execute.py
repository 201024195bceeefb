"""Runs of a plan: in order, not twice, and without the weights that nobody needs."""

import json
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from absl import flags

from benchmarks.claims.execute import execute, stage_config
from benchmarks.claims.plan import Stage
from benchmarks.claims.results import Results, unpack
from benchmarks.claims.scale import GPU, SMALL
from benchmarks.measuring import stages
from benchmarks.measuring.stages import run_stage
from flags import define_flags

PLAN = [
    Stage("first", "all", "digits_pretrain", {}),
    Stage("second", "all", "digits_finetune", {"ft_proj_selector": 1}, start="first"),
    Stage("third", "all", "digits_distill", {}, start="second", start_flag="teacher"),
    Stage("alone", "all", "digits_supervised", {}),
]


@pytest.fixture(scope="module", autouse=True)
def _defined():
    """Flags can be defined once a process."""
    if "train_mode" not in flags.FLAGS:
        define_flags()


class PretendedRun:
    """Leaves what a run leaves, and notes that it ran."""

    executed: ClassVar[list[str]] = []

    def __init__(self, config, say):
        self.config = config

    def execute(self):
        directory = pathlib.Path(self.config.run.model_dir)
        start = self.config.run.checkpoint or self.config.distillation.teacher
        assert start is None or list(pathlib.Path(start).glob("ckpt-*")), "what it starts from must be there"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ckpt-7.index").write_text("")
        (directory / "events").write_text("")
        (directory / "result.json").write_text(json.dumps({"name": directory.name}))
        self.executed.append(directory.name)


@pytest.fixture
def executed(monkeypatch):
    monkeypatch.setattr(stages, "Run", PretendedRun)
    monkeypatch.setattr(PretendedRun, "executed", [])
    return lambda: list(PretendedRun.executed)


def run(output, run_one=run_stage):
    with ThreadPoolExecutor(1) as processes:
        return execute(PLAN, output, processes, run_one)


def test_each_runs_behind_what_it_starts_from(tmp_path, executed):
    results = run(tmp_path)
    assert results == {stage.name: {"name": stage.name} for stage in PLAN}
    order = executed()
    assert sorted(order) == ["alone", "first", "second", "third"]
    assert order.index("first") < order.index("second") < order.index("third")


def test_what_is_finished_is_not_run_again(tmp_path, executed):
    first = run(tmp_path)
    (tmp_path / "third" / "result.json").unlink()
    (tmp_path / "third" / "events").unlink()
    (tmp_path / "third").rmdir()
    before = executed()
    assert run(tmp_path) == first
    assert executed() == [*before, "third"]


def test_only_weights_that_others_start_from_stay(tmp_path, executed):
    run(tmp_path)
    kept = {path.parent.name for path in tmp_path.glob("*/ckpt-*")}
    assert kept == {"first", "second"}
    assert all((tmp_path / stage.name / "events").exists() for stage in PLAN)


def test_an_impossible_stage_is_refused_before_any_runs(tmp_path, executed):
    bad = Stage("bad", "all", "digits_finetune", {"ft_proj_selector": 9}, start="first")
    with ThreadPoolExecutor(1) as processes, pytest.raises(ValueError, match="ft_proj_selector is 9"):
        execute([*PLAN, bad], tmp_path, processes)
    assert executed() == []


def test_a_recipe_forgets_the_flags_of_the_one_before(tmp_path):
    """Flags are global: what one stage sets must not leak into the next."""
    stage_config(Stage("one", "all", "digits_pretrain", {"memory_size": 512}), tmp_path)
    assert stage_config(PLAN[3], tmp_path).objective.memory_size == 0


def test_results_go_on_elsewhere(tmp_path, executed):
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "results.json"
    here.mkdir()
    archive = Results.open(file, SMALL)
    with ThreadPoolExecutor(1) as processes:
        first = execute(PLAN, here, processes, run_stage, archive.add)
    ran = executed()
    unpack(Results.open(file, SMALL), there)
    with ThreadPoolExecutor(1) as processes:
        assert execute(PLAN, there, processes) == first
    assert executed() == ran


def test_a_start_without_weights_is_repeated_if_it_is_needed(tmp_path, executed):
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "results.json"
    here.mkdir()
    archive = Results.open(file, SMALL)
    with ThreadPoolExecutor(1) as processes:
        execute(PLAN, here, processes, run_stage, archive.add)
    del archive.results["third"]
    unpack(archive, there)
    ran = executed()
    with ThreadPoolExecutor(1) as processes:
        execute(PLAN, there, processes)
    assert executed() == [*ran, "first", "second", "third"]


def test_results_of_another_scale_are_refused(tmp_path):
    file = tmp_path / "results.json"
    Results.open(file, SMALL).add("alone", {"top_1": 0.5})
    assert Results.open(file, SMALL).results == {"alone": {"top_1": 0.5}}
    with pytest.raises(SystemExit, match=r"other settings \(train_images, "):
        Results.open(file, GPU)
