"""Reads the cluster that TF_CONFIG describes: its workers, and which of them this process is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any

from tf_simclrv2.errors import ConfigError

VARIABLE = "TF_CONFIG"
# The chief comes first, as in TensorFlow.
ROLES = ("chief", "worker")
_ADDRESS = re.compile(r"(.+):(\d{1,5})")
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}} '
    "with another index on each host"
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The worker processes of a run.

    Attributes:
        addresses: `host:port` of each worker, the chief's first.
        rank: The index of this process in `addresses`.

    Example:
        >>> os.environ["TF_CONFIG"] = (
        ...     '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
        >>> cluster_of_environment().peers
        ('a:1',)
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def port(self) -> int:
        """The port on which this process listens."""
        return split_address(self.addresses[self.rank])[1]

    @property
    def peers(self) -> tuple[str, ...]:
        """The addresses of the other workers."""
        return (*self.addresses[: self.rank], *self.addresses[self.rank + 1 :])


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` into host and port.

    Raises:
        ConfigError: It is not such an address.
    """
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match[2]) < 2**16:
        raise ConfigError(f"{address!r} is not an address; expected host:port, for example 'localhost:2222'.")
    return match[1].strip("[]"), int(match[2])


def cluster_of_environment() -> Cluster | None:
    """Reads the cluster from TF_CONFIG.

    Returns:
        The cluster; None if TF_CONFIG is not set or has no cluster.

    Raises:
        ConfigError: TF_CONFIG is not JSON, is incomplete, or assigns this process an index outside the
            cluster.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise _refusal(f"is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise _refusal("is not a JSON object")
    if not values.get("cluster"):
        return None
    jobs, role, index = _jobs(values["cluster"]), *_task(values.get("task"))
    if role not in jobs:
        raise _refusal(f"has the task type {role!r}, but its cluster has only {', '.join(jobs)}")
    if index >= len(jobs[role]):
        raise _refusal(f"has the task index {index}, but the cluster has {len(jobs[role])} of type {role!r}")
    addresses = tuple(address for name in ROLES for address in jobs.get(name, ()))
    before = len(jobs.get("chief", ())) if role == "worker" else 0
    return Cluster(addresses, before + index)


def _jobs(cluster: Any) -> dict[str, list[str]]:
    if not isinstance(cluster, dict) or not all(isinstance(hosts, list) for hosts in cluster.values()):
        raise _refusal("has a cluster that is not an object with lists of addresses")
    unknown = sorted(set(cluster) - set(ROLES))
    if unknown:
        raise _refusal(f"has the task type {unknown[0]!r}, but only {' and '.join(ROLES)} are supported")
    if len(cluster.get("chief", [])) > 1:
        raise _refusal(f"has {len(cluster['chief'])} chiefs, but at most one is allowed")
    addresses = [address for hosts in cluster.values() for address in hosts]
    if not addresses:
        raise _refusal("has a cluster without workers")
    for address in addresses:
        split_address(address)
    if len(set(addresses)) < len(addresses):
        raise _refusal("names an address twice")
    return cluster


def _task(task: Any) -> tuple[str, int]:
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise _refusal("has no task with a type and an index")
    if task["type"] not in ROLES:
        raise _refusal(f"has the task type {task['type']!r}, but only {' and '.join(ROLES)} are supported")
    index = task["index"]
    if isinstance(index, bool) or not isinstance(index, int | str) or not str(index).isdigit():
        raise _refusal(f"has the task index {index!r}, which is not a whole number of at least 0")
    return task["type"], int(index)


def _refusal(problem: str) -> ConfigError:
    return ConfigError(f"{VARIABLE} {problem}; set it to, for example, {_EXAMPLE}.")
