"""Which checkpoint of a model_dir to resume from: the newest that is whole.

Every tensor is read, and TensorFlow's reader compares each with the checksum in the index. What is on disk
counts, not the small state file `checkpoint`, which may be lost, damaged or outdated.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_simclrv2.directory_lock import is_in_use
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.weights.checkpoint_reader import CheckpointReader

STATE_FILE = "checkpoint"
_FILE = re.compile(r"ckpt-(\d+)\.(index|data-\d+-of-\d+)")
# Files of a save that was killed: not a checkpoint, and read by nothing.
_LEFTOVER = re.compile(r"ckpt-\d+_temp/?|checkpoint\.tmp.*")
# Seconds between looks at a directory in which another program writes.
_POLL = 1.0
_SECOND_LOOK = 3.0
# Where there are no locks, only the next checkpoint shows that a training goes on.
_PATIENCE_WITHOUT_LOCKS = 3600.0


@dataclasses.dataclass(frozen=True)
class Survey:
    """The checkpoints of a model_dir.

    Attributes:
        steps: Steps of all of them, newest first.
        whole: Prefix of the newest that can be read; None without any.
        damaged: Why each newer one cannot, by step.
    """

    steps: tuple[int, ...]
    whole: str | None
    damaged: dict[int, str]


def checkpoint_steps(directory: str) -> list[int]:
    """Returns the steps of all checkpoints of which any file exists, newest first."""
    return sorted(_files(directory), reverse=True)


def checkpoint_files(prefix: str) -> list[str]:
    """Returns the ends of the names of a checkpoint's files, such as `index`."""
    directory, name = os.path.split(prefix)
    return _files(directory).get(int(name.removeprefix("ckpt-")), [])


def where_to_resume(directory: str) -> str:
    """Returns the end of an error message: where the run would resume."""
    steps = checkpoint_steps(directory)
    return f"to resume from ckpt-{steps[0]}" if steps else "to start over, as no checkpoint was saved yet"


def survey_checkpoints(directory: str) -> Survey:
    """Reads checkpoints, from the newest on, until one is whole. Changes nothing.

    Args:
        directory: It need not exist.

    Raises:
        CheckpointError: There are, or were, checkpoints, but none is whole.
    """
    steps, damaged = checkpoint_steps(directory), {}
    for step in steps:
        reason = why_damaged(_prefix(directory, step))
        if reason is None:
            return Survey(tuple(steps), _prefix(directory, step), damaged)
        damaged[step] = reason
    if steps:
        reasons = "; ".join(f"ckpt-{step}: {reason}" for step, reason in damaged.items())
        raise CheckpointError(
            f"no checkpoint in model_dir {directory!r} is intact ({reasons}); restore one from a backup, or "
            "use another --model_dir to start from the beginning."
        )
    if tf.io.gfile.exists(os.path.join(directory, STATE_FILE)):
        raise CheckpointError(
            f"model_dir {directory!r} has the file '{STATE_FILE}' of a training run but none of its ckpt-N; "
            "restore them, or use another --model_dir to start from the beginning."
        )
    return Survey((), None, {})


def why_damaged(prefix: str) -> str | None:
    """Reads every tensor of a checkpoint, and returns why it cannot be read; None if it can."""
    if not tf.io.gfile.exists(prefix + ".index"):
        return "its .index is missing"
    try:
        reader = CheckpointReader(prefix)
        for key in reader.shapes:
            reader.tensor(key)
    except CheckpointError as error:
        return str(error.__cause__).strip().split("\n")[0]
    return None


def set_aside_damaged(directory: str, survey: Survey, say: Callable[[str], None]) -> None:
    """Renames what the survey found damaged, and makes the state file name what is whole.

    To be called by the only program that writes into the directory.

    Args:
        directory: The surveyed one.
        survey: What was found.
        say: Where lines for the user go.

    Raises:
        CheckpointError: The directory has changed since it was surveyed.
    """
    if tuple(checkpoint_steps(directory)) != survey.steps:
        raise CheckpointError(
            f"another program has written checkpoints into model_dir {directory!r} while this one started; "
            "start it again."
        )
    _remove_leftovers(directory)
    for step, reason in survey.damaged.items():
        say(f"ckpt-{step} is damaged ({reason}); set aside as {_set_aside(directory, step)}.*")
    if survey.whole is None:
        return
    kept = [_prefix(directory, step) for step in sorted(set(survey.steps) - set(survey.damaged))]
    kept = [prefix for prefix in kept if tf.io.gfile.exists(prefix + ".index")]
    stated = _stated(directory)
    if stated == kept:
        return
    if not survey.damaged:
        say(f"the file '{STATE_FILE}' did not name the checkpoints that are here, and was rewritten")
    tf.compat.v1.train.update_checkpoint_state(
        directory,
        os.path.basename(survey.whole),
        [os.path.basename(prefix) for prefix in kept],
        # Without its time, a manager takes a checkpoint for one to keep for ever.
        all_model_checkpoint_timestamps=[
            tf.io.gfile.stat(prefix + ".index").mtime_nsec / 1e9 for prefix in kept
        ],
    )


def wait_for_checkpoint(directory: str, patience: float) -> None:
    """Waits until a directory has a checkpoint, as a training that has just started will save one.

    Args:
        directory: A model_dir.
        patience: Seconds to wait while no program trains there. Where there are no locks, so that nobody
            knows, it waits an hour.

    Raises:
        CheckpointError: There is no such directory, or no checkpoint came.
    """
    if not tf.io.gfile.isdir(directory):
        raise CheckpointError(
            f"model_dir is {directory!r}, which does not exist; name the directory of a training run."
        )
    since = time.monotonic()
    while not _saved_steps(directory):
        if _nothing_comes(directory, since, patience):
            raise CheckpointError(
                f"there is no checkpoint in model_dir {directory!r}, and none appeared within "
                f"{_patience(directory, patience):g} s; start its training first."
            )
        time.sleep(_POLL)


def new_checkpoints(directory: str, patience: float) -> Iterator[str]:
    """Yields checkpoints as another program saves them; if several are new, only the newest.

    Args:
        directory: A model_dir.
        patience: Seconds to wait for the next while no program trains there; an hour without locks.

    Yields:
        Prefixes that can be read.

    Raises:
        CheckpointError: One is damaged, and stays so.
    """
    seen, since = -1, time.monotonic()
    while not _nothing_comes(directory, since, patience):
        step = max(_saved_steps(directory), default=-1)
        if step <= seen:
            time.sleep(_POLL)
            continue
        if not is_still_whole(_prefix(directory, step)):
            continue  # It is gone.
        yield _prefix(directory, step)
        seen, since = step, time.monotonic()


def _nothing_comes(directory: str, since: float, patience: float) -> bool:
    """Whether to wait no longer for a checkpoint that was awaited since a time of the monotonic clock."""
    waited = time.monotonic() - since
    return waited >= patience and waited >= _patience(directory, patience)


def _patience(directory: str, patience: float) -> float:
    """How many seconds to wait, by whether a program trains there."""
    training = is_in_use(directory)
    if training is None:
        return _PATIENCE_WITHOUT_LOCKS
    return math.inf if training else patience


def is_still_whole(prefix: str) -> bool:
    """Returns whether a checkpoint can be read; False if it is gone by now.

    One that is being written, or removed, gets a second look.

    Raises:
        CheckpointError: It is damaged, and stays so.
    """
    for wait in (0.0, _SECOND_LOOK):
        time.sleep(wait)
        reason = why_damaged(prefix)
        if reason is None:
            return True
        if not tf.io.gfile.exists(prefix + ".index"):
            return False
    raise CheckpointError(
        f"checkpoint {prefix} is damaged ({reason}); resume its training, which sets it aside and continues "
        "from the one before, or restore a copy of it."
    )


def _prefix(directory: str, step: int) -> str:
    return os.path.join(directory, f"ckpt-{step}")


def _saved_steps(directory: str) -> list[int]:
    """Steps of checkpoints with an index, which TensorFlow writes last."""
    return [step for step, names in _files(directory).items() if "index" in names]


def _files(directory: str) -> dict[int, list[str]]:
    """What there is of each checkpoint: the ends of its files' names by step."""
    found: dict[int, list[str]] = {}
    for name in _names(directory):
        match = _FILE.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), []).append(match[2])
    return found


def _names(directory: str) -> list[str]:
    return tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []


def _stated(directory: str) -> list[str]:
    """What the state file names, oldest first; empty where it cannot be read or contradicts itself."""
    try:
        state = tf.train.get_checkpoint_state(directory)
    except (ValueError, tf.errors.OpError):  # Not even text.
        return []
    if state is None or state.model_checkpoint_path not in state.all_model_checkpoint_paths[-1:]:
        return []
    return list(state.all_model_checkpoint_paths)


def _set_aside(directory: str, step: int) -> str:
    """Renames the files of a checkpoint, over nothing that was set aside before; the new prefix."""
    taken = {name.rsplit(".", 1)[0] for name in _names(directory)}
    names = (f"ckpt-{step}.damaged{suffix}" for suffix in ("", *(f"-{i}" for i in range(2, 10**6))))
    new = next(name for name in names if name not in taken)
    for end in _files(directory)[step]:
        source, target = _prefix(directory, step), os.path.join(directory, new)
        tf.io.gfile.rename(f"{source}.{end}", f"{target}.{end}")
    return new


def remove_checkpoint(prefix: str) -> None:
    """Removes the files of one checkpoint, and none whose names only begin alike."""
    directory, name = os.path.split(prefix)
    for file in _names(directory):
        match = _FILE.fullmatch(file)
        if match and file == f"{name}.{match[2]}":
            tf.io.gfile.remove(os.path.join(directory, file))


def _remove_leftovers(directory: str) -> None:
    for name in _names(directory):
        if _LEFTOVER.fullmatch(name):
            remove_leftover(os.path.join(directory, name.rstrip("/")))


def remove_leftover(path: str) -> None:
    """Removes a file or folder, if it is there."""
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)
