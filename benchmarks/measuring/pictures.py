"""JPEG files of the size that ImageNet's mostly have, for programs that read files."""

from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 500, 375
GRAIN = 25
QUALITY = 90


def write_pictures(folder: pathlib.Path, count: int) -> None:
    """Writes `folder/train/NUMBER.jpg`: patches of color with some noise, the same at every call.

    Args:
        folder: Where; it is made if it is missing.
        count: How many.
    """
    (folder / "train").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        patches = rng.integers(0, 256, (HEIGHT // GRAIN, WIDTH // GRAIN, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(patches).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        noisy = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "train" / f"{number:05d}.jpg", quality=QUALITY)
