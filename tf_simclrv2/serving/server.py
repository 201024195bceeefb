"""Runs the server: loads the model, answers requests until it is asked to stop, and finishes pending ones."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import Iterator

import uvicorn

from tf_simclrv2.errors import EXIT_INTERRUPTED
from tf_simclrv2.interruption import end_as_it_stands
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.serving.bound_socket import address_of, cannot_listen
from tf_simclrv2.serving.module_versions import find_versions
from tf_simclrv2.serving.patient_protocol import PatientProtocol
from tf_simclrv2.serving.rest_api import RestApi
from tf_simclrv2.serving.serve_config import ServeConfig
from tf_simclrv2.serving.served_model import ServedModel, load_model

# Seconds to finish pending requests after the server was asked to stop.
GRACE = 30


def serve(config: ServeConfig, bound: socket.socket, say: Say) -> None:
    """Serves a module until SIGTERM or Ctrl-C; what has been asked by then is still answered.

    Args:
        config: What to serve.
        bound: The socket to listen at, from `bound_socket`.
        say: Receives lines for the user.

    Raises:
        ConfigError: Another program listens at the port.
        ExportError: There is no module, or it cannot be loaded.

    Example:
        >>> config = ServeConfig("exports/digits")
        >>> serve(config, bound_socket(config.host, config.port), print)
    """
    with tempfile.TemporaryDirectory() as unpacked:
        with phase("loading the module", say):
            model = load_model(find_versions(config.module, unpacked), config.name)
        try:
            bound.listen()
        except OSError as error:
            raise cannot_listen(config.host, config.port, error) from error
        say(_greeting(model, bound))
        asyncio.run(Server(model, config).serve([bound]))
        say("stopped")


class Server(uvicorn.Server):
    """Uvicorn with a model, which ends with exit code 0 when it is asked to stop.

    Args:
        model: What is served.
        config: Limits of requests.
    """

    def __init__(self, model: ServedModel, config: ServeConfig) -> None:
        super().__init__(
            uvicorn.Config(
                RestApi(model, config).app,
                # It drops the rest of a request that was refused early, so that the client reads why.
                http=PatientProtocol,
                ws="none",
                log_config=None,
                log_level="critical",  # RestApi says what failed.
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops at the first signal; Ctrl-C again does not wait. Uvicorn would raise the signal once more."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ValueError, RuntimeError):  # Outside of the main thread there are none.
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: signal.Signals) -> None:
        if self.should_exit and number == signal.SIGINT:
            end_as_it_stands("stopped by Ctrl-C before everything was answered", EXIT_INTERRUPTED)
        self.should_exit = True


def _greeting(model: ServedModel, bound: socket.socket) -> str:
    numbers = ", ".join(map(str, model.versions))
    what = f"version{'s' if len(model.versions) > 1 else ''} {numbers}"
    return f"serving {what} at http://{address_of(bound)}/v1/models/{model.name}; Ctrl-C stops it"
