"""Compiles a program with the TPU's compiler.

    python compiler_process.py PROGRAM TOPOLOGY REPLICAS EFFORT RESULT

It is a process of its own, because the compiler writes its messages straight to the terminal, and may end the
process that it runs in. It needs JAX and libtpu, and neither TensorFlow nor this package.
"""

from __future__ import annotations

# JAX is in the extra `tpu-rehearsal`, not in the lock.
# pyright: reportMissingImports=false
import ctypes
import json
import math
import os
import pathlib
import re
import signal
import sys
import time

# Neither a TPU nor a cloud that describes one is looked for, and others may compile at the same time.
os.environ.update(
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
    JAX_PLATFORMS="cpu",
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
)

CHIPS_PER_HOST = 4
_PR_SET_PDEATHSIG = 1  # Of prctl(2).
_SHAPE = re.compile(r"(pred|bf16|[fsu]\d+)\[([\d,]*)\]")
# `%sum = (f32[8]{0}, f32[4]{0}) all-reduce(…)`. One that overlaps with other work has a start and an end.
_ALL_REDUCE = re.compile(r" = (.*?) all-reduce(?:-start)?\(")
# A computation begins with `%name (…) -> … {`; a loop names its own as `body=%name`.
_COMPUTATION = re.compile(r"^((?:ENTRY )?%?[\w.-]+) \(.*\{$", re.MULTILINE)
_BODY = re.compile(r"body=%?([\w.-]+)")
# `%made = bf16[8,4]{1,0:T(8,128)} fusion(%a, %b), kind=…`
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$", re.MULTILINE)
_OPERAND = re.compile(r"%([\w.-]+)")
_IN_CORE = re.compile(r"\w+\[[\d,]*\]\{[^}]*S\(1\)[^}]*\}")
_MOVE_NOTHING = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional")


def main() -> None:
    """Compiles, and writes what the compiler says of the result, or why it refuses, as JSON."""
    end_with_parent()
    program, topology, replicas, effort, result = sys.argv[1:]
    found = compile_program(pathlib.Path(program).read_text(), topology, int(replicas), float(effort))
    pathlib.Path(result).write_text(json.dumps(found))


def end_with_parent() -> None:
    """Lets the kernel end this process with the one that started it, however that ends (only on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def compile_program(text: str, topology: str, replicas: int, effort: float) -> dict[str, float | str]:
    """Compiles StableHLO for the first devices of a topology.

    Args:
        text: The program of one device.
        topology: For example `v5e:2x4`.
        replicas: Devices.
        effort: How long the compiler looks for a faster program, on its own scale from -1 to 1; 0 is what a
            TPU's run uses.

    Returns:
        Numbers by name: bytes (`arguments`, `outputs`, `shared` by both, `temporaries`, `code`), `flops`,
        `accessed` (bytes read from and written to the device's memory), `all_reduces` and `all_reduced`
        (their bytes), and `seconds` of compiling. Or what the compiler refused: `error`.
    """
    import jax.errors
    import numpy as np
    from jax.experimental.topologies import get_topology_desc
    from jax.interpreters.mlir import make_ir_context
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    options = xla_client.CompileOptions()
    options.num_replicas, options.num_partitions = replicas, 1
    options.device_assignment = xla_client.DeviceAssignment.create(np.arange(replicas).reshape(replicas, 1))
    options.executable_build_options.exec_time_optimization_effort = effort
    start = time.perf_counter()
    try:
        devices = get_topology_desc(topology, platform="tpu", **_of_less_than_a_host(topology)).devices
        with make_ir_context():
            module = ir.Module.parse(text)
        compiled = devices[0].client.compile(
            module, xla_client.DeviceList(tuple(devices[:replicas])), options
        )
    except jax.errors.JaxRuntimeError as error:
        return {"error": str(error)}
    memory, cost = compiled.get_compiled_memory_stats(), compiled.cost_analysis()
    optimized = compiled.hlo_modules()[0].to_string()
    sums = _ALL_REDUCE.findall(optimized)
    return {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "shared": memory.alias_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
        "flops": cost["flops"],
        # The compiler also counts what stays within the core; the other count, slices as a whole.
        "accessed": min(cost["bytes accessed"], memory_traffic(optimized)),
        "all_reduces": len(sums),
        "all_reduced": sum(map(_bytes, sums)),
        "seconds": time.perf_counter() - start,
    }


def memory_traffic(program: str) -> int:
    """Returns the bytes that a compiled program reads from and writes to the device's memory.

    What an instruction within a fusion makes is never written, and an array with `S(1)` in its layout is in
    the core's own memory. The body of a loop counts once.
    """
    total = 0
    computations = _COMPUTATION.split(program)
    bodies = {*_BODY.findall(program)}
    for name, text in zip(computations[1::2], computations[2::2], strict=True):
        if not (name.startswith("ENTRY ") or name.removeprefix("%") in bodies):
            continue
        sizes: dict[str, int] = {}
        for made, shapes, operation, operands in _INSTRUCTION.findall(text):
            sizes[made] = _bytes(_IN_CORE.sub("", shapes))
            if operation in _MOVE_NOTHING or operation.endswith(("-done", "-update")):
                continue
            total += sizes[made]
            if not operation.endswith("-start"):  # Which has its operands among its results.
                names = _OPERAND.findall(operands.partition("), ")[0])
                total += sum(sizes.get(name, 0) for name in names)
    return total


def _of_less_than_a_host(topology: str) -> dict[str, list[int]]:
    """What the compiler wants to know of a slice of less than the four chips of a host."""
    chips = [int(axis) for axis in topology.partition(":")[2].split("x")]
    return {"chips_per_host_bounds": [*chips, 1][:3]} if math.prod(chips) < CHIPS_PER_HOST else {}


def _bytes(shapes: str) -> int:
    """The bytes of arrays that are written as in `(f32[8,4]{1,0}, bf16[2])`."""
    total = 0
    for dtype, axes in _SHAPE.findall(shapes):
        size = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
        for axis in filter(None, axes.split(",")):
            size *= int(axis)
        total += size // 8
    return total


if __name__ == "__main__":
    main()
