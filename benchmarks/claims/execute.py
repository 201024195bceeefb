"""The runs of a plan: as many at once as there are processes, each after the one that it starts from."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from benchmarks.claims.plan import Stage
from benchmarks.measuring.stages import RESULT, recipe, run_stage
from tf_simclrv2 import ExperimentConfig

Result = dict[str, float]


def execute(
    stages: Sequence[Stage],
    output: pathlib.Path,
    processes: Executor,
    run: Callable[[ExperimentConfig], Result] = run_stage,
    note: Callable[[str, Result], None] = lambda name, result: None,
) -> dict[str, Result]:
    """Runs what has not been run before.

    The checkpoints of a finished run that no other starts from are deleted: all of them together fill a disk.
    A run of which only the result is there is repeated if one that is not finished starts from it.

    Args:
        stages: The plan.
        output: Gets a directory for each run.
        processes: Where they run.
        run: What runs one.
        note: Called with the name and the result of each run that has ended.

    Returns:
        The results by the names of the stages.
    """
    configs = {stage.name: stage_config(stage, output) for stage in stages}  # All checked before any runs.
    started_from = {stage.start for stage in stages}
    repeat_lost_starts(stages, output)
    results: dict[str, Result] = {}
    waiting, running = list(stages), {}
    while waiting or running:
        for stage in [stage for stage in waiting if stage.start is None or stage.start in results]:
            waiting.remove(stage)
            running[processes.submit(run, configs[stage.name])] = stage
        for future in _finished(running):
            stage = running.pop(future)
            results[stage.name] = future.result()
            note(stage.name, results[stage.name])
            if stage.name not in started_from:
                delete_checkpoints(output / stage.name)
    return results


def stage_config(stage: Stage, output: pathlib.Path) -> ExperimentConfig:
    """The run of a stage."""
    start = {} if stage.start is None else {stage.start_flag: output / stage.start}
    return recipe(stage.recipe, model_dir=output / stage.name, **start, **stage.flags)


def repeat_lost_starts(stages: Sequence[Stage], output: pathlib.Path) -> None:
    """Forgets the results of runs whose weights are needed and not there."""
    for stage in reversed(stages):  # A run comes after the one that it starts from.
        weights = stage.start and list((output / stage.start).glob("ckpt-*.index"))
        if stage.start and not weights and not (output / stage.name / RESULT).exists():
            (output / stage.start / RESULT).unlink(missing_ok=True)


def delete_checkpoints(directory: pathlib.Path) -> None:
    """Deletes the weights of a run; its results and events stay."""
    for file in directory.glob("ckpt-*"):
        file.unlink()


def _finished(running: dict[Future[Result], Stage]) -> set[Future[Result]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    return done
