"""Errors that the user of a program can mend are one sentence; all others keep their traceback."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf

from tf_simclrv2.errors import DataError, RunError
from tf_simclrv2.plain_errors import errors_in_a_sentence

# From TensorFlow 2.20 on a machine without a network.
NO_NETWORK = (
    "Error executing an HTTP request: libcurl code 6 meaning 'Could not resolve hostname', error details: "
    "Could not resolve host: www.googleapis.com\n\t when reading metadata of gs://bucket/x.index"
)


def sentence_for(work) -> str:
    """What the program ends with."""
    with pytest.raises(SystemExit) as stop, errors_in_a_sentence():
        work()
    return str(stop.value)


def raises(error: Exception):
    def work():
        raise error

    return work


@pytest.mark.parametrize("error", [DataError("images is 'x'; use y."), RunError("a worker is lost.")])
def test_errors_of_this_package_are_their_message(error):
    assert sentence_for(raises(error)) == f"error: {error}"


@pytest.mark.parametrize("path", ["http://example.com/ckpt", "s3://bucket/ckpt", "hdfs://host/ckpt"])
def test_a_file_system_that_is_not_there(path):
    scheme = path.split(":")[0]
    assert sentence_for(lambda: tf.io.gfile.exists(path)) == (
        f"error: {path!r} cannot be reached, as TensorFlow has no file system {scheme}:// here; use a path "
        "on this machine, or gs://."
    )


def test_a_bucket_out_of_reach():
    assert sentence_for(raises(tf.errors.FailedPreconditionError(None, None, NO_NETWORK))) == (
        "error: 'gs://bucket/x.index' cannot be reached (libcurl code 6 meaning 'Could not resolve hostname'"
        ", error details: Could not resolve host: www.googleapis.com); check its name, the network and your "
        "permission to use it."
    )


def test_a_full_disk():
    """`/dev/full` is one."""

    def write(file):
        with file:
            file.write("x" * 10_000)

    expected = "error: '/dev/full' cannot be used (No space left on device); make room there, "
    assert sentence_for(lambda: write(tf.io.gfile.GFile("/dev/full", "w"))).startswith(expected)
    assert sentence_for(lambda: pathlib.Path("/dev/full").write_text("x")).endswith(
        " cannot be used (No space left on device); make room there, or permit it, or choose another place, "
        "and run the same command again."
    )


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.PermissionDeniedError(None, None, "/mnt/a.part; Permission denied"),
        PermissionError(13, "Permission denied", "/mnt/a.part"),
    ],
)
def test_a_directory_that_may_not_be_written(error):
    assert sentence_for(raises(error)).startswith("error: '/mnt/a.part' cannot be used (Permission denied); ")


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), tf.errors.InvalidArgumentError(None, None, "a bug"), FileNotFoundError("x")],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)), errors_in_a_sentence():
        raise error
