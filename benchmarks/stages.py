"""Stages of the method as runs of a benchmark: from a recipe, each in a process of one thread, resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import time
from concurrent.futures import ProcessPoolExecutor

import keras
import tensorflow as tf
from absl import flags, logging

from flags import config_from_flags
from tf_simclrv2 import ExperimentConfig
from tf_simclrv2.training.loop import Run

RECIPES = pathlib.Path(__file__).resolve().parent.parent / "flags" / "recipes"
RESULT = "result.json"
TOP_1 = "eval/label_top_1_accuracy"


def recipe(name: str, **changes: object) -> ExperimentConfig:
    """The config of a recipe with some flags changed."""
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS:
        flags.FLAGS[flag].unparse()
    arguments = [f"--{flag}={value}" for flag, value in changes.items()]
    flags.FLAGS(["stages.py", f"--flagfile={RECIPES / f'{name}.cfg'}", *arguments])
    return config_from_flags()


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


def use_one_core() -> None:
    """Sets a worker process up: these networks are too small to gain much from a second thread."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    be_quiet()


def be_quiet() -> None:
    """Many small runs trace many functions, which TensorFlow would warn of."""
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")


def a_process_a_core() -> ProcessPoolExecutor:
    """As many processes as there are cores, each with one thread."""
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork.
    return ProcessPoolExecutor(os.cpu_count(), spawn, use_one_core)
