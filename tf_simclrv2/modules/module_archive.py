"""A module as one `.tar.gz` file, the form in which TensorFlow Hub serves them."""

from __future__ import annotations

import os
import tarfile

from tf_simclrv2.errors import ExportError

ARCHIVE_SUFFIX = ".tar.gz"


def pack_module(directory: str, archive: str) -> None:
    """Packs a SavedModel so that `hub.load` of the archive's address opens it.

    Args:
        directory: The SavedModel.
        archive: File to write, with the SavedModel's files at its root.
    """
    with tarfile.open(archive, "w:gz") as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, name), arcname=name)


def unpack_module(archive: str, directory: str) -> None:
    """Unpacks an archive into a directory, and nowhere else.

    Args:
        archive: A `.tar.gz` file.
        directory: Where its files go.

    Raises:
        ExportError: It is no such archive; or an entry would leave the directory, or is a link that does
            or a device. Nothing is unpacked then.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = [tarfile.data_filter(member, directory) for member in tar]
            tar.extractall(directory, members=members, filter="data")
    except tarfile.FilterError as error:
        raise ExportError(f"The archive {archive!r} is not safe to unpack: {error}; get it anew.") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ExportError(f"The archive {archive!r} cannot be read ({error}); get it anew.") from error
