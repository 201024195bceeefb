"""Packs a module into one `.tar.gz` file, the form that `hub.load` takes, and unpacks it."""

from __future__ import annotations

import os
import tarfile
import zlib

from tf_simclrv2.errors import ExportError

ARCHIVE_SUFFIX = ".tar.gz"


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
        with tarfile.open(archive, "r:gz") as tar:
            members = [tarfile.data_filter(member, directory) for member in tar]
            tar.extractall(directory, members=members, filter="data")
    except tarfile.FilterError as error:
        raise ExportError(
            f"archive {archive!r} is not safe to unpack ({error}); download it again."
        ) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ExportError(f"archive {archive!r} cannot be read ({error}); download it again.") from error
