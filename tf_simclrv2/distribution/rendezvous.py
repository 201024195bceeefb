"""Waits for all workers of a cluster, but only for a limited time.

TensorFlow's own wait has no limit and does not say which worker is missing. So each worker listens on its
port until it has connected to all others; then TensorFlow's server takes over the port, and later workers
connect to that.
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
    """Waits until the port of every other worker accepts connections.

    Args:
        cluster: The workers.
        timeout: Seconds to wait at most.

    Raises:
        RunError: A worker did not answer, which the message names; or the port of this worker is taken.
    """
    end = time.monotonic() + timeout
    with _listen(cluster):
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
    """Returns whether something listens at `host:port`."""
    try:
        socket.create_connection(split_address(address), timeout).close()
    except OSError:
        return False
    return True


def wait_until_answers(address: str, timeout: float) -> bool:
    """Waits until something listens at `host:port`; returns False if nothing does after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not answers(address):
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL)
    return True


@contextlib.contextmanager
def _listen(cluster: Cluster) -> Iterator[None]:
    dual = socket.has_dualstack_ipv6()  # Addresses may be of IPv6.
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        server = socket.create_server(
            ("", cluster.port), family=family, backlog=len(cluster.addresses), dualstack_ipv6=dual
        )
    except OSError as error:
        raise RunError(
            f"port {cluster.port} of this worker, {cluster.addresses[cluster.rank]}, cannot be opened "
            f"({error.strerror}); stop the program that uses it, or choose another port in TF_CONFIG."
        ) from error
    with server:
        yield
