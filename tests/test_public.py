"""The public names: each is documented, and none is imported before it is asked for."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

import tf_simclrv2
from tf_simclrv2 import public

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    assert sorted(re.findall(r"^::: tf_simclrv2\.(\w+)$", text, re.MULTILINE)) == sorted(public.__all__)


@pytest.mark.parametrize("name", public.__all__)
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    assert getattr(tf_simclrv2, name) is getattr(public, name)
    assert name in dir(tf_simclrv2)


def test_submodules_and_unknown_private_names_do_not_import_tensorflow() -> None:
    code = (
        "import sys, tf_simclrv2; from tf_simclrv2 import config, setting; "
        "hasattr(tf_simclrv2, '__wrapped__'); print('tensorflow' in sys.modules)"
    )
    assert _fresh(code) == "False"


def test_a_star_imports_the_public_names() -> None:
    assert (
        _fresh("from tf_simclrv2 import *; print(ModelConfig().resnet_depth, nt_xent.__name__)")
        == "50 nt_xent"
    )


def test_keras_finds_the_registered_classes_after_the_import() -> None:
    code = (
        "import keras, tf_simclrv2; print(keras.saving.get_registered_object('tf_simclrv2>SimCLR').__name__)"
    )
    assert _fresh(code) == "SimCLR"


def test_a_name_that_is_not_public() -> None:
    with pytest.raises(AttributeError, match="module 'tf_simclrv2' has no attribute 'NoSuchName'"):
        tf_simclrv2.NoSuchName  # noqa: B018
