"""Batches that data services make are those that a training makes alone; a service that goes is noticed."""

import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.services import serving
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import (
    BatchOptions,
    ServiceClient,
    Share,
    SkippedImages,
    distillation_batches,
    finetuning_batches,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.data.pipeline import WHOLE
from tf_simclrv2.data.service import Service
from tf_simclrv2.errors import ConfigError

SIZE, BATCH, STEPS = 8, 12, 9
# Seconds that a client waits for a service that is busy, and for one that has gone, and within which it has
# to give up the latter.
PATIENCE, SHORT_PATIENCE, BOUND = 60.0, 1.0, 60


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("services"), 2) as services:
        yield ",".join(service.address for service in services)


@pytest.fixture
def own_service(tmp_path):
    """A service that a test may end."""
    with serving(tmp_path) as (service,):
        yield service


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty images of five formats in two classes, and three files that are none."""
    root = tmp_path_factory.mktemp("folder")
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(20):
            pixels = noise.integers(0, 256, (10, 14, 3), dtype=np.uint8)
            kind = ("png", "gif", "bmp", "webp", "tiff")[number % 5]
            Image.fromarray(pixels).save(root / name / f"{number}.{kind}")
    for name in ("a/empty.png", "a/text.png", "b/torn.png"):
        (root / name).write_bytes(b"this is no image" if "text" in name else b"")
    config = DataConfig(dataset="image_folder", data_dir=str(root), max_skipped_fraction=0.1)
    return load_source(config, "train"), config


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    config = DataConfig(dataset="digits", data_dir=str(tmp_path_factory.mktemp("digits")))
    return load_source(config, "train[:100]"), config


def client_of(addresses):
    client = ServiceClient.of(DataConfig(tf_data_service=addresses))
    client.patience = PATIENCE
    return client


def assert_same_batches(make, source, client, share=WHOLE):
    """Compares what comes with and without the client: batches, and what was skipped."""
    results = []
    for service in (None, client):
        skipped = SkippedImages(source.num_examples, 0.1)
        options = BatchOptions(SIZE, BATCH, seed=3, share=share, skipped=skipped, service=service)
        batches = make(options)
        results.append((list(batches.take(STEPS).as_numpy_iterator()), skipped.names))
    (alone, alone_skipped), (served, served_skipped) = results
    assert len(alone) == len(served) == STEPS and alone[0].keys() == served[0].keys()
    for one, other in zip(alone, served, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    # Records are read ahead, as far as there is time.
    shorter = min(len(alone_skipped), len(served_skipped))
    assert alone_skipped[:shorter] == served_skipped[:shorter]
    return served_skipped


@pytest.mark.parametrize("count", [1, 2])
def test_pretraining_batches_are_those_of_the_process_alone(addresses, folder, count):
    source, config = folder
    client = client_of(",".join(addresses.split(",")[:count]))

    def make(options):
        return pretraining_batches(source, config, options, start=17)

    skipped = assert_same_batches(make, source, client)
    assert {name.rsplit("/", 1)[1] for name in skipped} == {"empty.png", "text.png", "torn.png"}


def test_other_stages_get_the_same_batches_too(addresses, folder):
    source, config = folder
    client = client_of(addresses)
    assert_same_batches(lambda options: finetuning_batches(source, config, options), source, client)
    assert_same_batches(
        lambda options: distillation_batches(source, source, config, options, labeled_start=5),
        source,
        client,
    )


@pytest.mark.parametrize("cache", [False, True])
def test_datasets_of_records_and_a_cache_are_served(addresses, digits, cache):
    source, config = digits
    config = DataConfig(dataset="digits", data_dir=config.data_dir, cache_dataset=cache)
    assert not assert_same_batches(
        lambda options: pretraining_batches(source, config, options), source, client_of(addresses)
    )


def test_a_worker_of_several_gets_its_own_rows(addresses, folder):
    source, config = folder
    share = Share(workers=2, worker=1, replicas=2)
    assert_same_batches(
        lambda options: pretraining_batches(source, config, options),
        source,
        client_of(addresses),
        share,
    )


def test_services_that_answer_are_waited_for(addresses):
    client_of(addresses).wait(60)


def test_a_service_that_does_not_answer_is_refused():
    with socket.create_server(("localhost", 0)) as silent:
        port = silent.getsockname()[1]
        since = time.monotonic()
        silent_service = client_of(f"grpc://localhost:{port}")
        silent_service.patience = SHORT_PATIENCE
        with pytest.raises(ConfigError, match=rf"no data service answers at localhost:{port} after 1 s"):
            silent_service.wait(1)
    with pytest.raises(ConfigError, match=r"no data service answers .* start one there with python -m"):
        client_of(f"grpc://localhost:{port}").wait(1)
    assert time.monotonic() - since < BOUND


def test_a_service_of_several_workers_is_refused():
    service = Service.start()
    worker = tf.data.experimental.service
    more = worker.WorkerServer(worker.WorkerConfig(service.address.removeprefix("grpc://")))
    with pytest.raises(ConfigError, match="has 2 workers, but only one keeps the order"):
        client_of(service.address).wait(30)
    del more


def test_a_service_that_hangs_ends_the_iteration_and_itself_when_told(own_service, folder):
    source, config = folder
    client = client_of(own_service.address)
    client.wait(60)
    batches = iter(pretraining_batches(source, config, BatchOptions(SIZE, BATCH, service=client)))
    next(batches)
    client.patience = SHORT_PATIENCE
    own_service.process.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    with pytest.raises(tf.errors.OpError):
        for _ in range(10_000):  # Some were made before.
            next(batches)
    assert own_service.address.removeprefix("grpc://") in client.failure
    # What was being waited for when the service stopped is waited for with the longer patience.
    assert time.monotonic() - since < PATIENCE + BOUND
    del batches  # It would keep asking a service that is not there.
    own_service.process.send_signal(signal.SIGCONT)
    own_service.process.terminate()
    assert own_service.process.wait(BOUND) == 0


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as other, pytest.raises(ConfigError, match="cannot be opened"):
        Service.start(other.getsockname()[1])


@pytest.mark.parametrize("address", ["grpc://host", "http://host:1", "grpc://a:1,,grpc://b:2"])
def test_addresses_are_checked(address):
    with pytest.raises(ConfigError, match=r"tf_data_service is .* write grpc://host:port"):
        DataConfig(tf_data_service=address)
