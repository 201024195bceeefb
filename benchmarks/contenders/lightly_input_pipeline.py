"""Lightly's input pipeline, for `input_pipeline.py`; a program without TensorFlow.

    python benchmarks/contenders/lightly_input_pipeline.py FOLDER BATCHES BLUR BATCH SIZE

SimCLRTransform in a DataLoader with a worker for each core, as its examples have it. Prints the seconds of
BATCHES batches after the warm-up, in a JSON list.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

from lightly.transforms.simclr_transform import (  # pyright: ignore[reportMissingImports] # in the extra `bench`
    SimCLRTransform,
)
from PIL import Image
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.measuring.batch_timing import WARM_UP_BATCHES, seconds_of


class Pictures(Dataset):
    """Pairs of views of the files of a folder, over and over."""

    def __init__(self, folder: pathlib.Path, transform: SimCLRTransform, count: int) -> None:
        self.files = sorted(folder.glob("*.jpg"))
        self.transform = transform
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list:
        with Image.open(self.files[index % len(self.files)]) as picture:
            return self.transform(picture.convert("RGB"))


def seconds(folder: pathlib.Path, batches: int, blur: bool, batch_size: int, size: int) -> float:
    """Seconds of the batches after the warm-up."""
    transform = SimCLRTransform(input_size=size, gaussian_blur=0.5 if blur else 0.0, normalize=None)
    # Some more than are measured, so that the workers do not run dry at the end.
    pictures = Pictures(folder, transform, (WARM_UP_BATCHES + batches + 4) * batch_size)
    loader = iter(
        DataLoader(pictures, batch_size, shuffle=True, num_workers=os.cpu_count() or 1, drop_last=True)
    )
    return seconds_of(lambda: next(loader), batches)


if __name__ == "__main__":
    folder, batches, blur, batch_size, size = sys.argv[1:]
    found = seconds(pathlib.Path(folder) / "train", int(batches), blur == "1", int(batch_size), int(size))
    print(json.dumps([found]))
