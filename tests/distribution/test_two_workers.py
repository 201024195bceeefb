"""Two real processes compute what one does."""

import json
import pathlib

import numpy as np
import pytest

from tests.distribution.stages import EVALUATED, STEPS, VALIDATED, changes_by_stage, run_all
from tests.distribution.workers import pair, said
from tests.training.small_runs import weights_of

PATIENCE = 600


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every stage by two workers and, meanwhile, by one process here."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    logs = tmp_path_factory.mktemp("logs")
    with pair(["-m", "tests.distribution.stages", str(together)], logs) as workers:
        run_all(alone, "one_device")
        codes = [worker.wait(PATIENCE) for worker in workers]
    assert codes == [0, 0], said(logs, 0) + said(logs, 1)
    return alone, together


@pytest.mark.parametrize("stage", changes_by_stage(pathlib.Path()))
def test_three_steps_in_float64(runs, stage):
    expected, found = (weights_of(root / stage, STEPS) for root in runs)
    assert expected.keys() == found.keys() and len(expected) > 20
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-9 * scale, err_msg=key)


@pytest.mark.parametrize("stage", ["finetune", "supervised"])
def test_two_workers_evaluate_every_example_once(runs, stage):
    expected, found = (json.loads((root / stage / "result.json").read_text()) for root in runs)
    assert expected.keys() == found.keys()
    assert expected.pop("best", None) == found.pop("best", None)
    for name in ("eval/label_top_1_accuracy", "eval/label_top_5_accuracy"):
        # Right answers out of all, in float64.
        assert found[name] * EVALUATED == pytest.approx(round(found[name] * EVALUATED), abs=1e-9)
        assert found[name] == pytest.approx(expected[name], rel=1e-12)
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-9)


def test_two_workers_choose_the_same_checkpoint(runs):
    """Each worker measures a part of the images, and the chief alone knows the sum."""
    expected, found = (json.loads((root / "supervised" / "validation.json").read_text()) for root in runs)
    steps = [made["step"] for made in expected["measurements"]]
    assert steps == [made["step"] for made in found["measurements"]] == [2, 3]
    for one, other in zip(expected["measurements"], found["measurements"], strict=True):
        assert one["value"] * VALIDATED == pytest.approx(round(one["value"] * VALIDATED), abs=1e-9)
        assert one["value"] == other["value"]
    chosen = [json.loads((root / "supervised" / "best" / "best.json").read_text()) for root in runs]
    assert chosen[0] == chosen[1] and chosen[0]["images"] == VALIDATED


def test_the_chief_alone_writes_the_report_with_its_baselines(runs):
    """To create a variable for all workers, it would wait for the others, which do not."""
    expected, found = (json.loads((root / "supervised" / "baselines.json").read_text()) for root in runs)
    assert expected.keys() == found.keys() and "linear/random_encoder/top_1_accuracy" in found
    assert (runs[1] / "supervised" / "report.html").exists()


def test_the_chief_alone_leaves_files(runs):
    def files(root):
        names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(str(name) for name in names if not name.name.startswith("events"))

    alone, together = runs
    assert files(alone) == files(together)
    for root in runs:
        # Orbit's, the views and the settings, by one process each.
        kinds = [path.suffix for path in (root / "pretrain").glob("events*")]
        assert sorted(kinds) == [".hparams", ".v2", ".views"]
