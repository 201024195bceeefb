"""Damaged checkpoints are found, named and set aside; the one before is used."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2 import CheckpointError
from tf_simclrv2.directory_lock import directory_lock
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.verified_checkpoints import (
    new_checkpoints,
    set_aside_damaged,
    survey_checkpoints,
    wait_for_checkpoint,
    why_damaged,
)

SIZE = 1000


@pytest.fixture
def saved(tmp_path):
    """A directory with ckpt-1 to ckpt-3."""
    value = tf.Variable(np.random.default_rng(0).random(SIZE))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(value=value), str(tmp_path), max_to_keep=5)
    for step in (1, 2, 3):
        manager.save(step)
    return tmp_path


def data_of(directory, step):
    return directory / f"ckpt-{step}.data-00000-of-00001"


def tensors(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def settle(directory):
    lines = []
    survey = survey_checkpoints(str(directory))
    set_aside_damaged(str(directory), survey, lines.append)
    return survey, lines


@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(saved, part):
    """A hundred single bits all over the file, against the values that were saved."""
    prefix = str(saved / "ckpt-3")
    path, expected = saved / f"ckpt-3{part}", tensors(prefix)
    whole, noticed = path.read_bytes(), 0
    for position in np.linspace(0, len(whole) - 1, 100).astype(int):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        if why_damaged(prefix):
            noticed += 1
            continue
        found = tensors(prefix)
        assert found.keys() == expected.keys(), position
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{key} {position}")
    # The index ends with padding and with a block that is not in use.
    assert noticed == 100 if part.startswith(".data") else noticed >= 60


def test_whole_checkpoints_are_left_as_they_are(saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    survey, lines = settle(saved)
    assert survey.whole == str(saved / "ckpt-3") and not survey.damaged and not lines
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_the_damaged_are_set_aside_and_nothing_is_lost(saved):
    data_of(saved, 3).write_bytes(data_of(saved, 3).read_bytes()[:-1])
    (saved / "ckpt-2.index").unlink()
    contents = {path.read_bytes() for path in saved.glob("ckpt-*")}
    survey, lines = settle(saved)
    assert survey.whole == str(saved / "ckpt-1") == tf.train.latest_checkpoint(str(saved))
    assert [line.split(" (")[0] for line in lines] == ["ckpt-3 is damaged", "ckpt-2 is damaged"]
    assert lines[0].endswith("set aside as ckpt-3.damaged.*")
    assert "its .index is missing" in lines[1]
    assert (saved / "ckpt-3.damaged.index").exists() and not (saved / "ckpt-3.index").exists()
    assert {path.read_bytes() for path in saved.glob("ckpt-*")} == contents
    assert settle(saved) == (survey_checkpoints(str(saved)), [])


def test_a_second_damaged_one_does_not_replace_the_first(saved):
    for _ in range(2):
        data_of(saved, 3).write_bytes(b"")
        settle(saved)
        tf.train.Checkpoint(value=tf.Variable(np.zeros(SIZE))).write(str(saved / "ckpt-3"))
    names = {path.name for path in saved.glob("ckpt-3.damaged*.index")}
    assert names == {"ckpt-3.damaged.index", "ckpt-3.damaged-2.index"}


def test_none_is_whole(saved):
    for step in (1, 2, 3):
        data_of(saved, step).write_bytes(b"")
    before = {path.name for path in saved.iterdir()}
    with pytest.raises(
        CheckpointError, match=r"no checkpoint .* is intact \(ckpt-3: .*ckpt-1: .*restore one"
    ):
        survey_checkpoints(str(saved))
    assert {path.name for path in saved.iterdir()} == before


def test_a_state_file_without_checkpoints(saved):
    for path in saved.glob("ckpt-*"):
        path.unlink()
    with pytest.raises(
        CheckpointError, match="has the file 'checkpoint' of a training run but none of its ckpt-N"
    ):
        survey_checkpoints(str(saved))


@pytest.mark.parametrize(
    "state", [None, b"", b"\xff\xfe", b"model_checkpoint_path", b'model_checkpoint_path: "ckpt-1"\n']
)
def test_what_is_on_disk_counts_not_the_state_file(saved, state):
    (saved / "checkpoint").unlink()
    if state is not None:
        (saved / "checkpoint").write_bytes(state)
    survey, lines = settle(saved)
    assert survey.whole == str(saved / "ckpt-3") == tf.train.latest_checkpoint(str(saved))
    assert lines == ["the file 'checkpoint' did not name the checkpoints that are here, and was rewritten"]
    state = tf.train.get_checkpoint_state(str(saved))
    assert list(state.all_model_checkpoint_paths) == [str(saved / f"ckpt-{step}") for step in (1, 2, 3)]


def test_old_ones_are_pruned_under_a_state_file_that_was_written_anew(saved):
    (saved / "checkpoint").unlink()
    settle(saved)
    checkpoint, step = tf.train.Checkpoint(value=tf.Variable(np.zeros(SIZE))), tf.Variable(4)
    SafeCheckpointManager(checkpoint, str(saved), 2, step, interval=1).save()
    assert {path.name for path in saved.glob("ckpt-*.index")} == {"ckpt-3.index", "ckpt-4.index"}


def test_leftovers_of_a_killed_save_are_removed(saved):
    (saved / "ckpt-4_temp").mkdir()
    (saved / "ckpt-4_temp" / "part-00000-of-00001.index").write_bytes(b"half")
    (saved / "checkpoint.tmp0123").write_bytes(b"half")
    survey, _ = settle(saved)
    assert survey.whole == str(saved / "ckpt-3")
    assert not list(saved.glob("*temp*")) + list(saved.glob("*tmp*"))


def test_a_directory_that_changes_meanwhile(saved):
    survey = survey_checkpoints(str(saved))
    tf.train.Checkpoint(value=tf.Variable(0)).write(str(saved / "ckpt-4"))
    with pytest.raises(CheckpointError, match="another program has written checkpoints"):
        set_aside_damaged(str(saved), survey, print)


def test_an_empty_directory(tmp_path):
    assert survey_checkpoints(str(tmp_path)).whole is None
    assert survey_checkpoints(str(tmp_path / "missing")).whole is None


def test_following_a_training(saved):
    """The newest comes first, then what is added; old ones and those gone by are passed over."""
    stream = new_checkpoints(str(saved), patience=1.5)
    assert next(stream) == str(saved / "ckpt-3")
    tf.train.Checkpoint(value=tf.Variable(0)).write(str(saved / "ckpt-5"))
    assert next(stream) == str(saved / "ckpt-5")
    assert next(stream, None) is None


def test_following_lasts_as_long_as_the_training(saved):
    """Checkpoints may be hours apart; the training's lock tells whether another one can come."""
    stream = new_checkpoints(str(saved), patience=0.1)
    with directory_lock(str(saved), "model_dir", "wait"):
        assert next(stream) == str(saved / "ckpt-3")
        later = threading.Timer(2.5, tf.train.Checkpoint(value=tf.Variable(0)).write, [str(saved / "ckpt-5")])
        later.start()
        assert next(stream) == str(saved / "ckpt-5")
    assert next(stream, None) is None


def test_the_first_checkpoint_is_awaited_while_its_training_runs(tmp_path):
    with directory_lock(str(tmp_path), "model_dir", "wait"):
        later = threading.Timer(
            2.5, tf.train.Checkpoint(value=tf.Variable(0)).write, [str(tmp_path / "ckpt-5")]
        )
        later.start()
        wait_for_checkpoint(str(tmp_path), patience=0.1)
    assert survey_checkpoints(str(tmp_path)).whole == str(tmp_path / "ckpt-5")


def test_where_there_are_no_locks_following_lasts_longer(saved, monkeypatch):
    """A hosted directory cannot tell whether its training still runs."""
    monkeypatch.setattr("tf_simclrv2.training.model_dir.verified_checkpoints.is_in_use", lambda _: None)
    monkeypatch.setattr("tf_simclrv2.training.model_dir.verified_checkpoints._PATIENCE_WITHOUT_LOCKS", 4.0)
    stream, begin = new_checkpoints(str(saved), patience=0.1), time.monotonic()
    assert next(stream) == str(saved / "ckpt-3")
    assert next(stream, None) is None
    assert time.monotonic() - begin >= 4


def test_the_wait_that_was_in_vain_is_the_one_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tf_simclrv2.training.model_dir.verified_checkpoints.is_in_use", lambda _: None)
    monkeypatch.setattr("tf_simclrv2.training.model_dir.verified_checkpoints._PATIENCE_WITHOUT_LOCKS", 2.0)
    with pytest.raises(CheckpointError, match="none appeared within 2 s"):
        wait_for_checkpoint(str(tmp_path), patience=0.1)


def test_following_ends_at_a_damaged_one(saved):
    data_of(saved, 3).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"ckpt-3 is damaged .*resume its training"):
        next(new_checkpoints(str(saved), patience=1.0))
