"""Compiled steps that are kept on disk, so that the second start of a command compiles nothing."""

from __future__ import annotations

import os
import re
import tempfile

import tensorflow as tf

from tf_simclrv2.progress import Say, say_at_once
from tf_simclrv2.setting import as_path

PROGRAMS_FLAG = "--tf_xla_persistent_cache_directory"
DEVICES_FLAG = "--tf_xla_persistent_cache_device_types"
AUTOTUNING_FLAG = "--xla_gpu_per_fusion_autotune_cache_dir"


def keep_compiled_steps(directory: str, say: Say = say_at_once) -> str | None:
    """Has XLA keep what it compiles for this machine's GPU, and the choices that it made by timing kernels.

    Call it before TensorFlow computes anything: XLA reads its settings once. They are environment variables
    (`TF_XLA_FLAGS`, `XLA_FLAGS`), and what is set there already stays. A program belongs to a kind of GPU and
    a version of TensorFlow, so each has a folder of its own.

    Args:
        directory: Where the folders are; made if missing. Empty keeps nothing.
        say: Receives a line if nothing can be kept there; prints it by default.

    Returns:
        The folder, or None without a GPU or a directory that can be written.

    Raises:
        ConfigError: The directory's path is not UTF-8.

    Example:
        >>> keep_compiled_steps("~/.cache/tf_simclrv2/xla")
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not (gpus and directory):
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = ".".join(map(str, details.get("compute_capability", ())))
    name = f"{details.get('device_name', 'gpu')} {capability} tensorflow {tf.__version__}"
    folder = os.path.join(as_path("compile_cache", directory), re.sub(r"[^\w.]+", "_", name))
    programs, autotuning = os.path.join(folder, "programs"), os.path.join(folder, "autotuning")
    try:
        for path in (programs, autotuning):
            os.makedirs(path, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()  # It may be there, and read-only.
    except OSError as error:
        say(f"compiled steps are not kept ({error}); a run's --compile_cache names another folder")
        return None
    _add_flag("TF_XLA_FLAGS", PROGRAMS_FLAG, programs)
    _add_flag("TF_XLA_FLAGS", DEVICES_FLAG, "GPU")
    _add_flag("XLA_FLAGS", AUTOTUNING_FLAG, autotuning)
    return folder


def _add_flag(variable: str, flag: str, value: str) -> None:
    before = os.environ.get(variable, "")
    if flag not in before:
        os.environ[variable] = f"{before} {flag}={_quoted(value)}".strip()


def _quoted(value: str) -> str:
    """The value as XLA reads it, which separates its flags by spaces."""
    if re.fullmatch(r"[\w./:+-]*", value):
        return value
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", value))
