"""The message of a worker that has lost another one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tf_simclrv2.errors import RunError
from tf_simclrv2.training.model_dir.verified_checkpoints import where_to_resume

# What collectives end with when a peer's connection breaks or its heartbeats stop.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@contextlib.contextmanager
def lost_worker_explained(workers: int, directory: str) -> Iterator[None]:
    """Turns the errors that the loss of a worker causes into one that says what to do.

    Args:
        workers: How many the run has; with one nothing is changed.
        directory: The model_dir, to name the checkpoint to resume from.

    Raises:
        RunError: A worker went away.
    """
    try:
        yield
    except (*_LOST, RunError) as error:
        # A save that fails because of a lost worker raises a RunError.
        if workers == 1 or (not isinstance(error, _LOST) and not isinstance(error.__cause__, _LOST)):
            raise
        raise RunError(
            f"another of the {workers} workers was lost (see its own output or its host); start all of them "
            f"again with the same command {where_to_resume(directory)}."
        ) from error
