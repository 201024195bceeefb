"""The message of a run that has lost a data service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tf_simclrv2.data import ServiceClient
from tf_simclrv2.errors import RunError
from tf_simclrv2.training.model_dir.verified_checkpoints import where_to_resume


@contextlib.contextmanager
def lost_service_explained(service: ServiceClient | None, directory: str) -> Iterator[None]:
    """Turns the error of a pipeline whose service has gone into one that says what to do.

    Args:
        service: Where the examples come from; None if this process makes them.
        directory: The model_dir, to name the checkpoint to resume from.

    Raises:
        RunError: The service went away.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if service is None or not service.failure:
            raise
        raise RunError(
            f"the data service at {service.failure}; restart it, and then this run with the same "
            f"command, or with --tf_data_service= to run without it, {where_to_resume(directory)}."
        ) from error
