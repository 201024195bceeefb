"""Computes the examples of concurrent requests together, and keeps their faults apart."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tf_simclrv2.serving.module_errors import as_refusal
from tf_simclrv2.serving.refusal import Refusal
from tf_simclrv2.serving.signature import Signature, Tensors

# Of the numbers in a call of several requests: images of any size may come, and a network takes many times
# their memory.
MOST_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    """Examples of one request that wait to be computed.

    Attributes:
        signature: What computes them.
        inputs: Its inputs.
        size: The number of examples.
        key: Jobs with the same one can share a call; None if this one cannot.
        arrival: The time of the event loop.
        outputs: Receives what was computed, or the error.
        examples: Which examples of the request they are, if not all.
    """

    signature: Signature
    inputs: Tensors
    size: int
    key: Hashable
    arrival: float
    outputs: asyncio.Future[Tensors]
    examples: str = ""

    @property
    def num_bytes(self) -> int:
        """Of its numbers; files are decoded one by one."""
        return sum(value.nbytes for value in self.inputs.values())


class Batcher:
    """One thread that calls signatures, with the examples of as many requests as are waiting.

    A computation uses all cores, so one at a time is as fast as several and takes less memory. Requests are
    answered in the order in which they came, apart from those that join an earlier one.

    Args:
        batch_size: Most examples in a call; a request with more is computed in parts.
        timeout: Seconds that a request waits for others to join it.

    Example:
        >>> async with Batcher(32, 0.002) as batcher:
        ...     outputs = await batcher.compute(signature, {"images": images})
    """

    def __init__(self, batch_size: int, timeout: float) -> None:
        self._batch_size = batch_size
        self._timeout = timeout
        self._jobs: collections.deque[_Job] = collections.deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signatures")

    async def __aenter__(self) -> Batcher:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._thread.shutdown(cancel_futures=True)

    async def compute(self, signature: Signature, inputs: Tensors) -> Tensors:
        """Computes a request, together with others where that is possible.

        Args:
            signature: What to call.
            inputs: By name, of the signature's dtypes and shapes.

        Raises:
            Refusal: The module refuses the inputs.
        """
        jobs = self._jobs_of(signature, inputs)
        self._jobs.extend(jobs)
        self._arrived.set()
        parts = await asyncio.gather(*(job.outputs for job in jobs))
        return _joined(parts)

    def _jobs_of(self, signature: Signature, inputs: Tensors) -> list[_Job]:
        loop = asyncio.get_running_loop()
        size = signature.num_examples(inputs)
        if size is None:
            return [_Job(signature, inputs, 1, None, loop.time(), loop.create_future())]
        key = (signature, *(value.shape[1:] for value in inputs.values()))
        jobs = []
        for start in range(0, size, self._batch_size):
            stop = min(start + self._batch_size, size)
            part = {name: value[start:stop] for name, value in inputs.items()}
            examples = "" if stop - start == size else f"of examples {start} to {stop - 1}"
            jobs.append(_Job(signature, part, stop - start, key, loop.time(), loop.create_future(), examples))
        return jobs

    async def _run(self) -> None:
        while True:
            await self._wait_for_a_batch()
            batch = self._take_batch()
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._thread, _answers, batch)
            for job, answer in zip(batch, answers, strict=True):
                if job.outputs.done():  # Its request was canceled.
                    continue
                if isinstance(answer, Exception):
                    job.outputs.set_exception(as_refusal(answer, job.examples))
                else:
                    job.outputs.set_result(answer)

    async def _wait_for_a_batch(self) -> None:
        """Until there is a job, and either a full batch or no time left for others to join it."""
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            left = self._jobs[0].arrival + self._timeout - loop.time() if self._jobs else None
            if left is not None and (left <= 0 or self._is_full()):
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def _is_full(self) -> bool:
        first = self._jobs[0]
        joined = sum(job.size for job in self._jobs if job.key == first.key)
        return first.key is None or joined >= self._room(first)

    def _room(self, job: _Job) -> int:
        """How many examples like those of a job fit into a call, at least its own."""
        return max(job.size, min(self._batch_size, MOST_BYTES * job.size // max(1, job.num_bytes)))

    def _take_batch(self) -> list[_Job]:
        """Takes the first job, and those that can join it, in their order."""
        first = self._jobs.popleft()
        batch, size, room = [first], first.size, self._room(first)
        rest: list[_Job] = []
        for job in self._jobs:
            if first.key is not None and job.key == first.key and size + job.size <= room:
                batch.append(job)
                size += job.size
            else:
                rest.append(job)
        self._jobs = collections.deque(rest)
        return batch


def _answers(jobs: Sequence[_Job]) -> list[Tensors | Exception]:
    """Computes jobs that share a call; where that fails, halves apart, until the faulty ones are alone."""
    try:
        return _computed(jobs)
    except Exception as error:  # Whatever it is, it belongs to the job that raises it alone.
        if len(jobs) == 1:
            return [error]
        middle = len(jobs) // 2
        return _answers(jobs[:middle]) + _answers(jobs[middle:])


def _computed(jobs: Sequence[_Job]) -> list[Tensors | Exception]:
    signature = jobs[0].signature
    outputs = signature(_joined([job.inputs for job in jobs]))
    if len(jobs) == 1 and not jobs[0].examples:
        return [outputs]
    ends = np.cumsum([job.size for job in jobs])
    if any(output.shape[:1] != (ends[-1],) for output in outputs.values()):
        raise Refusal(
            f"signature {signature.name} does not answer example by example; send at most {jobs[0].size}."
        )
    parts = {name: np.split(output, ends[:-1]) for name, output in outputs.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(len(jobs))]


def _joined(parts: Sequence[Tensors]) -> Tensors:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
