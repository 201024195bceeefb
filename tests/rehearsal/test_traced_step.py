"""A step is traced in another process, whose memory is free when the step is compiled."""

from __future__ import annotations

import dataclasses
import pathlib

import psutil
import pytest

import tf_simclrv2
from tests.conformance.descriptors import STAGES
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal import traced_step as traced_step_module
from tf_simclrv2.rehearsal.compiled_step import _nameless
from tf_simclrv2.rehearsal.run_step import run_step
from tf_simclrv2.rehearsal.step_program import step_program
from tf_simclrv2.rehearsal.traced_step import traced_step
from tf_simclrv2.training.plan import with_classes

SMALL = with_classes(STAGES[0].config("float32"), 10)


def test_it_is_the_step_that_is_traced_here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the package that this process has imported, whatever lies in the folder where it is started.

    The tests run without TensorFloat-32, which makes products exact on a TPU too.
    """
    training = dataclasses.replace(SMALL.training, tf32="off")
    config = dataclasses.replace(SMALL, training=training)
    strategy = CompileOnlyStrategy(4)
    run = run_step(config, strategy)
    here = step_program(run.step, run.specs, strategy).text
    other = tmp_path / "tf_simclrv2"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('another package')")
    monkeypatch.syspath_prepend(str(pathlib.Path(tf_simclrv2.__file__).parent.parent))
    monkeypatch.chdir(tmp_path)
    assert _nameless(traced_step(config, 4)) == _nameless(here)


def test_its_weights_leave_nothing_behind() -> None:
    """Those of the largest networks, of one batch after another, do not fit into memory together."""
    wide = dataclasses.replace(SMALL.model, resnet_depth=18, width_multiplier=3)
    process = psutil.Process()
    before = process.memory_info().rss
    assert traced_step(dataclasses.replace(SMALL, model=wide), 4)
    assert process.memory_info().rss - before < 200e6  # The weights and their momentum take 820 MB.


def test_a_setting_that_cannot_be_is_refused_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"error": "a TPU cannot run this step, which has the operation Print.", "kind": "ConfigError"}
    monkeypatch.setattr(traced_step_module, "run_child", lambda *_: told)
    with pytest.raises(ConfigError, match="the operation Print"):
        traced_step(SMALL, 2)
