"""What happens between two loops of training steps, an action at a time."""

import contextlib
import json
import signal
import types

import pytest
import tensorflow as tf

from tests.training.small_runs import config_for
from tf_simclrv2.data import SkippedImages
from tf_simclrv2.errors import NotFiniteError
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.training.interruptions.not_finite import REPORT_FILE
from tf_simclrv2.training.loop_actions import (
    LastOutput,
    StopIfAsked,
    StopIfNotFinite,
    Stopped,
    WriteSkippedImages,
)
from tf_simclrv2.training.model_dir.model_dir import SKIPPED_FILE, ModelDir
from tf_simclrv2.training.preparation import prepare

OUTPUT = {"train/total_loss": tf.constant(1.25), "train/contrast_acc": tf.constant(0.5)}


def test_the_last_output_is_kept_as_numbers():
    last = LastOutput()
    assert last.values == {}
    last({"train/total_loss": tf.constant(9.0), "gone": tf.constant(1.0)})
    last(OUTPUT)
    assert last.values == {"train/total_loss": 1.25, "train/contrast_acc": 0.5}


def test_names_of_unreadable_images_are_written_as_they_are_found(tmp_path):
    skipped = SkippedImages(100, 0.5)
    action = WriteSkippedImages(ModelDir(str(tmp_path)), skipped)
    action(OUTPUT)
    assert not (tmp_path / SKIPPED_FILE).exists()
    for names in ("a.png\n", "a.png\nb.png\n"):
        skipped.record(names.split("\n")[-2])
        action(OUTPUT)
        assert (tmp_path / SKIPPED_FILE).read_text() == names


def test_a_loss_that_is_not_finite_ends_training_with_a_report(tmp_path):
    prepared = prepare(config_for(tmp_path / "never_written"), tf.distribute.get_strategy())
    assert not (tmp_path / "never_written").exists()
    trainer = types.SimpleNamespace(first_bad_step=None)
    action = StopIfNotFinite(prepared, trainer, ModelDir(str(tmp_path)))
    action(OUTPUT)
    assert not (tmp_path / REPORT_FILE).exists()
    trainer.first_bad_step = 3
    loss = {"train/total_loss": tf.constant(float("nan"))}
    (tmp_path / "ckpt-3.index").touch()  # Its weights are those of the bad loss.
    with pytest.raises(NotFiniteError, match="not finite at step 3; there is no good checkpoint;"):
        action(loss)
    for step in (1, 2):
        (tmp_path / f"ckpt-{step}.index").touch()
    with pytest.raises(NotFiniteError, match=r"at step 3; the last good checkpoint is .*/ckpt-2; .* lists"):
        action(loss)
    report = json.loads((tmp_path / REPORT_FILE).read_text())
    assert (report["step"], report["loss"]) == (3, "nan")
    assert report["variable_norms"].keys() == named_variables(prepared.task.network).keys()


@pytest.mark.parametrize(
    ("arrived", "cuts_loops", "stops"),
    [(0, True, False), (signal.SIGTERM, True, True), (signal.SIGTERM, False, False)],
)
def test_a_loop_that_was_cut_short_is_the_last(arrived, cuts_loops, stops):
    action = StopIfAsked(types.SimpleNamespace(signal=arrived), cuts_loops)
    with pytest.raises(Stopped) if stops else contextlib.nullcontext():
        action(OUTPUT)
