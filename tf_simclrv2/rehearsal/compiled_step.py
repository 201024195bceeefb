"""What the TPU's compiler makes of a step; it runs in a process of its own, and results are kept."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import tempfile

from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.files import read_json, write_json
from tf_simclrv2.rehearsal import compiler_process
from tf_simclrv2.rehearsal.child_process import run_child
from tf_simclrv2.rehearsal.rehearsal_config import Effort
from tf_simclrv2.rehearsal.tpu_slice import TpuSlice

EXTRA = "pip install 'tf_simclrv2[tpu-rehearsal]'"
# On the compiler's own scale.
EFFORTS: dict[Effort, float] = {"full": 0.0, "quick": -1.0}
_NEEDED = ("jax", "libtpu")
# All that is said of a program that does not fit: "Used 27.47G of 15.75G hbm", or "the total memory required
# for HLO temporaries (16.07G) exceeds available HBM (15.75G)".
_TOO_LARGE = (
    re.compile(r"[Uu]sed ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
    re.compile(r"temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
)
# Where each operation of StableHLO comes from, and the functions in it.
_PLACES = re.compile(r"^#loc.*\n|\s*loc\((?:#loc\d*|\"[^\"]*\"(?:\(#loc\d*\))?)\)", re.MULTILINE)
_FUNCTIONS = re.compile(r"(?<!custom_call )@[\w.$]+")
_OF_TEMPORARIES = _TOO_LARGE[1]
_NUMBERS = ("arguments", "temporaries", "code", "flops", "accessed", "all_reduces", "all_reduced", "seconds")
_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
# What is cached is what the compiler says in this format, and depends on these variables.
_FORMAT = "2"
_VARIABLES = ("LIBTPU_INIT_ARGS", "XLA_FLAGS")


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A step as the TPU's compiler sees it, of one core.

    Attributes:
        fits: Whether it fits into a core's memory.
        used: Bytes of that memory in use at most.
        limit: Bytes that a program may use.
        arguments: Bytes of the batch, the weights and the optimizer's state.
        temporaries: Bytes of activations and other intermediate results.
        code: Bytes of the program.
        flops: Floating-point operations of a step.
        accessed: Bytes that a step reads from and writes to this memory.
        all_reduces: Sums over all cores in a step.
        all_reduced: Bytes of a core in these sums.
        seconds: How long compiling took.
        counts_all: Whether `used` is everything. Of some programs that do not fit, the compiler names the
            temporaries alone.
    """

    fits: bool
    used: float
    limit: float
    arguments: float = 0.0
    temporaries: float = 0.0
    code: float = 0.0
    flops: float = 0.0
    accessed: float = 0.0
    all_reduces: int = 0
    all_reduced: float = 0.0
    seconds: float = 0.0
    counts_all: bool = True


def refuse_without_compiler() -> None:
    """Checks that the TPU's compiler is installed.

    Raises:
        ConfigError: It is not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} cannot be imported, which a rehearsal needs to compile for TPUs; "
            f"install them with {EXTRA}, best in an environment of their own."
        )


def make_cache(path: str) -> None:
    """Makes the directory in which results are kept.

    Raises:
        ConfigError: It cannot be made, or nothing can be written there.
    """
    if "://" in path:
        raise ConfigError(
            f"rehearsal_cache is {path!r}, but must be a directory of this machine; pass another."
        )
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryDirectory(dir=path).cleanup()
    except OSError as error:
        raise ConfigError(
            f"rehearsal_cache is {path!r}, which cannot be written ({error.strerror}); pass another."
        ) from error


def compile_step(text: str, tpu: TpuSlice, cache: str, effort: Effort = "full") -> CompiledStep:
    """Compiles a core's program for all cores of a slice, which takes minutes.

    The compiler is there: `refuse_without_compiler` was called.

    Args:
        text: StableHLO.
        tpu: The slice.
        cache: A directory in which results are kept and looked for.
        effort: `full` works as hard as for a run; `quick` takes a tenth of the time for a program that is
            slower, and whose memory differs by a few percent.

    Raises:
        ConfigError: The compiler knows no such slice.
        RunError: It refuses the program, or it crashed.
    """
    settings = [os.environ.get(name, "") for name in _VARIABLES]
    key = _key(text, tpu, [*compiler_versions().values(), *settings, effort, _FORMAT])
    path = os.path.join(cache, f"{key}.json")
    if known := _known(path, tpu):
        return known
    found = _in_a_process(text, tpu, EFFORTS[effort])
    step = _step(found, tpu)
    write_json(path, found)
    return step


def compiler_versions() -> dict[str, str]:
    """Returns the versions of the packages that compile, by name; "unknown" of one without metadata."""
    return {name: _version(name) for name in _NEEDED}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # Such as libtpu from libtpu-nightly.
        return "unknown"


def _known(path: str, tpu: TpuSlice) -> CompiledStep | None:
    """A step that was compiled before; None if there is none, or its file is damaged."""
    if not os.path.exists(path):
        return None
    try:
        return _step(read_json(path), tpu)
    except (ValueError, KeyError, TypeError):
        return None


def _key(text: str, tpu: TpuSlice, compiler: list[str]) -> str:
    return hashlib.sha256("\n".join([*compiler, tpu.topology, _nameless(text)]).encode()).hexdigest()[:32]


def _nameless(text: str) -> str:
    """The program without what TensorFlow counts on from trace to trace: names of functions and of layers."""
    names: dict[str, str] = {}
    text = _PLACES.sub("", text)
    return _FUNCTIONS.sub(lambda found: names.setdefault(found[0], f"@{len(names)}"), text)


def _in_a_process(text: str, tpu: TpuSlice, effort: float) -> dict[str, float | str]:
    arguments = [tpu.topology, str(tpu.replicas), str(effort)]
    cure = "try a smaller batch, or another version of libtpu"
    return run_child("the TPU's compiler", [compiler_process.__file__], text, arguments, {}, cure)


def _step(found: dict, tpu: TpuSlice) -> CompiledStep:
    limit = tpu.generation.hbm
    if "error" not in found:
        outputs, shared = found["outputs"], found["shared"]
        used = found["arguments"] + outputs - shared + found["temporaries"] + found["code"]
        return CompiledStep(used <= limit, used, limit, **{name: found[name] for name in _NUMBERS})
    for pattern in _TOO_LARGE:
        if too_large := pattern.search(found["error"]):
            used, unit, limit, unit_of_limit = too_large.groups()
            sizes = float(used) * _UNITS[unit], float(limit) * _UNITS[unit_of_limit]
            return CompiledStep(False, *sizes, counts_all=pattern is not _OF_TEMPORARIES)
    reason = found["error"].splitlines()[0]
    if "opology" in reason:
        raise ConfigError(
            f"tpu is {tpu.name!r}, which the TPU's compiler does not know ({reason}); try another."
        )
    raise RunError(f"the TPU's compiler refuses the step ({reason}); report it, or try another slice.")
