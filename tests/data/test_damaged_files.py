"""Damaged files of every format are read or named: nothing crashes, hangs or takes all memory.

Eighty of the 2,000 files that `tests/data/mutations.py` makes are tried; with `DAMAGED_FILES=2000` in the
environment all of them are.
"""

import os
import pathlib
import re
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.formats import FILES, encoded
from tests.data.mutations import claiming, damaged
from tf_simclrv2 import DataConfig
from tf_simclrv2.data import SkippedImages, evaluation_batches, load_source
from tf_simclrv2.data.request_images import decode_request
from tf_simclrv2.doctor.image_sample import sample_images

TOTAL = 2000
COUNT = int(os.environ.get("DAMAGED_FILES", "80"))
SIZE = 8
# Seconds for a file, and memory for all of them with their graphs; a picture that is huge would take 2 GiB.
PATIENCE, MEMORY_MB = 20.0, 512.0


HUGE = {
    **{
        f"{name} that only says so": claiming(FILES[name], 40_000, 40_000)
        for name in ("png", "jpeg", "gif", "bmp", "webp", "webp alpha", "webp animated", "tiff", "avif")
    },
    "png that is": encoded(Image.new("1", (40_000, 20_000)), "PNG"),
    "png alpha that only says so": claiming(FILES["png alpha"], 2**31 - 1, 2**31 - 1),
    "gif that is": encoded(Image.new("P", (20_000, 20_000)), "GIF"),
}


@tf.function(input_signature=[tf.TensorSpec([1], tf.string)])
def requested(contents):
    return decode_request(contents, SIZE)


def answer(contents: bytes) -> str:
    """What a server says to a file: nothing if it takes it."""
    try:
        image = requested([contents]).numpy()
    except tf.errors.InvalidArgumentError as error:
        return error.message
    assert image.shape == (1, SIZE, SIZE, 3) and np.isfinite(image).all()
    return ""


def trained_on(source) -> tuple[int, set[str]]:
    """How many images a pipeline delivers, and the names of the others."""
    skipped = SkippedImages(source.num_examples, max_fraction=1.0)
    batches = evaluation_batches(source, image_size=SIZE, batch_size=50, skipped=skipped)
    count = 0
    for batch in batches.as_numpy_iterator():
        assert np.isfinite(batch["image"]).all() and batch["image"].min() >= 0 and batch["image"].max() <= 1
        count += int(batch["mask"].sum())
    return count, set(skipped.names)


def forget_peak() -> None:
    """Begins to count the largest memory of this process anew, which other tests may have driven up."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The largest since then."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files by path, and the source of their folder."""
    folder = tmp_path_factory.mktemp("damaged")
    numbers = np.random.default_rng(0).permutation(TOTAL)[:COUNT].tolist()
    made = {file.name: file.contents for file in map(damaged, numbers)}
    made |= {f"huge {name}.png": contents for name, contents in HUGE.items()}
    for name, contents in made.items():
        (folder / name).write_bytes(contents)
    source = load_source(DataConfig(dataset="image_folder", data_dir=str(folder)), "train")
    return {str(folder / name): contents for name, contents in made.items()}, source


@pytest.fixture(scope="module")
def unreadable(files):
    """The names of the files that training cannot read."""
    made, source = files
    forget_peak()
    before = peak_mb()
    count, names = trained_on(source)
    assert peak_mb() - before < MEMORY_MB
    assert count + len(names) == len(made) and names < made.keys()
    assert min(count, len(names)) > len(made) // 5, "damage that is of no account, or too much"
    return names


def test_what_claims_to_be_huge_is_unreadable(files, unreadable):
    made, _ = files
    huge = {name for name in made if "/huge " in name}
    assert len(huge) == len(HUGE) and huge <= unreadable


def test_the_doctor_names_what_training_cannot_read(files, unreadable):
    made, source = files
    sample = sample_images(source, most=len(made))
    assert set(sample.names) == unreadable and sample.count == len(made) - len(unreadable)


def test_a_server_takes_the_jpeg_and_png_that_training_reads(files, unreadable):
    made, _ = files
    for name, contents in made.items():
        since = time.monotonic()
        refusal = answer(contents)
        assert time.monotonic() - since < PATIENCE, name
        if not contents.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
            assert "neither JPEG nor PNG" in refusal, name
        elif name in unreadable:
            assert refusal, name
        else:
            assert not refusal or "sides must be at least" in refusal, (name, refusal)
