"""The examples of the documentation, as a user runs them, on a small export."""

import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.goldens import assign_published_weights
from tf_simclrv2 import ModelConfig, SimCLR, save_module
from tf_simclrv2.export.serving_bundle import CONFIG_FILE, SERVING_ROOT, write_warmup

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("left", "right", "top")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=16, num_classes=3))
    network.build((None, 16, 16, 3))
    assign_published_weights(network)
    # In a directory whose name TensorFlow takes for a pattern.
    path = tmp_path_factory.mktemp("example") / "lr=[0.1] #?*" / "simclr" / "1"
    save_module(network, str(path), class_names=NAMES)
    write_warmup(network, str(path), "simclr")
    return path


@pytest.fixture
def pictures(tmp_path):
    """Ramps in different directions and sizes: `b` is `a`, made larger."""
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], [1, 24, 3])
    for name, pixels in {
        "a.png": ramp,
        "b.png": np.repeat(np.repeat(ramp, 2, 0), 2, 1),
        "c.png": 255 - ramp.transpose(1, 0, 2),
    }.items():
        (tmp_path / name).write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path


@pytest.fixture
def mixed(tmp_path):
    """One picture in every format, turned or with transparency, and files that are none or broken."""
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], [1, 24, 3])
    picture = Image.fromarray(ramp)
    for name in ("a.png", "b.GIF", "c.bmp", "d.webp", "deep/e.tif", "f.jpg"):
        picture.save(folder / name, **({"lossless": True} if name == "d.webp" else {}))
    clear = picture.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 12, 24, 24))  # White below, whatever is stored there.
    clear.save(folder / "clear.webp", lossless=True, exact=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.tiff", exif=turned)
    whole = (folder / "f.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.tif").write_bytes((folder / "deep" / "e.tif").read_bytes()[:40])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


BAD = ["cut.jpg", "cut.tif", "empty.png"]


def start(example: str, *arguments, **environment) -> subprocess.CompletedProcess:
    """Runs an example, with TensorFlow as loud as a user has it."""
    ours = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment}
    clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / f"{example}.py"), *map(str, arguments)],
        env={**clean, **ours},
        capture_output=True,
        text=True,
        check=False,
    )


def run(example: str, *arguments, **environment) -> str:
    done = start(example, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    noise = [line for line in done.stderr.splitlines() if "pkg_resources" not in line]
    assert not noise, "the examples switch TensorFlow's messages off"
    return done.stdout


def skipped(errors: str) -> list[str]:
    """The names of the files in messages, which must say nothing else."""
    lines = errors.splitlines()
    found = [re.fullmatch(r"skipped \S*/(\S+): \S.*", line) for line in lines]
    assert all(found), errors
    return sorted(match[1] for match in found if match)


def test_inference(module, pictures):
    output = run("inference", module, pictures / "a.png", pictures / "b.png")
    assert "features: (2, 512)" in output
    assert len(re.findall(r"\.png (left|right|top) 0\.\d+, ", output)) == 2


def test_large_files_are_asked_about_by_few(pictures, monkeypatch):
    """A server takes requests of a limited size; base64 makes them a third larger."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples"))
    image_files = runpy.run_path(str(ROOT / "docs" / "examples" / "image_files.py"))
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    paths = [pictures / f"large{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(noise).save(path, compress_level=0)  # 12 MB.
    sizes: list[int] = []

    def ask(files):
        sizes.append(sum(map(len, files)))
        return files

    assert len(list(image_files["answers"](ask, paths, ValueError))) == len(paths)
    assert max(sizes) < 32 * 2**20 and len(sizes) == 3


@pytest.mark.parametrize(
    ("words", "answer"), [(["nowhere", "a.png"], "error: nowhere is not a module; "), ([], "    python ")]
)
def test_what_cannot_be_run_is_told_without_a_traceback(words, answer):
    done = start("inference", *words)
    assert done.returncode == 1 and answer in done.stderr and "Traceback" not in done.stderr


def test_inference_reads_every_format_and_skips_what_is_broken(module, mixed):
    good = ["a.png", "b.GIF", "c.bmp", "d.webp", "deep/e.tif", "turned.tiff"]
    done = start("inference", module, *(mixed / name for name in (*good, *BAD)), mixed / "absent.png")
    assert done.returncode == 0
    assert skipped(done.stderr) == sorted(["absent.png", *BAD])
    rows = re.findall(r"^\S*?(\S+) (\S+ \S+ \S+ \S+ \S+ \S+)$", done.stdout, re.MULTILINE)
    assert len(rows) == len(good) and len({answer for _, answer in rows}) == 1, "the same picture each time"


def test_linear_probe(module):
    (accuracy,) = re.findall(r"proj_head_1: top-1 ([\d.]+)", run("linear_probe", module))
    assert float(accuracy) > 0.5  # Of an untrained network; chance is 0.1.


@pytest.mark.parametrize(("example", "effort"), [("fine_tuning", 12), ("keras_hub_layer", 6)])
def test_training(module, example, effort):
    first, last = map(float, re.findall(r"(?:loss |, )(\d\.\d{4})", run(example, module, effort))[:2])
    assert last < 0.8 * first


def test_retrieval_keeps_what_it_has_computed(module, mixed, tmp_path):
    copy = tmp_path / "module"
    shutil.copytree(module, copy)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = start("retrieval", copy, mixed / "a.png", mixed, **cache)
    assert skipped(first.stderr) == BAD
    best = re.findall(r"^1\.0000 \S*?(\w+\.\w+)$", first.stdout, re.MULTILINE)
    assert sorted(best) == ["a.png", "b.GIF", "c.bmp", "d.webp", "e.tif", "f.jpg", "turned.tiff"]
    assert "clear.webp" in first.stdout and "notes.txt" not in first.stdout
    for name in BAD:
        (mixed / name).unlink()
    shutil.rmtree(copy / "variables")  # The module cannot answer again.
    second = start("retrieval", copy, mixed / "clear.webp", mixed, **cache)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[0] == f"1.0000 {mixed}/clear.webp"
    Image.new("RGB", (24, 24)).save(mixed / "new.png")
    assert start("retrieval", copy, mixed / "a.png", mixed, **cache).returncode != 0, "a new one is computed"


def test_serving_skips_what_is_broken(module, mixed):
    done = start("serving", module, mixed / "a.png", mixed / "cut.jpg", mixed / "d.webp")
    assert done.returncode == 0 and skipped(done.stderr) == ["cut.jpg"]
    assert done.stdout.count("'proj_head_3': 128") == 2
    assert len(re.findall(r"class [012]$", done.stdout, re.MULTILINE)) == 2


def test_the_image_of_tensorflow_serving_finds_the_bundle_where_its_config_says():
    lines = (ROOT / "docs" / "examples" / "serving.Dockerfile").read_text().splitlines()
    assert f"COPY . {SERVING_ROOT}" in lines
    assert f'CMD ["--model_config_file={SERVING_ROOT}/{CONFIG_FILE}"]' in lines
