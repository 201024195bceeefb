"""Embedding files: Parquet, npz and CSV, written part by part and read without a second copy."""

from __future__ import annotations

import csv
import os
import struct
import zipfile
from collections.abc import Callable, Iterable
from typing import IO

import numpy as np
import pyarrow
import pyarrow.parquet

from tf_simclrv2.embedding.embeddings import Embeddings, Origin
from tf_simclrv2.errors import ConfigError, DataError
from tf_simclrv2.evaluation.feature_rows import allocate

# The columns in addition to the embedding, and the attribute of `Embeddings` that each holds.
COLUMNS = {
    "path": "names",
    "class": "classes",
    "prediction": "predictions",
    "probability": "probabilities",
    "margin": "margins",
}
NUMBERS = ("probability", "margin")
EMBEDDING, ORIGIN = "embedding", "origin"
# Rows that are written and read together.
ROWS = 4096
_LOCAL_HEADER = struct.Struct("<26xHH")
# What reading a file raises that is cut short, or is something else than its name says.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    csv.Error,
    zipfile.BadZipFile,
    pyarrow.ArrowException,
)


def extension_of(path: str) -> str:
    """Returns the extension of an embedding file.

    Raises:
        ConfigError: There is no such format.
    """
    extension = os.path.splitext(path)[1].lower()
    if extension not in _FORMATS:
        raise ConfigError(
            f"output is {path!r}; an embedding file ends in {', '.join(_FORMATS)}, so pass for example "
            f"--output={os.path.splitext(path)[0] or 'embeddings'}.parquet."
        )
    return extension


def is_embedding_file(path: str) -> bool:
    """Returns whether a path has the extension of an embedding file."""
    return os.path.splitext(path)[1].lower() in _FORMATS


def write_embeddings(
    path: str, extension: str, parts: Callable[[], Iterable[Embeddings]], count: int, width: int
) -> None:
    """Writes embeddings that need not fit into memory.

    Args:
        path: The file.
        extension: The format, from `extension_of`.
        parts: Returns the embeddings in parts, at least one, of the same origin; it may be called twice.
        count: The number of images in all parts.
        width: Of the embeddings.

    Raises:
        OSError: The file cannot be written.
    """
    _FORMATS[extension][0](path, parts, count, width)


def read_embeddings(path: str) -> Embeddings:
    """Reads an embedding file; the vectors of an npz are mapped into memory, not read.

    Raises:
        DataError: There is no such file, or it does not hold embeddings.
    """
    if not os.path.isfile(path):
        raise DataError(f"The embedding file {path!r} does not exist; simclrv2 embed writes one.")
    if not is_embedding_file(path):
        raise DataError(
            f"{path!r} is not an embedding file, which ends in {', '.join(_FORMATS)}; write one with "
            "simclrv2 embed."
        )
    try:
        found = _FORMATS[extension_of(path)][1](path)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path!r} is not a complete embedding file ({reason}); write it again with simclrv2 embed."
        ) from error
    if not len(found):
        raise DataError(f"The embedding file {path!r} holds no images; embed a folder that has some.")
    return found


# ------------------------------------------------------------------------------ Parquet


def _write_parquet(path: str, parts: Callable[[], Iterable[Embeddings]], count: int, width: int) -> None:
    schema = pyarrow.schema(
        [
            *((name, pyarrow.float32() if name in NUMBERS else pyarrow.string()) for name in COLUMNS),
            (EMBEDDING, pyarrow.list_(pyarrow.float32(), width)),
        ]
    )
    parts_left = iter(parts())
    first = next(parts_left)
    schema = schema.with_metadata({ORIGIN: first.origin.to_json()})
    # Neither a dictionary nor a compression makes floating-point numbers smaller.
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
        for part in (first, *parts_left):
            columns = [getattr(part, attribute) for attribute in COLUMNS.values()]
            flat = pyarrow.array(np.ascontiguousarray(part.vectors, np.float32).reshape(-1))
            vectors = pyarrow.FixedSizeListArray.from_arrays(flat, width)
            table = pyarrow.table([*map(pyarrow.array, columns), vectors], schema=schema)
            writer.write_table(table, row_group_size=ROWS)


def _read_parquet(path: str) -> Embeddings:
    # Else it would read far ahead, and hold the file's contents twice.
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        schema = file.schema_arrow
        origin = Origin.from_json((schema.metadata or {})[ORIGIN.encode()])
        count, width = file.metadata.num_rows, schema.field(EMBEDDING).type.list_size
        vectors = allocate((count, width), np.dtype(np.float32))
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        start = 0
        for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
            flat = batch.column(EMBEDDING).flatten().to_numpy()
            vectors[start : start + len(batch)] = flat.reshape(len(batch), width)
            start += len(batch)
            for name, found in columns.items():
                found.append(batch.column(name).to_numpy(zero_copy_only=False))
    return _embeddings({name: np.concatenate(found) for name, found in columns.items()}, vectors, origin)


# ------------------------------------------------------------------------------ npz


def _write_npz(path: str, parts: Callable[[], Iterable[Embeddings]], count: int, width: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(f"{EMBEDDING}.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts():
                file.write(np.ascontiguousarray(part.vectors, "<f4").data)
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        origin = Origin()
        for part in parts():
            origin = part.origin
            for name, attribute in COLUMNS.items():
                columns[name].append(getattr(part, attribute))
        for name, found in columns.items():
            _write_npy(archive, name, np.concatenate(found))
        _write_npy(archive, ORIGIN, np.array(origin.to_json()))


def _write_npy(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, unpickled(values))


def unpickled(values: np.ndarray) -> np.ndarray:
    """Returns texts as npz holds them without pickling, and other values as they are."""
    return values.astype(str) if values.dtype == object else values


def _read_npz(path: str) -> Embeddings:
    with np.load(path, allow_pickle=False) as archive:
        columns = {name: archive[name] for name in COLUMNS}
        origin = Origin.from_json(str(archive[ORIGIN]))
    return _embeddings(columns, _mapped(path, f"{EMBEDDING}.npy"), origin)


def _mapped(path: str, member: str) -> np.ndarray:
    """An array that a ZIP file holds without compression, where it lies."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        entry = archive.getinfo(member)
        if entry.compress_type != zipfile.ZIP_STORED:
            return np.load(path)[EMBEDDING]
        file.seek(entry.header_offset)
        file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), os.SEEK_CUR)
        shape, fortran_order, dtype = _npy_header(file)
        order = "F" if fortran_order else "C"
        return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order=order)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


# ------------------------------------------------------------------------------ CSV


def _write_csv(path: str, parts: Callable[[], Iterable[Embeddings]], count: int, width: int) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, ORIGIN, *(f"e{i}" for i in range(width))])
        for part in parts():
            columns = [getattr(part, attribute).tolist() for attribute in COLUMNS.values()]
            origin = part.origin.to_json()
            for *known, vector in zip(*columns, part.vectors, strict=True):
                # Nine digits tell every float32 from the next.
                writer.writerow([*known, origin, *(f"{number:.9g}" for number in vector.tolist())])
                origin = ""


def _read_csv(path: str) -> Embeddings:
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        begin = len(COLUMNS) + 1
        if header[:begin] != [*COLUMNS, ORIGIN]:
            raise ValueError(f"its header begins with {', '.join(header[:3]) or 'nothing'}")
        known: list[list[str]] = []
        vectors: list[np.ndarray] = []
        origin = ""
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"row {len(known) + 2} has {len(row)} fields instead of {len(header)}")
            known.append(row[: len(COLUMNS)])
            origin = origin or row[len(COLUMNS)]
            vectors.append(np.array(row[begin:], np.float32))
    columns = {
        name: np.array(values, np.float32 if name in NUMBERS else str)
        for name, values in zip(COLUMNS, zip(*known, strict=True), strict=True)
    }
    return _embeddings(columns, np.stack(vectors), Origin.from_json(origin or "{}"))


def _embeddings(columns: dict[str, np.ndarray], vectors: np.ndarray, origin: Origin) -> Embeddings:
    values = {attribute: columns[name] for name, attribute in COLUMNS.items()}
    return Embeddings(**values, vectors=vectors, origin=origin)


_FORMATS = {
    ".parquet": (_write_parquet, _read_parquet),
    ".npz": (_write_npz, _read_npz),
    ".csv": (_write_csv, _read_csv),
}
