"""What the process that traces a step writes."""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal import tracing_process
from tf_simclrv2.training.plan import with_classes


@pytest.fixture
def written(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """What it writes for a small run, as a function."""
    config, result = tmp_path / "config.json", tmp_path / "result.json"
    config.write_text(with_classes(STAGES[0].config("float32"), 10).to_json())
    monkeypatch.setattr("sys.argv", ["tracing_process", str(config), "2", str(result)])
    monkeypatch.setattr(tracing_process, "end_with_parent", lambda: None)

    def run() -> dict[str, str]:
        tracing_process.main()
        return json.loads(result.read_text())

    return run


def test_the_program_of_a_core(written) -> None:
    found = written()
    assert [*found] == ["program"]
    assert "func.func @main" in found["program"]


def test_memory_that_runs_out_is_one_sentence(written, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")

    monkeypatch.setattr(tracing_process, "run_step", fail)
    found = written()
    assert found["kind"] == "RunError" and "free memory of this machine" in found["error"]


def test_what_a_user_can_mend_is_passed_on(written, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConfigError("width is 9; pass 1.")

    monkeypatch.setattr(tracing_process, "run_step", fail)
    assert written() == {"error": "width is 9; pass 1.", "kind": "ConfigError"}


def test_a_fault_of_ours_is_not_dressed_up(written, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("views")

    monkeypatch.setattr(tracing_process, "run_step", fail)
    with pytest.raises(KeyError, match="views"):
        written()
