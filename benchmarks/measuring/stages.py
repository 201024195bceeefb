"""Stages of the method as runs of a benchmark: from a recipe, each in a process of one thread, resumable."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import time
from concurrent.futures import ProcessPoolExecutor

import keras
import numpy as np
import tensorflow as tf
from absl import flags, logging

from flags import config_from_flags, define_flags
from tf_simclrv2 import ExperimentConfig
from tf_simclrv2.cli.recipes import with_flagfiles_read
from tf_simclrv2.data import load_source
from tf_simclrv2.evaluation import FeatureExtractor, split_features
from tf_simclrv2.training.run import Run

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "flags" / "recipes"
RESULT = "result.json"
STARTED, WATCHED = "started.json", "watched.json"
TOP_1 = "eval/label_top_1_accuracy"
AT_START = "start/label_top_1_accuracy"
VALIDATION = "validation/label_top_1_accuracy"


def recipe(name: str, **changes: object) -> ExperimentConfig:
    """The config of a recipe with some flags changed."""
    if "train_mode" not in flags.FLAGS:  # In a process that was started for runs.
        define_flags()
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS:
        flags.FLAGS[flag].unparse()
    arguments = [f"--{flag}={value}" for flag, value in changes.items()]
    flags.FLAGS(["stages.py", f"--flagfile={RECIPES / f'{name}.cfg'}", *arguments])
    return config_from_flags()


def recipe_flags(name: str) -> tuple[str, ...]:
    """The flags that a recipe sets, without its remarks."""
    return tuple(with_flagfiles_read([f"--flagfile={RECIPES / name}.cfg"]))


def run_stage(config: ExperimentConfig) -> dict[str, float]:
    """Runs a stage in this process, or takes its result if it is already there."""
    directory = pathlib.Path(config.run.model_dir)
    finished = directory / RESULT
    if not finished.exists():
        start = time.perf_counter()
        keras.backend.clear_session()
        Run(config, say=lambda line: None).execute()
        print(f"{directory.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return json.loads(finished.read_text())


def run_watched_stage(config: ExperimentConfig, validation_split: str) -> dict[str, float]:
    """Runs a stage with a classifier, and measures it before its first step and on a validation split too.

    Args:
        config: The stage.
        validation_split: Of its dataset; what settings are chosen on.

    Returns:
        Its result with `AT_START`, of the evaluation split, and `VALIDATION` added.
    """
    directory = pathlib.Path(config.run.model_dir)
    watched = directory / WATCHED
    if not watched.exists():
        directory.mkdir(parents=True, exist_ok=True)
        keras.backend.clear_session()
        run = Run(config, say=lambda line: None)
        started = directory / STARTED
        if not started.exists():  # Otherwise it was stopped, and continues; its network is not restored yet.
            started.write_text(json.dumps({AT_START: top_1(run, config.data.eval_split)}))
        found = json.loads(started.read_text())
        run.execute()
        found[VALIDATION] = top_1(run, validation_split)
        result = json.loads((directory / RESULT).read_text())
        watched.write_text(json.dumps({**result, **found}, indent=2) + "\n")
        print(f"{directory.name}: {found} test {result[TOP_1]:.4f}", flush=True)
    return json.loads(watched.read_text())


def top_1(run: Run, split: str) -> float:
    """The accuracy of a run's network, as it stands, on a split of its dataset."""
    config = run.config
    extract = FeatureExtractor(run.task.network, ["logits_sup"])
    features, labels = split_features(extract, load_source(config.data, split), config)
    return float(np.mean(np.argmax(features["logits_sup"], axis=1) == labels))


def use_threads(count: int) -> None:
    """Sets a worker process up."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    be_quiet()


def be_quiet() -> None:
    """Many small runs trace many functions, which TensorFlow would warn of."""
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what `stage_processes` takes to a program's options."""
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="runs at once; default: cores")
    parser.add_argument("--threads", type=int, default=1, help="of each; more pay where a GPU computes")


def stage_processes(arguments: argparse.Namespace, tasks: int | None = None) -> ProcessPoolExecutor:
    """Processes for stages. By default one a core, each with one thread: on a CPU a second gains little.

    Args:
        arguments: With what `add_process_flags` adds.
        tasks: After how many a process is replaced, since each run leaves some 200 MB behind; never by
            default.
    """
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork.
    threads = (arguments.threads,)
    return ProcessPoolExecutor(arguments.processes, spawn, use_threads, threads, max_tasks_per_child=tasks)
