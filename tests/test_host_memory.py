"""Free memory is that of a container, if it has a limit."""

from __future__ import annotations

import pathlib

import psutil
import pytest

from tf_simclrv2 import host_memory


@pytest.fixture
def cgroup(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path)
    return tmp_path


def write(folder: pathlib.Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)


def test_without_a_container_it_is_the_machines(cgroup: pathlib.Path) -> None:
    assert host_memory.total_memory() == psutil.virtual_memory().total
    assert host_memory.free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_limit_counts_without_the_cache(cgroup: pathlib.Path) -> None:
    write(cgroup, max=f"{2**30}\n", current="700000000\n", stat="anon 1\ninactive_file 300000000\n")
    assert host_memory.total_memory() == 2**30
    assert host_memory.free_memory() == 2**30 - 400_000_000


def test_the_older_version(cgroup: pathlib.Path) -> None:
    write(
        cgroup / "memory",
        limit_in_bytes=f"{2**30}\n",
        usage_in_bytes="700000000\n",
        stat="cache 5\ntotal_inactive_file 0\n",
    )
    assert host_memory.free_memory() == 2**30 - 700_000_000


@pytest.mark.parametrize("limit", ["max", str(2**62)])
def test_no_limit(cgroup: pathlib.Path, limit: str) -> None:
    write(cgroup, max=limit, current="5", stat="inactive_file 0\n")
    assert host_memory.total_memory() == psutil.virtual_memory().total


def test_a_container_that_is_full_has_none(cgroup: pathlib.Path) -> None:
    write(cgroup, max="100", current="200", stat="inactive_file 0\n")
    assert host_memory.free_memory() == 0
