"""What a contender's process does around its training: the same images in, features and seconds out.

Imports neither TensorFlow nor PyTorch, so that every contender can.
"""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from benchmarks.learning.settings import Settings
from benchmarks.measuring.plain_settings import from_plain

TIMES = "times.json"
FEATURE_BATCH = 250


class ShowsViews(Protocol):
    """A program whose views another one can learn from."""

    def views(self) -> Iterator[np.ndarray]:
        """Both views of each batch, one after the other, uint8 [2, B, S, S, 3]; without end."""
        ...


class Contender(Protocol):
    """A program that learns."""

    def train(self, steps: int) -> None:
        """Goes on for some steps, and waits until they are done."""
        ...

    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's output float32 [B, F] for a batch of uint8 images [B, S, S, 3]."""
        ...


def resize_gray(images: np.ndarray, size: int) -> np.ndarray:
    """Gray images uint8 [N, H, W] as the encoders see them whole: uint8 [N, size, size, 3], bicubic."""
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image.convert("RGB")) for image in resized])


def record(contender: Contender, settings: Settings, images_file: pathlib.Path, folder: pathlib.Path) -> None:
    """Trains, and writes FOLDER/features_EPOCHS.npz and, at the end, seconds to each in FOLDER/times.json.

    Only training counts: not the start of the process, and not the writing of features.
    """
    with np.load(images_file) as file:
        probed = {
            "train": resize_gray(file["train_images"][: settings.probe_images], settings.image_size),
            "test": resize_gray(file["test_images"], settings.image_size),
        }
    seconds: dict[float, float] = {}
    done, spent = 0, 0.0
    for epochs in settings.measured:
        steps = round(epochs * settings.steps_per_epoch) - done
        start = time.perf_counter()
        if steps:
            contender.train(steps)
        spent += time.perf_counter() - start
        done, seconds[epochs] = done + steps, spent
        write_features(contender, probed, folder, epochs)
    (folder / TIMES).write_text(json.dumps(seconds) + "\n")


def write_features(
    contender: Contender, probed: dict[str, np.ndarray], folder: pathlib.Path, epochs: float
) -> None:
    """Writes the features of both splits after so many epochs."""
    features = {
        split: np.concatenate(
            [
                contender.features(images[start : start + FEATURE_BATCH])
                for start in range(0, len(images), FEATURE_BATCH)
            ]
        )
        for split, images in probed.items()
    }
    np.savez(folder / f"features_{epochs}.npz", **features)  # pyright: ignore[reportArgumentType]


def run(make: Callable[[Settings, pathlib.Path, int], Contender]) -> None:
    """The main program of a contender: `PROGRAM FOLDER SEED OUTPUT`."""
    settings, folder, seed = _arguments()
    record(make(settings, folder, seed), settings, folder / "images.npz", pathlib.Path(sys.argv[3]))


def write_views(make: Callable[[Settings, pathlib.Path, int], ShowsViews]) -> None:
    """The main program of one that only shows its views, on the standard output until that is closed."""
    settings, folder, seed = _arguments()
    with contextlib.suppress(BrokenPipeError):
        for views in make(settings, folder, seed).views():
            sys.stdout.buffer.write(views.tobytes())
            sys.stdout.buffer.flush()


def read_views(command: Sequence[str], settings: Settings) -> Iterator[np.ndarray]:
    """The views that another program shows.

    Args:
        command: What starts it.
        settings: Of the comparison.

    Yields:
        Both views of a batch, uint8 [2, B, S, S, 3].

    Raises:
        EOFError: It has ended.
    """
    shape = (2, settings.batch_size, settings.image_size, settings.image_size, 3)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        try:
            while len(pixels := shown.stdout.read(math.prod(shape))) == math.prod(shape):
                yield np.frombuffer(pixels, np.uint8).reshape(shape)
        finally:
            shown.kill()
    raise EOFError(f"{command} shows no more views.")


def _arguments() -> tuple[Settings, pathlib.Path, int]:
    folder = pathlib.Path(sys.argv[1])
    return from_plain(Settings, json.loads((folder / "settings.json").read_text())), folder, int(sys.argv[2])
