"""The config of a run is read back, and each way in which it can be wrong has its sentence."""

import json
import re

import pytest

from tf_simclrv2 import CheckpointError, ExperimentConfig, ModelConfig
from tf_simclrv2.files import CONFIG_FILE, DESCRIPTION_FILE, VERSIONS_FILE
from tf_simclrv2.version import VERSION
from tf_simclrv2.weights.run_config import read_config, read_config_file, read_model

CONFIG = ExperimentConfig(model=ModelConfig(resnet_depth=18, image_size=32))
NEWER = {"tf_simclrv2": "99.0.0"}


def written(directory, values) -> str:
    text = values if isinstance(values, str) else json.dumps(values)
    (directory / CONFIG_FILE).write_text(text)
    return str(directory)


def test_a_model_dir(tmp_path):
    directory = written(tmp_path, CONFIG.to_json())
    assert read_config(directory) == CONFIG
    assert read_config_file(f"{directory}/{CONFIG_FILE}") == CONFIG
    assert read_model(directory) == CONFIG.model


def test_an_export_may_hold_a_part_of_the_network(tmp_path):
    part = CONFIG.model.truncated("final_avg_pool")
    description = {"run": json.loads(CONFIG.to_json()), "model": json.loads(json.dumps(vars(part)))}
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(description))
    assert read_config(str(tmp_path)) == CONFIG
    assert read_model(str(tmp_path)) == part != CONFIG.model


def test_an_export_whose_run_is_not_known(tmp_path):
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps({"run": None}))
    assert read_config(str(tmp_path)) is None


def test_nothing_there(tmp_path):
    assert read_config(str(tmp_path)) is None and read_model(str(tmp_path)) is None
    with pytest.raises(
        CheckpointError, match=r"config\.json cannot be read \(.*[Nn]o such file.*\); name the"
    ):
        read_config_file(str(tmp_path / CONFIG_FILE))


DAMAGED = {
    "empty": ("", "cannot be read (Expecting value"),
    "cut": ('{"model": {', "cannot be read (Expecting property name"),
    "a list": ([1], "cannot be read (it holds a list, not an object in braces)"),
    "an unknown field": ({"color": 1}, "is not the config of a run (ExperimentConfig has no field color"),
    "an unknown inner field": ({"model": {"depth": 1}}, "(ModelConfig has no field depth"),
    "an impossible value": ({"model": {"resnet_depth": 3}}, "is not the config of a run (resnet_depth is 3"),
    "another type": ({"model": {"width_multiplier": "two"}}, "is not the config of a run ("),
    "a list for an area": ({"model": [1]}, "is not the config of a run ("),
    "a number for an area": ({"model": 1}, "is not the config of a run ("),
}


@pytest.mark.parametrize(("values", "sentence"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_config(tmp_path, values, sentence):
    directory = written(tmp_path, values)
    for read in (read_config, read_model):
        with pytest.raises(CheckpointError, match=re.escape(sentence)) as caught:
            read(directory)
        assert str(caught.value).startswith(f"{directory}/{CONFIG_FILE} ")
        assert str(caught.value).endswith("restore a copy of it, or move it away.")
        assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"cannot be read \(.*decode"):
        read_config(str(tmp_path))


def test_a_newer_version(tmp_path):
    directory = written(tmp_path, {"color": 1})
    sentence = rf"written by tf_simclrv2 99\.0\.0, and this is {VERSION}, which .* color.*; install the newer"
    for text in ("{", json.dumps({"tf_simclrv2": VERSION}), json.dumps({"tf_simclrv2": "0.0.9"})):
        (tmp_path / VERSIONS_FILE).write_text(text)
        with pytest.raises(CheckpointError, match="is not the config of a run"):
            read_config(directory)
    (tmp_path / VERSIONS_FILE).write_text(json.dumps(NEWER))
    with pytest.raises(CheckpointError, match=sentence):
        read_config(directory)


@pytest.mark.parametrize("part", ["run", "model"])
def test_an_export_of_a_newer_version(tmp_path, part):
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps({part: {"color": 1}, "versions": NEWER}))
    read = read_config if part == "run" else read_model
    with pytest.raises(CheckpointError, match=r"simclr\.json was written by tf_simclrv2 99\.0\.0"):
        read(str(tmp_path))


def test_what_a_newer_version_wrote_is_read_if_it_can_be(tmp_path):
    directory = written(tmp_path, CONFIG.to_json())
    (tmp_path / VERSIONS_FILE).write_text(json.dumps(NEWER))
    assert read_config(directory) == CONFIG
