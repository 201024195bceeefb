"""How long TensorFlow's operations took, from the file that its profiler leaves."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# TensorFlow renames operations that oneDNN computes.
ONEDNN_PREFIXES = ("_MklNative", "_Mkl")


@dataclasses.dataclass(frozen=True)
class OpCall:
    """An operation that ran once.

    Attributes:
        name: In the graph, with its scopes.
        type: Such as `Conv2D`; the same whether oneDNN computed it or not.
        seconds: Of its kernel on the thread that ran it, without operations that ran inside it.
    """

    name: str
    type: str
    seconds: float


def profile(run: Callable[[], object], folder: pathlib.Path) -> list[OpCall]:
    """Runs something under the profiler.

    Args:
        run: Returns when its work is done.
        folder: Empty; the profiler writes here, and `kernel_times.kernel_calls` finds what a GPU did.

    Returns:
        All calls of operations on the CPU, in no order.
    """
    tf.profiler.experimental.start(str(folder))
    try:
        run()
    finally:
        tf.profiler.experimental.stop()
    return op_calls(folder)


def planes(folder: pathlib.Path, start: str) -> Iterator[xplane_pb2.XPlane]:
    """The devices in the .xplane.pb files under a folder whose names start so."""
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        yield from (plane for plane in space.planes if plane.name.startswith(start))


def op_calls(folder: pathlib.Path) -> list[OpCall]:
    """The calls on the CPU that are recorded in the .xplane.pb files under a folder."""
    calls: list[OpCall] = []
    for plane in planes(folder, "/host:CPU"):
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for thread in plane.lines:
            calls += _calls_of_thread(thread.events, names)
    return calls


def _calls_of_thread(events: Iterable[xplane_pb2.XEvent], names: dict[int, str]) -> Iterator[OpCall]:
    """Calls, less what ran inside them: a call that starts before another ends is within it."""
    found = [(event, names[event.metadata_id]) for event in events if _is_op(names[event.metadata_id])]
    found.sort(key=lambda pair: (pair[0].offset_ps, -pair[0].duration_ps))
    own = [event.duration_ps for event, _ in found]
    outer: list[int] = []
    for i, (event, _) in enumerate(found):
        while outer and _end(found[outer[-1]][0]) <= event.offset_ps:
            outer.pop()
        if outer:
            own[outer[-1]] -= event.duration_ps
        outer.append(i)
    for (_, text), picoseconds in zip(found, own, strict=True):
        name, _, type_ = text.rpartition(":")
        yield OpCall(name, _plain(type_), picoseconds / 1e12)


def _end(event: xplane_pb2.XEvent) -> int:
    return event.offset_ps + event.duration_ps


def _is_op(text: str) -> bool:
    """Kernels are recorded as `name:type`; C++ names, such as `ExecutorState::Process`, are no kernels."""
    name, _, type_ = text.rpartition(":")
    return bool(name) and not name.endswith(":") and type_.isidentifier()


def _plain(type_: str) -> str:
    for prefix in ONEDNN_PREFIXES:
        if type_.startswith(prefix):
            return type_.removeprefix(prefix)
    return type_
