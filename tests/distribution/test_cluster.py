"""TF_CONFIG is checked at once, and absent workers and TPUs are waited for no longer than asked."""

import json
import socket
import time

import pytest

from tests.distribution.workers import free_ports, tf_config
from tf_simclrv2 import ConfigError, RunConfig, RunError
from tf_simclrv2.distribution.cluster import Cluster, cluster_of_environment
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.rendezvous import _listen, answers, wait_for_peers
from tf_simclrv2.distribution.strategy import make_strategy

WORKERS = {"worker": ["a:1", "b:2"]}
TASK = {"type": "worker", "index": 1}
BAD = {
    "no JSON": ("{'cluster': 1}", "is not JSON"),
    "no object": ("[1]", "is not a JSON object"),
    "no lists": ({"cluster": {"worker": "a:1"}, "task": TASK}, "not an object with lists"),
    "no worker": ({"cluster": {"worker": []}, "task": TASK}, "without workers"),
    "no task": ({"cluster": WORKERS}, "no task with a type and an index"),
    "no index": ({"cluster": WORKERS, "task": {"type": "worker"}}, "no task with a type and an index"),
    "index beyond": (
        {"cluster": WORKERS, "task": {"type": "worker", "index": 2}},
        "the task index 2, but the cluster has 2 of type 'worker'",
    ),
    "negative index": (
        {"cluster": WORKERS, "task": {"type": "worker", "index": -1}},
        "index -1, which is not",
    ),
    "evaluator": (
        {"cluster": {**WORKERS, "evaluator": ["c:3"]}, "task": TASK},
        "task type 'evaluator', but only chief and worker are supported",
    ),
    "this is ps": ({"cluster": WORKERS, "task": {"type": "ps", "index": 0}}, "task type 'ps'"),
    "this is no chief": ({"cluster": WORKERS, "task": {"type": "chief", "index": 0}}, "has only worker"),
    "two chiefs": ({"cluster": {"chief": ["c:3", "d:4"]}, "task": TASK}, "2 chiefs"),
    "no port": ({"cluster": {"worker": ["a", "b:2"]}, "task": TASK}, "'a' is not an address"),
    "port too large": ({"cluster": {"worker": ["a:70000"]}, "task": TASK}, "'a:70000' is not an address"),
    "twice": ({"cluster": {"worker": ["a:1", "a:1"]}, "task": TASK}, "names an address twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_cluster_is_refused_at_once(monkeypatch, case):
    value, message = BAD[case]
    monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ConfigError, match=message):
        make_strategy(RunConfig())


def test_the_chief_comes_first(monkeypatch):
    config = {"cluster": {"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "task": TASK}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    cluster = cluster_of_environment()
    assert cluster == Cluster(("c:3", "a:1", "b:2"), 2)
    assert cluster.port == 2 and cluster.peers == ("c:3", "a:1")


@pytest.mark.parametrize("value", ["", "{}", '{"task": {"type": "worker", "index": 0}}'])
def test_without_a_cluster_there_is_one_process(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value)
    assert cluster_of_environment() is None
    with pytest.raises(ConfigError, match="strategy is 'multi_worker', but TF_CONFIG has no cluster"):
        make_strategy(RunConfig(strategy="multi_worker"))


def test_a_peer_that_never_comes_is_named(monkeypatch):
    ports = free_ports(2)
    monkeypatch.setenv("TF_CONFIG", tf_config(ports, 0))
    start = time.monotonic()
    with pytest.raises(
        RunError, match=rf"no worker answers at localhost:{ports[1]} after 0.5 s.*--cluster_t"
    ):
        make_strategy(RunConfig(cluster_timeout=0.5))
    assert time.monotonic() - start < 10


def test_a_peer_that_is_there_is_not_waited_for():
    mine, theirs = free_ports(2)
    start = time.monotonic()
    with socket.create_server(("localhost", theirs)):
        wait_for_peers(Cluster((f"localhost:{mine}", f"localhost:{theirs}"), 0), 60)
    assert time.monotonic() - start < 30


def _has_ipv6() -> bool:
    """Also in a container whose kernel knows IPv6, but that has no address of it."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


IPV6 = pytest.param("[::1]", marks=pytest.mark.skipif(not _has_ipv6(), reason="needs IPv6"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", IPV6])
def test_a_worker_is_found_over_either_protocol(host):
    address = f"{host}:{free_ports(1)[0]}"
    with _listen(Cluster((address,), 0)):
        assert answers(address)
    assert not answers(address)


def test_a_machine_without_ipv6_listens_over_ipv4(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    port = free_ports(1)[0]
    with _listen(Cluster((f"127.0.0.1:{port}",), 0)):
        assert answers(f"127.0.0.1:{port}") and not answers(f"[::1]:{port}")


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(RunError, match=f"port {port} of this worker, localhost:{port}, cannot be opened"):
            wait_for_peers(Cluster((f"localhost:{port}",), 0), 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"virtual_devices": 2}, "virtual_devices is 2, but a worker"),
        ({"mode": "eval"}, "mode is 'eval', which runs in one process, but TF_CONFIG has 2 workers"),
    ],
)
def test_what_several_workers_cannot_do(monkeypatch, settings, message):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": WORKERS, "task": TASK}))
    with pytest.raises(ConfigError, match=message):
        make_strategy(RunConfig(**settings))


def test_mirrored_needs_several_devices(monkeypatch):
    monkeypatch.setattr("tf_simclrv2.distribution.strategy._accelerators_or_cpus", lambda: ["/device:CPU:0"])
    with pytest.raises(ConfigError, match=r"only device here is /device:CPU:0; .*--virtual_devices=N"):
        make_strategy(RunConfig(strategy="mirrored"))


def test_virtual_devices_are_of_the_cpu(monkeypatch):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [kind])
    with pytest.raises(ConfigError, match=r"virtual_devices is 2, but this machine has 1 GPU.*CUDA_VISIBLE"):
        split_cpu(2)


def test_a_tpu_needs_a_name():
    with pytest.raises(
        ConfigError, match=r"strategy is 'tpu', but tpu_name is not set; pass --tpu_name=NAME"
    ):
        make_strategy(RunConfig(strategy="tpu"))


@pytest.mark.parametrize("named", ["no-such-tpu", "address"])
def test_a_tpu_that_does_not_answer_is_not_waited_for(named):
    port = free_ports(1)[0]
    where = {"tpu_name": named} if named != "address" else {"master": f"grpc://localhost:{port}"}
    start = time.monotonic()
    with pytest.raises(RunError, match=r"tpu_name is .*, but no TPU answers to it"):
        make_strategy(RunConfig(**where, cluster_timeout=0.5))
    assert time.monotonic() - start < 30
