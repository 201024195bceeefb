"""What is found under a path that a user gives, and what is said where there is nothing."""

from __future__ import annotations

import pathlib

import pytest

from tests.serving.local_server import serving
from tests.serving.toy_modules import save_toy
from tf_simclrv2.errors import ConfigError, ExportError
from tf_simclrv2.modules.module_archive import pack_module
from tf_simclrv2.serving import serve_config
from tf_simclrv2.serving.module_versions import ModuleVersions, find_versions
from tf_simclrv2.serving.serve_config import ServeConfig, require_packages
from tf_simclrv2.serving.served_model import load_model


def put(folder: pathlib.Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").touch()


def test_a_saved_model_is_version_1_of_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "digits")
    path = str(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    for spelled in (path, f"{path}/", "digits", "digits/", "./digits"):
        assert find_versions(spelled) == ModuleVersions("digits", {1: path})
    monkeypatch.chdir(path)
    assert find_versions(".") == ModuleVersions("digits", {1: path})


def test_a_version_alone_keeps_its_number(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "digits/7")
    path = str(tmp_path / "digits" / "7")
    assert find_versions(path) == ModuleVersions("digits", {7: path})


def test_versions_are_numbers_that_hold_saved_models(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "digits/10", "digits/9", "digits/best", "digits/007")
    (tmp_path / "digits" / "11").mkdir()
    (tmp_path / "digits" / "12").touch()
    folder = tmp_path / "digits"
    found = find_versions(str(folder))
    assert found == ModuleVersions("digits", {9: str(folder / "9"), 10: str(folder / "10")})
    assert list(found.paths) == [9, 10]


@pytest.mark.parametrize("name", ["absent", "empty", "file", "bundle"])
def test_what_is_no_module_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    put(tmp_path, "bundle/digits/1")
    with pytest.raises(
        ExportError, match="which is neither a SavedModel nor a folder of its versions"
    ) as error:
        find_versions(str(tmp_path / name))
    cure = f"for example {tmp_path}/bundle/digits." if name == "bundle" else "make one with simclrv2 export."
    assert str(error.value).endswith(cure)


def test_an_archive_is_served(tmp_path: pathlib.Path) -> None:
    save_toy(tmp_path / "toy")
    pack_module(str(tmp_path / "toy"), str(tmp_path / "packed.tar.gz"))
    with serving(tmp_path / "packed.tar.gz") as client:
        assert client.base == "/v1/models/packed"
        assert client.predict({"inputs": [[1, 2]]}).body == {"outputs": {"scaled": [[2, 4]], "sum": [3]}}


def test_a_damaged_module_is_refused_in_a_sentence(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "damaged")
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"module '.*damaged' cannot be loaded \(.*\); export it again\.$"):
        load_model(find_versions(str(tmp_path / "damaged")))


def test_a_folder_whose_name_cannot_be_in_an_address_is_refused(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "run_10:30")
    found = find_versions(str(tmp_path / "run_10:30"))
    with pytest.raises(ConfigError, match=r"name is 'run_10:30'.*pass another --name"):
        load_model(found)
    with pytest.raises(ExportError, match="cannot be loaded"):  # It is no real one, but its name would do.
        load_model(found, "run")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"port": 65536}, "port is 65536; it must be between 0 and 65535"),
        ({"batch_size": 0}, "batch_size is 0; it must be"),
        ({"batch_timeout": -1.0}, "batch_timeout is -1.0; it must be"),
        ({"max_images": 0}, "max_images is 0"),
        ({"name": "a/b"}, "name is 'a/b'; a served model needs a name without"),
        ({"name": ""}, "name is ''; a served model needs a name"),
    ],
)
def test_wrong_settings(settings: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ServeConfig("module", **settings)


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_packages()
    monkeypatch.setattr(serve_config, "_PACKAGES", ("orjson", "no_such_package"))
    sentence = r'the server needs no_such_package; install with pip install "tf_simclrv2\[serve\]"\.'
    with pytest.raises(ConfigError, match=sentence):
        require_packages()
