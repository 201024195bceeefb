"""What `simclrv2 embed` reaches of the speed of the input pipeline and of the network.

    python benchmarks/embedding_speed.py [--depth=50] [--image_size=224] [--images=256] [--batch_size=32]

Embeds JPEG files of 500x375 with a ResNet of random weights, and times, in turns, also the pipeline
without the network, and the network on a batch in memory. On a device of its own the network computes while
the pipeline decodes, so embedding can be as fast as the slower of both. On a CPU they share the cores, and
the most that can be reached is the rate that takes the time of both. Prints images/s and both shares.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.measuring.machine import machine
from benchmarks.measuring.pictures import write_pictures
from tf_simclrv2 import ModelConfig
from tf_simclrv2.data import evaluation_batches
from tf_simclrv2.embedding.embed import Embedder
from tf_simclrv2.embedding.images import Images, find_images
from tf_simclrv2.models import SimCLR
from tf_simclrv2.modules.saved_model import save_module


def saved_network(folder: str, depth: int, image_size: int) -> str:
    """Writes a network of random weights; returns where."""
    network = SimCLR(ModelConfig(resnet_depth=depth, image_size=image_size, num_classes=0))
    network(tf.zeros([1, image_size, image_size, 3]))
    path = os.path.join(folder, "module")
    save_module(network, path)
    return path


def passes(embedder: Embedder, images: Images, batch_size: int) -> dict[str, Callable[[], None]]:
    """What is timed: a pass over all images, each time."""
    network = embedder.trained.network
    size = network.config.image_size

    def pipeline() -> None:
        for batch in evaluation_batches(images.source, image_size=size, batch_size=batch_size):
            batch["image"].numpy()

    images_in_memory = tf.random.uniform([batch_size, size, size, 3])

    @tf.function
    def encode(batch: tf.Tensor) -> tf.Tensor:
        return network(batch, training=False)["final_avg_pool"]

    def compute() -> None:
        for _ in range(images.source.num_examples // batch_size):
            encode(images_in_memory).numpy()

    def embed() -> None:
        for _ in embedder.batches(images, batch_size):
            pass

    return {"pipeline": pipeline, "network": compute, "embed": embed}


def rates(timed: dict[str, Callable[[], None]], images: int, rounds: int) -> dict[str, float]:
    """Images per second of each, medians over the rounds, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, run in timed.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: images / statistics.median(values) for name, values in seconds.items()}


def shares(found: dict[str, float]) -> tuple[float, float]:
    """What embedding reaches of the slower of both, and of both one after the other."""
    pipeline, network, embed = (found[name] for name in ("pipeline", "network", "embed"))
    return embed / min(pipeline, network), embed * (1 / pipeline + 1 / network)


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.images % arguments.batch_size:
        parser.error(f"--images is {arguments.images}; pass a multiple of {arguments.batch_size}.")
    with tempfile.TemporaryDirectory() as folder:
        pictures = pathlib.Path(folder) / "pictures"
        write_pictures(pictures, arguments.images)
        path = saved_network(folder, arguments.depth, arguments.image_size)
        embedder = Embedder(path, "final_avg_pool", lambda line: None)
        images = find_images(str(pictures / "train"))
        timed = passes(embedder, images, arguments.batch_size)
        found = rates(timed, arguments.images, arguments.rounds)
    slower, both = shares(found)
    print(machine())
    print("images/s: " + ", ".join(f"{name} {rate:.1f}" for name, rate in found.items()))
    print(f"embed reaches {slower:.2f} of the slower of both, {both:.2f} of both one after the other")


if __name__ == "__main__":
    main()
