"""What is made of the compiler's words."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

import keras
import psutil
import pytest
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.rehearsal import compiled_step
from tf_simclrv2.rehearsal.compiled_step import _key, _step, compile_step, make_cache
from tf_simclrv2.rehearsal.compiler_process import _ALL_REDUCE, _bytes, memory_traffic
from tf_simclrv2.rehearsal.step_program import step_program
from tf_simclrv2.rehearsal.tpu_slice import GIB, parse_slice

V5E = parse_slice("v5e-8")


@pytest.mark.parametrize(
    "error, used",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
            "(16.07G) exceeds available HBM (15.75G).",
            16.07,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
            "Used 27.47G of 15.75G hbm. Exceeded hbm capacity by 11.72G.",
            27.47,
        ),
        ("RESOURCE_EXHAUSTED: Used 1.20T of 15.75G hbm. Exceeded hbm capacity by 1.18T.", 1.2 * 1024),
    ],
)
def test_a_program_that_is_too_large(error: str, used: float) -> None:
    step = _step({"error": error}, V5E)
    assert not step.fits
    assert (step.used, step.limit) == (pytest.approx(used * GIB), 15.75 * GIB)
    assert step.counts_all == ("temporaries" not in error)


def test_another_memory_than_the_devices_is_another_reason() -> None:
    with pytest.raises(RunError, match=r"refuses the step \(RESOURCE_EXHAUSTED: Used 28.95M of 16.00M vmem"):
        _step({"error": "RESOURCE_EXHAUSTED: Used 28.95M of 16.00M vmem. Exceeded by 12.95M."}, V5E)


def test_a_slice_that_the_compiler_does_not_know() -> None:
    with pytest.raises(ConfigError, match="tpu is 'v5e-8', which the TPU's compiler does not know"):
        _step({"error": 'INVALID_ARGUMENT: Topology layout "v5e:2x99" is not divisible by ...'}, V5E)


def test_anything_else_is_said_in_one_line() -> None:
    with pytest.raises(RunError, match=r"refuses the step \(UNIMPLEMENTED: no such thing\)"):
        _step({"error": "UNIMPLEMENTED: no such thing\nat line 7"}, V5E)


def test_memory_counts_once_what_arguments_and_outputs_share() -> None:
    found = {"arguments": 100, "outputs": 90, "shared": 80, "temporaries": 50, "code": 7, "flops": 1.0}
    step = _step({**found, "accessed": 2.0, "all_reduces": 3, "all_reduced": 4, "seconds": 5.0}, V5E)
    assert (step.fits, step.used, step.limit) == (True, 167, 15.75 * GIB)


def _traced(factor: float) -> str:
    """A step with a function of its own, a layer and a sum over cores, named anew by TensorFlow each time."""
    strategy = CompileOnlyStrategy(2)
    with strategy.scope():
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        total = tf.Variable(0.0)

    @tf.function
    def doubled(x: tf.Tensor) -> tf.Tensor:
        return factor * x

    def step(batch: dict[str, tf.Tensor]) -> None:
        y = tf.cond(batch["x"][0, 0] > 0, lambda: doubled(batch["x"]), lambda: batch["x"])
        total.assign_add(cross_replica_mean(tf.reduce_sum(layer(y))))

    return step_program(step, {"x": tf.TensorSpec([2, 4])}, strategy).text


def test_a_program_is_known_again_whatever_tensorflow_called_its_parts() -> None:
    first, again, other = _traced(2.0), _traced(2.0), _traced(3.0)
    assert first != again
    key = _key(first, V5E, ["0.1"])
    assert _key(again, V5E, ["0.1"]) == key
    others = (
        _key(other, V5E, ["0.1"]),
        _key(first, parse_slice("v5e-16"), ["0.1"]),
        _key(first, V5E, ["0.2"]),
    )
    assert key not in others


def test_what_another_program_calls_is_another_program() -> None:
    calls = [f"%0 = stablehlo.custom_call @{name}(%arg0) : f32[4,4]" for name in ("Cholesky", "Qr")]
    assert _key(calls[0], V5E, []) != _key(calls[1], V5E, [])


def test_the_compilers_own_settings_belong_to_a_result(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(compiled_step, "_NEEDED", ())
    monkeypatch.setattr(
        compiled_step, "_in_a_process", lambda text, *_: asked.append(text) or {"error": "Used 2G of 1G hbm"}
    )
    for settings in ("", "", "--xla_tpu_scoped_vmem_limit_kib=8192"):
        monkeypatch.setenv("LIBTPU_INIT_ARGS", settings)
        assert compile_step("module", V5E, str(tmp_path)).used == 2 * GIB
    assert len(asked) == 2


def test_a_cache_that_is_no_directory_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"rehearsal_cache is .*file', which cannot be written"):
        make_cache(str(tmp_path / "file"))


def test_a_cache_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="'gs://bucket/cache', but must be a directory of this machine"):
        make_cache("gs://bucket/cache")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"arguments": 1}', "\0\0"])
def test_a_damaged_result_is_compiled_again(
    content: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_step, "_NEEDED", ())
    monkeypatch.setattr(compiled_step, "_in_a_process", lambda *_: {"error": "Used 2G of 1G hbm"})
    first = compile_step("module", V5E, str(tmp_path))
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_text(content)
    assert compile_step("module", V5E, str(tmp_path)) == first
    assert file.read_bytes() == whole


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_compiler_ends_with_the_program_that_started_it(tmp_path: pathlib.Path) -> None:
    """Also where that is killed, and can end nothing itself."""
    child = (
        "from tf_simclrv2.rehearsal.compiler_process import end_with_parent as e; e(); print(1, flush=True)"
    )
    (tmp_path / "child.py").write_text(f"import time; {child}; time.sleep(600)")
    parent = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", parent, sys.executable, str(tmp_path / "child.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    assert started.stdout.readline() == "1\n"
    child_process = psutil.Process(pid)
    started.kill()
    for _ in range(300):
        if _has_ended(child_process):
            return
        time.sleep(0.1)
    child_process.kill()
    pytest.fail("the compiler goes on")


# Two matrices of 8 KiB are multiplied and kept in the core, and a loop writes 256 bytes.
TRAFFIC = """
%fused (a: bf16[64,64]) -> bf16[64,64] {
  %a = bf16[64,64]{1,0:T(8,128)} parameter(0)
  ROOT %square = bf16[64,64]{1,0:T(8,128)} multiply(%a, %a)
}

%body (state: (f32[64], s32[])) -> (f32[64], s32[]) {
  %state = (f32[64]{0:T(256)}, s32[]{:T(128)}) parameter(0)
  %x = f32[64]{0:T(256)} get-tuple-element(%state), index=0
  %y = f32[64]{0:T(256)} add(%x, %x)
  ROOT %next = (f32[64]{0:T(256)}, s32[]{:T(128)}) tuple(%y, %i)
}

ENTRY %main (p: bf16[64,64], q: bf16[64,64]) -> f32[64] {
  %p = bf16[64,64]{1,0:T(8,128)(2,1)} parameter(0)
  %start = (bf16[64,64]{1,0:T(8,128)(2,1)S(1)}, bf16[64,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%p)
  %near = bf16[64,64]{1,0:T(8,128)(2,1)S(1)} copy-done(%start)
  %r = bf16[64,64]{1,0:T(8,128)(2,1)S(1)} fusion(%near, %near), kind=kOutput, calls=%fused
  %out = bf16[64,64]{1,0:T(8,128)(2,1)} fusion(%r), kind=kLoop, calls=%fused, control-predecessors={%p}
  %loop = (f32[64]{0:T(256)}, s32[]{:T(128)}) while(%init), condition=%less, body=%body
  ROOT %end = f32[64]{0:T(256)} get-tuple-element(%loop), index=0
}
"""


def test_only_what_leaves_the_core_is_traffic() -> None:
    copied, written, loop = 64 * 64 * 2 + 4, 64 * 64 * 2, 3 * 64 * 4
    assert memory_traffic(TRAFFIC) == copied + written + loop


PROGRAM = """
  %all-reduce.3 = f32[2,1,2,64]{3,0,2,1:T(2,128)S(1)} all-reduce(%fusion.38), replica_groups={{0,1}}
  %pair = (bf16[8]{0}, s32[2,4,2]{1,0,2:T(2,128)S(1)}) all-reduce(%a, %b), replica_groups={{0,1}}
  %start.1 = f32[]{:T(128)} all-reduce-start(%c), replica_groups={{0,1}}
  %done.1 = f32[]{:T(128)} all-reduce-done(%start.1)
  %x = pred[3]{0} fusion(%all-reduce.3), calls=%region
"""


def test_sums_over_cores_are_counted_with_their_bytes() -> None:
    sums = _ALL_REDUCE.findall(PROGRAM)
    assert [_bytes(shapes) for shapes in sums] == [2 * 2 * 64 * 4, 8 * 2 + 16 * 4, 4]
