"""Preprocessing on another host: `python -m tf_simclrv2.data.service --port=5050` serves it to trainings.

Runs until SIGTERM (exit code 0) or Ctrl-C (130). Its files have to have the same paths as on the training's
host.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sys
import threading

import tensorflow as tf

from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.config import DataServiceConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.interruption import CtrlC


@dataclasses.dataclass
class Service:
    """A tf.data service of one dispatcher and one worker in this process.

    One worker uses all cores. Each further host runs a service of its own, so that the loss of one is
    noticed and a run knows which batches came from where.

    Attributes:
        dispatcher: What a training asks first.
        worker: What makes the examples.
        address: `grpc://host:port`, for `--tf_data_service`.
    """

    dispatcher: tf.data.experimental.service.DispatchServer
    worker: tf.data.experimental.service.WorkerServer
    address: str

    @classmethod
    def start(cls, port: int = 0, host: str = "localhost") -> Service:
        """Starts a service in this process.

        Args:
            port: Of the dispatcher; the worker takes the next one. 0 takes any two that are free.
            host: The name by which trainings reach this host.

        Raises:
            ConfigError: A port is taken.

        Example:
            >>> Service.start(5050).address
            'grpc://localhost:5050'
        """
        service = tf.data.experimental.service
        worker_port = port + 1 if port else 0
        for number in filter(None, (port, worker_port)):
            _refuse_taken(number)
        dispatcher = service.DispatchServer(service.DispatcherConfig(port=port, protocol="grpc"))
        port = int(dispatcher.target.rsplit(":", 1)[1])
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=f"localhost:{port}",
                worker_address=f"{host}:%port%",
                port=worker_port,
                protocol="grpc",
            )
        )
        return cls(dispatcher, worker, f"grpc://{host}:{port}")


def serve(config: DataServiceConfig) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        config: Where to answer.
    """
    told_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.set())
    tf.config.set_visible_devices([], "GPU")  # They are the training's.
    try:
        service = Service.start(config.port, config.host or socket.gethostname())
    except ConfigError as error:
        sys.exit(f"error: {error}")
    print(f"serving; train with --tf_data_service={service.address}", flush=True)
    while not told_to_stop.wait(1.0):  # A signal that another thread gets does not end a wait.
        pass
    os._exit(0)  # There is nothing to save, and TensorFlow's servers would wait for their clients.


def _refuse_taken(port: int) -> None:
    """As gRPC itself would share the port with the program that has it."""
    try:
        socket.create_server(("", port)).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"port {port} cannot be opened ({error}); stop the program that uses it, or choose another "
            "--port."
        ) from error


if __name__ == "__main__":
    with CtrlC():
        options = ArgumentParser(prog="python -m tf_simclrv2.data.service", description=__doc__)
        options.add_settings(DataServiceConfig)
        serve(DataServiceConfig(**settings_in(options.parse_args(), DataServiceConfig)))
