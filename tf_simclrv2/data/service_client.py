"""A training's side of tf.data services: examples in their order, and an end where a service has gone.

TensorFlow's client retries forever when a service has gone, and cannot be stopped. So every call to a service
runs in a thread that can be abandoned.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.share import Share
from tf_simclrv2.data.source import Record
from tf_simclrv2.distribution.rendezvous import answers, wait_until_answers
from tf_simclrv2.errors import ConfigError

_Value = TypeVar("_Value")
# Examples sent together, and seconds without an answer after which a service counts as lost.
CHUNK = 32
PATIENCE = 10.0


@dataclasses.dataclass
class ServiceClient:
    """Services, `tf_simclrv2.data.service`, that make a training's examples.

    They take turns: of every n chunks of records each service makes its own, and here they come back into
    their order. So examples are the same for any number of services, and the same as without.

    Attributes:
        addresses: `host:port` of each.
        patience: Seconds to wait for an answer before a service counts as lost.
        failure: Which service went away during the training and how; "" while none did.
    """

    addresses: tuple[str, ...]
    patience: float = PATIENCE
    failure: str = ""

    @classmethod
    def of(cls, config: DataConfig) -> ServiceClient | None:
        """Returns the services that a config names; None if it names none."""
        return cls(config.service_addresses) if config.tf_data_service else None

    def wait(self, timeout: float) -> None:
        """Waits until all services answer.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            ConfigError: One does not answer, or has several workers, each of which would make all examples.
        """
        end = time.monotonic() + timeout
        for address in self.addresses:
            reached = wait_until_answers(address, end - time.monotonic())
            workers = _count_workers(address, max(end - time.monotonic(), self.patience)) if reached else 0
            if not workers:
                raise ConfigError(
                    f"no data service answers at {address} after {timeout:g} s (cluster_timeout); start one "
                    "there with python -m tf_simclrv2.data.service, correct --tf_data_service, or wait "
                    "longer with --cluster_timeout=SECONDS."
                )
            if workers > 1:
                raise ConfigError(
                    f"the data service at {address} has {workers} workers, but only one keeps the order; "
                    "start a python -m tf_simclrv2.data.service on each host and give all their addresses "
                    "to --tf_data_service, separated by commas."
                )

    def examples(self, records: tf.data.Dataset, prepare: Callable[[Record], Record]) -> tf.data.Dataset:
        """Returns `records.map(prepare)`, computed by the services.

        If a service goes away, the iterator raises a `tf.errors.OpError`, and `failure` says which and why.

        Args:
            records: Endless, and in a fixed order.
            prepare: Of TensorFlow's ops, since it runs in another program, and of the one function of Python
                that this program has too, which reads other formats.
        """
        count = len(self.addresses)
        parts = [
            self._part(Share(count, number, count).of(records, count * CHUNK), prepare, address)
            for number, address in enumerate(self.addresses)
        ]
        turns = tf.data.Dataset.range(count).repeat()
        return tf.data.Dataset.choose_from_datasets(parts, turns).unbatch()

    def _part(
        self, records: tf.data.Dataset, prepare: Callable[[Record], Record], address: str
    ) -> tf.data.Dataset:
        """The chunks that one service makes."""
        chunks = (
            records.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(CHUNK, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )

        def received() -> Iterator[Record]:
            # Registering the dataset may not return either, so it runs in the thread too.
            iterator = self._answer(_in_background(lambda: iter(_served(chunks, address))), address)
            pending = _in_background(lambda: next(iterator))
            while True:
                chunk = self._answer(pending, address)
                pending = _in_background(lambda: next(iterator))
                yield chunk

        return tf.data.Dataset.from_generator(received, output_signature=chunks.element_spec)

    def _answer(self, pending: Future[_Value], address: str) -> _Value:
        """The result of what was asked for; it may take any time as long as the service is there."""
        while True:
            try:
                return pending.result(self.patience)
            except TimeoutError:
                if not _count_workers(address, self.patience):
                    self.failure = f"{address} has not answered for {self.patience:g} s"
                    raise
            except tf.errors.OpError as error:
                self.failure = f"{address} failed ({(error.message or type(error).__name__).splitlines()[0]})"
                raise


def _served(dataset: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """The dataset, computed by the service at that address."""
    # Uncompressed: noise of floats hardly shrinks.
    distribute = tf.data.experimental.service.distribute(
        processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
        service=f"grpc://{address}",
        compression=None,
    )
    return dataset.apply(distribute)


def _count_workers(address: str, timeout: float) -> int:
    """Returns how many workers a service has; 0 if it does not answer in time."""
    if not answers(address):
        return 0
    one = tf.data.Dataset.range(1)
    counting = _in_background(lambda: len(list(_served(one, address))))  # Each worker goes through it.
    try:
        return counting.result(timeout)
    except (TimeoutError, tf.errors.OpError):
        return 0


def _in_background(work: Callable[[], _Value]) -> Future[_Value]:
    """Starts the work in a thread that does not keep the program from ending."""
    future: Future[_Value] = Future()

    def attempt() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=attempt, daemon=True).start()
    return future
