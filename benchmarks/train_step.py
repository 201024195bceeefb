"""Throughput of the whole pretraining step, in images per second.

    python benchmarks/train_step.py [--device=auto|cpu|gpu] [--point=r18_32px_b64] [--batch=64]
        [--precision=float32] [--compile=auto] [--replicas=1] [--rounds=2] [--steps=5] [--json=FILE]
    python benchmarks/train_step.py --peer=lightly --peer=torch --peer=compile [--torch_python=PATH]
    python benchmarks/train_step.py --published=FOLDER [--published_python=PATH]

Measures on the GPUs if there are any, else on the CPU: there ResNet-18 at 32 px with batch 64 and ResNet-50
at 224 px with batch 8; on GPUs the same with batch 512 and 128, each time a mean of four steps. A step is
forward, backward, LARS, the linear classifier and the metrics, on random views that are already in memory.
An image counts once, though it is seen in two views. With `--replicas` the batch is divided among so many
GPUs, or logical CPUs; ours takes all GPUs by default, the others one. The step of PyTorch (`compile` is
under torch.compile) or lightly beside it has plain SGD and neither metrics nor blur, so ours does more. The
published program is a checkout of google-research/simclr, FOLDER its tf2/; its step does what ours does and
is always in float32. Each turn is a process of its own, and turns alternate. Prints a table; --json keeps
the numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.contenders.published import published_command
from benchmarks.measuring.comparison import printed_in_turns, steps_of
from benchmarks.measuring.machine import machine
from benchmarks.measuring.plain_settings import from_plain
from tf_simclrv2 import (
    LARS,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    Pretraining,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.distribution.compilation import compiled
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.strategy import make_strategy
from tf_simclrv2.setting import settings_of

POINTS = {
    "r18_32px_b64": (ModelConfig(resnet_depth=18, image_size=32), 64),
    "r50_224px_b8": (ModelConfig(resnet_depth=50, image_size=224), 8),
    "r50_sk_224px_b8": (ModelConfig(resnet_depth=50, image_size=224, sk_ratio=0.0625), 8),
    "r18_32px_b512": (ModelConfig(resnet_depth=18, image_size=32), 512),
    "r50_224px_b128": (ModelConfig(resnet_depth=50, image_size=224), 128),
    "r152_3x_sk_224px_b8": (
        ModelConfig(resnet_depth=152, width_multiplier=3, sk_ratio=0.0625, image_size=224),
        8,
    ),
}
CPU_POINTS = ["r18_32px_b64", "r50_224px_b8"]
GPU_POINTS = ["r50_224px_b128", "r18_32px_b512"]
# Steps of a time on a GPU, which would else wait for the host between them.
GPU_CALLS = 4
WARM_UP_STEPS = 2
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DEVICES = ("auto", "cpu", "gpu")


@dataclasses.dataclass(frozen=True)
class MeasuredStep:
    """A step of ours that a process of its own measures.

    Attributes:
        model: The network.
        batch_size: Global batch.
        precision, compile, rematerialize: As in `TrainingConfig`.
        blur: Whether views are blurred where the paper does it.
        replicas: GPUs or, without any, logical CPUs that share the batch; 0 takes the devices as they are.
        calls: Steps that each time is the mean of.
    """

    model: ModelConfig
    batch_size: int
    precision: str = "float32"
    compile: str = "auto"
    rematerialize: bool = False
    blur: bool = True
    replicas: int = 0
    calls: int = 1

    def config(self, objective: ObjectiveConfig | None = None) -> ExperimentConfig:
        """The run that has such steps."""
        training = TrainingConfig(
            precision=self.precision,
            train_batch_size=self.batch_size,
            compile=self.compile,
            rematerialize=self.rematerialize,
        )
        config = pretraining_config(self.model, training, objective)
        blur = self.blur and config.data.use_blur
        return dataclasses.replace(config, data=dataclasses.replace(config.data, use_blur=blur))

    def command(self, steps: int) -> list[str]:
        """What measures it."""
        return [sys.executable, __file__, f"--steps={steps}", f"--here={self.to_json()}"]

    def to_json(self) -> str:
        """One line, for the command line of the process that measures it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> MeasuredStep:
        """The inverse of `to_json`."""
        plain = json.loads(text)
        return from_plain(cls, {**plain, "model": from_plain(ModelConfig, plain["model"])})


def pretraining_config(
    model: ModelConfig, training: TrainingConfig, objective: ObjectiveConfig | None = None
) -> ExperimentConfig:
    """A run as the benchmarks measure it: with blur where the paper has it."""
    data, objective = DataConfig(use_blur=model.image_size > 32), objective or ObjectiveConfig()
    return ExperimentConfig(model=model, data=data, training=training, objective=objective)


def random_views(config: ExperimentConfig) -> dict[str, tf.Tensor]:
    """A global batch in memory."""
    batch_size, size = config.training.train_batch_size, config.model.image_size
    shape = [batch_size, size, size, 3]
    return {
        "view_1": tf.random.uniform(shape),
        "view_2": tf.random.uniform(shape),
        "label": tf.zeros([batch_size], tf.int64),
        "key": tf.range(batch_size, dtype=tf.int64),
    }


def pretraining_task(config: ExperimentConfig) -> Pretraining:
    """What is trained, with its optimizer."""
    task = Pretraining(config)
    task.compile(LARS(0.1, weight_decay=1e-4))
    return task


def pretraining_step(config: ExperimentConfig) -> Callable[[], float]:
    """The whole step on random views in memory, as something to call; it returns the seconds that it took."""
    return timed_step(pretraining_task(config))


def timed_step(task: Pretraining) -> Callable[[], float]:
    """As `pretraining_step`, of a task that is there already."""
    return timed(loss_of_step(task))


def loss_of_step(task: Pretraining) -> Callable[[], tf.Tensor]:
    """The step of a task as something to call, on all replicas of the strategy that it was made in.

    It is compiled as the task's config says.
    """
    strategy = task.distribute_strategy
    batch = in_shares(random_views(task.config), strategy)
    replica_step = compiled(task.train_step, task.compile_mode)

    @tf.function(autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        losses = strategy.run(replica_step, args=(batch,))["total_loss"]
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    return lambda: step(batch)


def in_shares(batch: dict[str, tf.Tensor], strategy: tf.distribute.Strategy) -> Any:
    """A global batch as an argument of `strategy.run`: on the device of each replica its rows."""
    replicas = strategy.num_replicas_in_sync

    def share(context: tf.distribute.ValueContext) -> dict[str, tf.Tensor]:
        i = context.replica_id_in_sync_group
        # A strategy of one device has put the batch there; the default strategy has no devices.
        with tf.device(strategy.extended.worker_devices[i] if replicas > 1 else None):
            return {name: tf.identity(tf.split(rows, replicas)[i]) for name, rows in batch.items()}

    return strategy.experimental_distribute_values_from_function(share)


def timed(run: Callable[[], tf.Tensor], calls: int = 1) -> Callable[[], float]:
    """The seconds of a call, the mean of some, until the last one's number is there."""

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        result.numpy()  # Waits until all is done.
        return (time.perf_counter() - start) / calls

    return seconds


def choose_device(device: str, replicas: int = 0) -> bool:
    """Has this process and those that it starts see what is measured; call it before TensorFlow starts.

    Args:
        device: `cpu`, `gpu`, or `auto` for GPUs if there are any.
        replicas: GPUs that are needed, if GPUs are measured.

    Returns:
        Whether GPUs are measured.

    Raises:
        SystemExit: There are not so many GPUs.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus < max(replicas, 1) and (gpus or device == "gpu"):
        raise SystemExit(f"{max(replicas, 1)} GPUs are to be measured, but TensorFlow sees {gpus}.")
    return gpus > 0


def strategy_of(replicas: int) -> tf.distribute.Strategy:
    """The strategy of a run on so many GPUs or, without any, logical CPUs; 0 takes all as they are."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and replicas:
        tf.config.set_visible_devices(gpus[:replicas], "GPU")
    elif replicas > 1:
        split_cpu(replicas)
    return make_strategy(RunConfig())


def step_times(measured: MeasuredStep, steps: int) -> dict[str, Any]:
    """Seconds of the first step, tracing included, and of each step after the warm-up, in this process."""
    strategy = strategy_of(measured.replicas)
    with strategy.scope():
        run = loss_of_step(pretraining_task(measured.config()))
    step = timed(run, measured.calls)
    found: dict[str, Any] = {"replicas": strategy.num_replicas_in_sync, "first_step_s": timed(run)()}
    for _ in range(WARM_UP_STEPS):
        step()
    found["step_s"] = [step() for _ in range(steps)]
    if tf.config.list_physical_devices("GPU"):
        found["device_peak_mb"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return found


def torch_command(
    python: str, peer: str, model: ModelConfig, batch_size: int, precision: str, steps: int, calls: int = 1
) -> list[str]:
    """What measures steps of PyTorch or lightly."""
    values = (peer, model.resnet_depth, model.image_size, batch_size, precision, steps, calls)
    return [
        python,
        str(pathlib.Path(__file__).parent / "contenders" / "torch_train_step.py"),
        *map(str, values),
    ]


def contenders(point: str, arguments: argparse.Namespace, on_gpu: bool = False) -> dict[str, list[str]]:
    """The command of each contender at a point, ours first."""
    model, batch_size = POINTS[point]
    batch_size = arguments.batch or batch_size
    precision, steps, calls = arguments.precision, arguments.steps, GPU_CALLS if on_gpu else 1
    ours = MeasuredStep(
        model,
        batch_size,
        precision,
        arguments.compile,
        arguments.rematerialize,
        replicas=arguments.replicas,
        calls=calls,
    )
    commands = {"ours": ours.command(steps)}
    for peer in [] if model.sk_ratio else sorted(set(arguments.peer) - {"none"}, reverse=True):
        commands[peer] = torch_command(
            arguments.torch_python, peer, model, batch_size, precision, steps, calls
        )
    if arguments.published:
        commands["published"] = published_command(
            arguments.published_python, arguments.published, "train", model, batch_size, steps, calls
        )
    return commands


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, Any]:
    """Seconds of each contender's steps, turn by turn, those of first ones, and peaks on a GPU."""
    turns = printed_in_turns(commands, rounds)
    return {
        "first_step_s": {name: [turn["first_step_s"] for turn in found] for name, found in turns.items()},
        "device_peak_mb": {name: found[0].get("device_peak_mb") for name, found in turns.items()},
        **steps_of(turns),
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto: GPUs if there are any")
    parser.add_argument(
        "--point", choices=sorted(POINTS), action="append", help="default: the two main points of the device"
    )
    parser.add_argument("--batch", type=int, default=0, help="images of a step; default: those of the point")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn, after the warm-up")
    peers = ["lightly", "torch", "compile", "none"]
    parser.add_argument("--peer", default=[], choices=peers, action="append", help="may be repeated")
    modes = settings_of(TrainingConfig)["compile"].choices
    parser.add_argument("--compile", default="auto", choices=modes, help="of ours")
    parser.add_argument("--rematerialize", action="store_true", help="ours computes its blocks twice")
    parser.add_argument("--replicas", type=int, default=0, help="GPUs, or logical CPUs; default: all GPUs")
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has the peer")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", type=MeasuredStep.from_json, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measures the points that are asked for and prints them."""
    arguments = parser().parse_args()
    if arguments.here:
        print(json.dumps(step_times(arguments.here, arguments.steps)))
        return
    on_gpu = choose_device(arguments.device, arguments.replicas)
    print(f"{machine()}, {arguments.precision}")
    columns = f"{'median step s':>15}{'fastest':>9}{'slowest':>9}{'images/s':>10}{'this/ours':>11}"
    print(f"{'point':<20}{'':<10}{columns}{'first step s':>14}{'peak GiB':>10}")
    results = {}
    for point in arguments.point or (GPU_POINTS if on_gpu else CPU_POINTS):
        commands = contenders(point, arguments, on_gpu)
        results[point] = found = measure(commands, arguments.rounds)
        for name in commands:
            print_row(point, name, arguments.batch or POINTS[point][1], found)
    if arguments.json:
        numbers = {"machine": machine(), "precision": arguments.precision, "points": results}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def print_row(point: str, name: str, batch_size: int, found: dict[str, Any]) -> None:
    """A line of the table; the last ratio is one of seconds, above 1 where ours is faster."""
    median, ours = statistics.median(found[name]), statistics.median(found["ours"])
    first, peak = statistics.median(found["first_step_s"][name]), found["device_peak_mb"][name]
    print(
        f"{point:<20}{name:<10}{median:>15.4f}{min(found[name]):>9.4f}{max(found[name]):>9.4f}"
        f"{batch_size / median:>10.2f}{median / ours:>11.2f}{first:>14.1f}"
        + (f"{peak / 2**10:>10.2f}" if peak else f"{'':>10}"),
        flush=True,
    )


if __name__ == "__main__":
    main()
