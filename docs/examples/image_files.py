"""Image files for a module's `image_bytes`: any format that Pillow reads; a bad file is named and skipped.

Used by the other examples in this folder; needs Pillow, and neither TensorFlow nor this package.
"""

import io
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng"),
    *(".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif"),
)
# A module decodes these itself, turned upright and composited onto its background.
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Tags of TIFF, and values that Pillow does not heed.
SAMPLE_FORMAT, SIGNED, PHOTOMETRIC, ZERO_IS_WHITE = 339, 2, 262, 0
# A server limits the number and the bytes of what it takes at once; base64 adds a third.
BATCH, BATCH_BYTES = 64, 16 * 2**20

warnings.filterwarnings("ignore", module="PIL")  # A file is either read or named.

Answer = TypeVar("Answer")


def find_images(folder: str) -> list[pathlib.Path]:
    """Returns the image files below a folder, sorted; not those whose name begins with a dot."""
    found = pathlib.Path(folder).rglob("*")
    return sorted(
        path for path in found if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )


def as_jpeg_or_png(path: pathlib.Path) -> bytes:
    """Reads an image file; what is neither JPEG nor PNG becomes PNG, upright and with its transparency.

    Raises:
        Exception: The file cannot be read, is no image, ends too early, or has pixels without a known range.
    """
    contents = path.read_bytes()
    with Image.open(io.BytesIO(contents)) as image:
        image.load()
        if contents.startswith((JPEG, PNG)):
            return contents
        tags = getattr(image, "tag_v2", {})  # Of TIFF.
        if image.mode in ("F", "I") or SIGNED in tags.get(SAMPLE_FORMAT, ()):
            raise ValueError("the range of its pixels is not known")
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I") and tags.get(PHOTOMETRIC) == ZERO_IS_WHITE:
            upright = upright.point(lambda value: value * -1 + 65535)
        png = io.BytesIO()
        # 16 bits of gray stay; Pillow would cut them off.
        (upright if upright.mode.startswith("I") else upright.convert("RGBA")).save(png, "PNG")
    return png.getvalue()


def answers(
    ask: Callable[[list[bytes]], Iterable[Answer]],
    paths: Iterable[str | pathlib.Path],
    refusal: type[Exception],
) -> Iterator[tuple[pathlib.Path, Answer]]:
    """Asks a module about image files, a batch at a time, and names those that cannot be read.

    Args:
        ask: Takes JPEG and PNG files, and returns an answer to each.
        paths: Files in any format.
        refusal: What `ask` raises if one of the files cannot be decoded.

    Yields:
        Each readable file and the answer to it.
    """
    files: list[tuple[pathlib.Path, bytes]] = []
    for path in map(pathlib.Path, paths):
        try:
            files.append((path, as_jpeg_or_png(path)))
        except UnidentifiedImageError:
            _skip(path, "it is no image that Pillow reads")
        except Exception as error:  # Pillow raises whatever a broken file makes it raise.
            _skip(path, str(error) or type(error).__name__)
        if len(files) == BATCH or sum(len(contents) for _, contents in files) > BATCH_BYTES:
            yield from _answered(ask, files, refusal)
            files = []
    yield from _answered(ask, files, refusal)


def _answered(
    ask: Callable[[list[bytes]], Iterable[Answer]],
    files: list[tuple[pathlib.Path, bytes]],
    refusal: type[Exception],
) -> Iterator[tuple[pathlib.Path, Answer]]:
    if not files:
        return
    try:
        found = list(ask([contents for _, contents in files]))
    except refusal:
        if len(files) == 1:
            _skip(files[0][0], "the module refuses it")
        else:  # One bad file refuses the whole batch.
            for file in files:
                yield from _answered(ask, [file], refusal)
        return
    yield from zip((path for path, _ in files), found, strict=True)


def _skip(path: pathlib.Path, reason: str) -> None:
    print(f"skipped {path}: {reason}", file=sys.stderr)
