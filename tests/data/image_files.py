"""Small image files for the tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(mode: str = "RGB", kind: str = "PNG", size: int = 12, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def sixteen_bits(size: int = 12) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 2**16, (size, size), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, count: int, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:03}.png").write_bytes(encoded(seed=number))
