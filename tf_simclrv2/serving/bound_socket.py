"""The server's port, taken before anything is loaded."""

from __future__ import annotations

import socket

from tf_simclrv2.errors import ConfigError


def bound_socket(host: str, port: int) -> socket.socket:
    """Takes a port for the server.

    Nobody can connect until the server listens, so a client that comes too early gets an error.

    Args:
        host: A name or address of this machine.
        port: 0 takes any that is free.

    Raises:
        ConfigError: The port is in use or not permitted, or the host is not this machine.

    Example:
        >>> bound_socket("127.0.0.1", 0).getsockname()
        ('127.0.0.1', 41531)
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # The latter: no host can have such a name.
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"host is {host!r}, which is not found ({reason}); pass an address of this machine."
        ) from error
    try:
        # Else the port of a server that has just ended would be refused for a minute.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise cannot_listen(host, port, error) from error
    return bound


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """Returns the sentence about a port that cannot be had."""
    return ConfigError(
        f"port {port} of {host} cannot be opened ({error.strerror}); stop the program that uses it, or "
        "choose another --port or --host."
    )


def address_of(bound: socket.socket) -> str:
    """Returns `host:port` as it stands in an address."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
