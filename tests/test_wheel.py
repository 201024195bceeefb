"""What is installed: a wheel, from the source distribution, holds every module, and its commands work."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tests.programs import port_of
from tests.serving.local_server import Client
from tf_simclrv2.cli.main import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a source distribution is made from; no wheel has the doors of `export/` and `flags/`.
SOURCES = ("tf_simclrv2", "flags", "export", "setup.py", "pyproject.toml", "README.md", "LICENSE")
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
IMPORT_ALL = """
import importlib, json, pkgutil, tf_simclrv2
names = [module.name for module in pkgutil.walk_packages(tf_simclrv2.__path__, "tf_simclrv2.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([tf_simclrv2.__file__, names]))
"""
SMALL_RUN = ["--train_split=train[:64]", "--train_steps=2", "--image_size=8", "--eval_protocols=online"]


@dataclasses.dataclass(frozen=True)
class Installed:
    """A folder with nothing but the installed wheel, and another to work in."""

    target: pathlib.Path
    here: pathlib.Path

    @property
    def environment(self) -> dict[str, str]:
        only = {"PYTHONPATH": str(self.target), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        return {**os.environ, **only}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(self.target / "bin" / "simclrv2"), *words]

    def run(self, *words: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            self.command(*words), env=self.environment, cwd=self.here, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _python(*words: str, folder: pathlib.Path = ROOT) -> None:
    subprocess.run([sys.executable, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The source distribution of a copy: the list of files of an earlier build would add to it."""
    copy, built = (tmp_path_factory.mktemp(name) for name in ("copy", "built"))
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    _python("-c", BUILD_SDIST, str(built), folder=copy)
    (archive,) = built.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def installed(sdist: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    wheels, target, here = (tmp_path_factory.mktemp(name) for name in ("wheels", "installed", "elsewhere"))
    pip = ("-m", "pip", "--quiet")
    _python(*pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheels}", str(sdist))
    (wheel,) = wheels.glob("*.whl")
    _python(*pip, "install", "--no-deps", f"--target={target}", str(wheel))
    return Installed(target, here)


@pytest.fixture(scope="module")
def run(installed: Installed) -> pathlib.Path:
    """The folder of a run that was trained from the wheel, with a recipe from the wheel."""
    installed.run("run", "--flagfile=quickstart", "--model_dir=run", "--mode=train", *SMALL_RUN)
    assert (installed.here / "run" / "ckpt-2.index").exists()
    return installed.here / "run"


@pytest.fixture(scope="module")
def module(installed: Installed, run: pathlib.Path) -> pathlib.Path:
    installed.run("export", f"--model_dir={run}", "--output=module")
    return installed.here / "module"


def test_the_source_distribution_holds_what_a_build_needs(sdist: pathlib.Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    recipes = {str(path.relative_to(ROOT)) for path in (ROOT / "flags" / "recipes").glob("*.cfg")}
    assert recipes and recipes <= names
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/"))}


def test_the_wheel_holds_every_file_of_the_library(installed: Installed) -> None:
    def files(folder: pathlib.Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(folder)) for path in found}

    sources = {
        name for name in files(ROOT / "tf_simclrv2") if pathlib.Path(name).name not in ("BUILD", "README.md")
    }
    recipes = {f"recipes/{path.name}" for path in (ROOT / "flags" / "recipes").glob("*.cfg")}
    assert files(installed.target / "tf_simclrv2") == sources | recipes


def test_every_module_can_be_imported_from_the_wheel(installed: Installed) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        env=installed.environment,
        cwd=installed.here,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    file, names = json.loads(done.stdout.splitlines()[-1])
    assert pathlib.Path(file).is_relative_to(installed.target)
    files = (ROOT / "tf_simclrv2").rglob("*.py")
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert {*names, "tf_simclrv2"} == {name.removesuffix(".__init__") for name in modules}


def test_every_command_has_help(installed: Installed) -> None:
    assert all(f"\n  {name} " in installed.run("--help") for name in COMMANDS)
    for name in COMMANDS:
        assert f"usage: simclrv2 {name} " in installed.run(name, "--help")


def test_a_run_is_evaluated_and_reported(installed: Installed, run: pathlib.Path) -> None:
    installed.run("eval", f"--model_dir={run}")
    assert "eval/label_top_1_accuracy" in json.loads((run / "result.json").read_text())
    installed.run("report", "run", "--output=page.html")
    assert "<svg" in (installed.here / "page.html").read_text()


def test_weights_are_converted(installed: Installed, run: pathlib.Path) -> None:
    assert "variables from" in installed.run(
        "convert", f"--input={run}", "--output=published", "--format=published"
    )
    assert (installed.here / "published" / "ckpt-0.index").exists()


def test_images_are_embedded(installed: Installed, run: pathlib.Path) -> None:
    installed.run("embed", str(run), "--dataset=digits", "--split=test[:16]", "--output=digits.npz")
    with np.load(installed.here / "digits.npz") as file:
        assert any(np.shape(file[name]) == (16, 512) for name in file.files)


def test_the_machine_is_examined(installed: Installed) -> None:
    assert installed.run("doctor").startswith("this machine\n  devices ")


def test_an_exported_module_is_served(
    installed: Installed, module: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        words = installed.command("serve", str(module), "--port=0", "--name=digits")
        server = subprocess.Popen(
            words, cwd=installed.here, env=installed.environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3))
        status, answer = Client(port_of(server, log), "digits").predict({"instances": images.tolist()})
    finally:
        server.terminate()
        server.wait(60)
    assert status == 200, answer
    assert np.shape([example["final_avg_pool"] for example in answer["predictions"]]) == (2, 512)
