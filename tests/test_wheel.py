"""What is installed: the wheel holds every module of the library, and each can be imported elsewhere."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMPORT_ALL = """
import importlib, json, pkgutil, tf_simclrv2
names = [module.name for module in pkgutil.walk_packages(tf_simclrv2.__path__, "tf_simclrv2.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([tf_simclrv2.__file__, names]))
"""


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *words, "--no-deps"], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with nothing but the installed wheel."""
    wheels, target = (tmp_path_factory.mktemp(name) for name in ("wheels", "installed"))
    _pip("wheel", "--no-build-isolation", f"--wheel-dir={wheels}", ".")
    (wheel,) = wheels.glob("*.whl")
    _pip("install", f"--target={target}", str(wheel))
    return target


def test_the_commands_run_from_the_wheel(installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "CUDA_VISIBLE_DEVICES": ""}

    def simclrv2(*words: str) -> str:
        command = [sys.executable, str(installed / "bin" / "simclrv2"), *words]
        done = subprocess.run(command, env=environment, cwd=tmp_path, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "data-service" in simclrv2("--help")
    small = ["--train_split=train[:64]", "--train_steps=2", "--image_size=8", "--eval_protocols=online"]
    simclrv2("run", "--flagfile=quickstart", "--model_dir=run", *small)
    assert (tmp_path / "run" / "report.html").exists()
    simclrv2("export", "--model_dir=run", "--output=module")
    assert (tmp_path / "module" / "saved_model.pb").exists()


def test_every_module_can_be_imported_from_the_wheel(installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], env=environment, cwd=tmp_path, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    file, names = json.loads(done.stdout.splitlines()[-1])
    assert pathlib.Path(file).is_relative_to(installed)
    files = (ROOT / "tf_simclrv2").rglob("*.py")
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert {*names, "tf_simclrv2"} == {name.removesuffix(".__init__") for name in modules}
