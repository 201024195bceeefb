"""Packs a module into one `.tar.gz` file, the form that `hub.load` takes, and unpacks it."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

from tf_simclrv2.errors import ExportError

ARCHIVE_SUFFIX = ".tar.gz"
_CHUNK = 2**20


def pack_module(directory: str, archive: str) -> None:
    """Packs a SavedModel into an archive that `hub.load` opens by its URL.

    Args:
        directory: The SavedModel.
        archive: The file to write; the SavedModel's files are at its root.
    """
    with tarfile.open(archive, "w:gz") as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, name), arcname=name)


def unpack_module(archive: str, directory: str) -> None:
    """Unpacks an archive into a directory, and refuses entries that would be written elsewhere.

    Args:
        archive: A `.tar.gz` file.
        directory: The directory for its files.

    Raises:
        ExportError: It is not such an archive; or an entry is a device, or is or links to a path outside the
            directory. Nothing is unpacked.
    """
    try:
        with _uncompressed(archive) as stream, tarfile.open(fileobj=stream) as tar:
            members = [tarfile.data_filter(member, directory) for member in tar]
            tar.extractall(directory, members=members, filter="data")
    except tarfile.FilterError as error:
        raise ExportError(
            f"archive {archive!r} is not safe to unpack ({error}); download it again."
        ) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ExportError(f"archive {archive!r} cannot be read ({error}); download it again.") from error


@contextlib.contextmanager
def _uncompressed(archive: str) -> Iterator[IO[bytes]]:
    """Opens an archive, on any filesystem that TensorFlow knows, after its checksum was compared."""
    with _opened(archive) as file, gzip.open(file) as stream:
        while stream.read(_CHUNK):
            pass
        stream.seek(0)
        yield stream


def _opened(archive: str) -> IO[bytes]:
    if "://" not in archive:
        return open(archive, "rb")
    import tensorflow as tf  # The command line takes a name from here before it is imported.

    try:
        return io.BytesIO(tf.io.gfile.GFile(archive, "rb").read())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
