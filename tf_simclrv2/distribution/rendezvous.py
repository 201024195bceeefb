"""Waits, for a bounded time, until all processes of a cluster are there.

TensorFlow's own wait cannot be ended and names nobody. So each process listens on its port, where its
peers see it, until it has seen them all; TensorFlow's server then takes the port over. Whoever is late finds
that one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from tf_simclrv2.distribution.cluster import Cluster, split_address
from tf_simclrv2.errors import RunError

_POLL = 0.1
_ATTEMPT = 2.0


def wait_for_peers(cluster: Cluster, timeout: float) -> None:
    """Returns when every peer's port answers.

    Args:
        cluster: The processes.
        timeout: Seconds to wait at most.

    Raises:
        RunError: A peer did not come, by its address; or this process's own port is taken.
    """
    end = time.monotonic() + timeout
    with _listening(cluster):
        missing = list(cluster.peers)
        while missing:
            missing = [address for address in missing if not answers(address)]
            if missing and time.monotonic() >= end:
                raise RunError(
                    f"no worker answers at {', '.join(missing)} after {timeout:g} s (cluster_timeout); start "
                    "it, correct its address in TF_CONFIG, or wait longer with --cluster_timeout=SECONDS."
                )
            time.sleep(_POLL if missing else 0.0)


def answers(address: str, timeout: float = _ATTEMPT) -> bool:
    """Whether something listens at `host:port`."""
    try:
        socket.create_connection(split_address(address), timeout).close()
    except OSError:
        return False
    return True


def wait_until_answers(address: str, timeout: float) -> bool:
    """Whether something listens at `host:port`, now or within so many seconds."""
    end = time.monotonic() + timeout
    while not answers(address):
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL)
    return True


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[None]:
    try:
        server = socket.create_server(("", cluster.port), backlog=len(cluster.addresses))
    except OSError as error:
        raise RunError(
            f"port {cluster.port} of this worker, {cluster.addresses[cluster.rank]}, cannot be opened "
            f"({error.strerror}); end the program that has it or choose another port in TF_CONFIG."
        ) from error
    with server:
        yield
