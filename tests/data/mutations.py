"""Image files that something has happened to, each a function of its number."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.data.formats import FILES, encoded, exif, picture, png16, tiff_block, transparent, with_chunk

_Rng = np.random.Generator
EXTENSIONS = ("png", "jpg", "gif", "bmp", "webp", "tiff", "avif")


def _large(mode: str) -> Image.Image:
    """A picture of several blocks, strips and chunks."""
    noise = np.random.default_rng(1).integers(0, 256, (90, 130, 4), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


WHOLE = {
    **FILES,
    "jpeg large": encoded(_large("RGB"), "JPEG", quality=90),
    "jpeg large progressive": encoded(_large("RGB"), "JPEG", progressive=True),
    "jpeg turned": encoded(picture(), "JPEG", exif=exif(6)),
    "jpeg restarted": encoded(_large("RGB"), "JPEG", restart_marker_blocks=3),
    "png large": encoded(_large("RGB"), "PNG"),
    "png large alpha": encoded(_large("RGBA"), "PNG"),
    "png turned": with_chunk(FILES["png"], b"eXIf", tiff_block("MM", 3, 6), "behind"),
    "png of 16 bits and alpha": png16(4),
    "gif large": encoded(_large("RGB").convert("P"), "GIF"),
    "webp large": encoded(_large("RGBA"), "WEBP"),
    "webp turned": encoded(picture(), "WEBP", exif=exif(8)),
    "tiff packed": encoded(_large("RGB"), "TIFF", compression="tiff_lzw"),
    "tiff deflated": encoded(_large("RGBA"), "TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": encoded(_large("RGB"), "TIFF", compression="jpeg"),
    "tiff turned": encoded(picture(), "TIFF", exif=exif(3)),
    "avif alpha": encoded(transparent(), "AVIF"),
    "avif large": encoded(_large("RGB"), "AVIF", quality=80),
}


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A file and what happened to it."""

    name: str
    contents: bytes


def damaged(number: int) -> Damaged:
    """The file of that number: formats take turns, and so does what happens to them."""
    kinds, changes = list(WHOLE), list(CHANGES)
    kind, change = kinds[number % len(kinds)], changes[number // len(kinds) % len(changes)]
    rng = np.random.default_rng(number)
    contents = CHANGES[change](WHOLE[kind], rng)
    extension = EXTENSIONS[int(rng.integers(len(EXTENSIONS)))]
    return Damaged(f"{number:04} {kind}, {change}.{extension}", contents)


def _cut_off(contents: bytes, rng: _Rng) -> bytes:
    return contents[: int(rng.integers(len(contents)))]


def _begun(contents: bytes, rng: _Rng) -> bytes:
    return contents[: int(rng.integers(min(64, len(contents))))]


def _flipped(contents: bytes, rng: _Rng, within: int | None = None) -> bytes:
    data = bytearray(contents)
    for position in rng.integers(min(within or len(data), len(data)), size=int(rng.integers(1, 9))):
        data[position] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _flipped_in_its_head(contents: bytes, rng: _Rng) -> bytes:
    return _flipped(contents, rng, within=64)


def _overwritten(contents: bytes, rng: _Rng) -> bytes:
    start = int(rng.integers(len(contents)))
    noise = rng.bytes(int(rng.integers(1, 200)))
    return contents[:start] + noise + contents[start + len(noise) :]


def _zeroed(contents: bytes, rng: _Rng) -> bytes:
    start = int(rng.integers(len(contents)))
    return contents[:start] + bytes(len(contents) - start)


def _swapped(contents: bytes, rng: _Rng) -> bytes:
    """Two parts have changed their places: whole chunks in a PNG file."""
    cuts = (
        _chunks(contents) if contents.startswith(b"\x89PNG") else sorted(rng.integers(len(contents), size=4))
    )
    if len(cuts) < 4:
        return contents
    first = int(rng.integers(len(cuts) - 2))
    a, b, c = cuts[first : first + 3]
    return contents[:a] + contents[b:c] + contents[a:b] + contents[c:]


def _repeated(contents: bytes, rng: _Rng) -> bytes:
    start, stop = sorted(rng.integers(len(contents), size=2))
    return contents[:stop] + contents[start:]


def _without_a_part(contents: bytes, rng: _Rng) -> bytes:
    start, stop = sorted(rng.integers(len(contents), size=2))
    return contents[:start] + contents[stop:]


def _claims_to_be_huge(contents: bytes, rng: _Rng) -> bytes:
    """Where the header has a side of the picture, it has a larger one, with the right checksum in PNG."""
    side = int(rng.choice([2**15 - 1, 2**16 - 1, 10**6, 2**31 - 1, 2**32 - 1]))
    return claiming(contents, side, side)


def _with_long_lengths(contents: bytes, rng: _Rng) -> bytes:
    """Four bytes anywhere say a large number."""
    start = int(rng.integers(max(1, min(len(contents) - 4, 300))))
    return (
        contents[:start]
        + int(rng.choice([2**31 - 1, 2**32 - 1, 2**24])).to_bytes(4, "big")
        + contents[start + 4 :]
    )


def _of_another(contents: bytes, rng: _Rng) -> bytes:
    """The head of this file and the rest of one of another format."""
    other = list(WHOLE.values())[int(rng.integers(len(WHOLE)))]
    return contents[: int(rng.integers(4, 40))] + other[int(rng.integers(len(other))) :]


def _whole(contents: bytes, rng: _Rng) -> bytes:
    return contents  # Under any extension.


CHANGES: dict[str, Callable[[bytes, _Rng], bytes]] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _cut_off,
        _flipped,
        _flipped_in_its_head,
        _claims_to_be_huge,
        _begun,
        _overwritten,
        _swapped,
        _with_long_lengths,
        _zeroed,
        _repeated,
        _without_a_part,
        _of_another,
        _whole,
    )
}


def claiming(contents: bytes, width: int, height: int) -> bytes:
    """The file with other sides in its header; as it is where the format has no simple place for them."""
    if contents.startswith(b"\x89PNG"):
        head = contents[12:16] + _number(width, 4) + _number(height, 4) + contents[24:29]
        return contents[:12] + head + zlib.crc32(head).to_bytes(4, "big") + contents[33:]
    if contents.startswith(b"\xff\xd8"):
        return _jpeg_claiming(contents, width, height)
    if contents.startswith(b"GIF8"):
        return contents[:6] + _number(width, 2, "little") + _number(height, 2, "little") + contents[10:]
    if contents.startswith(b"BM"):
        return contents[:18] + _number(width, 4, "little") + _number(height, 4, "little") + contents[26:]
    if contents.startswith(b"RIFF"):
        return _webp_claiming(contents, width, height)
    if contents[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_claiming(contents, width, height)
    at = contents.find(b"ispe")  # Of AVIF.
    return (
        contents
        if at < 0
        else contents[: at + 8] + _number(width, 4) + _number(height, 4) + contents[at + 16 :]
    )


def _jpeg_claiming(contents: bytes, width: int, height: int) -> bytes:
    position = 2
    while position + 9 < len(contents) and contents[position + 1] not in (0xC0, 0xC2):
        position += 2 + int.from_bytes(contents[position + 2 : position + 4], "big")
    return contents[: position + 5] + _number(height, 2) + _number(width, 2) + contents[position + 9 :]


def _webp_claiming(contents: bytes, width: int, height: int) -> bytes:
    """Of the three kinds, which have 24, 14 and 14 bits for a side."""
    width, height = (min(side, 2**14) - 1 for side in (width, height))
    if contents[12:16] == b"VP8X":
        return contents[:24] + _number(width, 3, "little") + _number(height, 3, "little") + contents[30:]
    if contents[12:16] == b"VP8L":
        flags = int.from_bytes(contents[21:25], "little") >> 28 << 28
        return contents[:21] + _number(flags | height << 14 | width, 4, "little") + contents[25:]
    return contents[:26] + _number(width, 2, "little") + _number(height, 2, "little") + contents[30:]


def _tiff_claiming(contents: bytes, width: int, height: int) -> bytes:
    data = bytearray(contents)
    at = int.from_bytes(data[4:8], "little")
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], "little"), 12):
        side = {256: width, 257: height}.get(int.from_bytes(data[entry : entry + 2], "little"))
        if side:
            data[entry + 2 : entry + 4], data[entry + 8 : entry + 12] = b"\4\0", _number(side, 4, "little")
    return bytes(data)


def _number(value: int, size: int, order: str = "big") -> bytes:
    return min(value, 256**size - 1).to_bytes(size, order)  # type: ignore[arg-type]


def _chunks(contents: bytes) -> list[int]:
    """Where the chunks of a PNG file begin, and its end."""
    starts, position = [], 8
    while position + 12 <= len(contents):
        starts.append(position)
        position += 12 + int.from_bytes(contents[position : position + 4], "big")
    return [*starts, len(contents)]
