"""One picture in every format and mode, and what Pillow sees in it."""

import io
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

SIZE = (12, 18)
BLUE = (0.2, 0.4, 1.0)


def picture() -> Image.Image:
    """Four areas of different colors, so that every turn of it is seen."""
    pixels = np.zeros([*SIZE, 3], np.uint8)
    pixels[:6, :9], pixels[:6, 9:], pixels[6:, :9], pixels[6:, 9:] = (
        (250, 20, 10),
        (10, 240, 30),
        (20, 10, 230),
        (240, 230, 20),
    )
    return Image.fromarray(pixels)


def transparent(hidden: int = 0) -> Image.Image:
    """The picture with a wedge of alpha over it; what is fully transparent has the hidden color."""
    alpha = np.linspace(-120, 255, SIZE[0] * SIZE[1]).clip(0).astype(np.uint8).reshape(SIZE)
    colors = np.where(alpha[..., None] == 0, hidden, np.asarray(picture()))
    return Image.fromarray(np.dstack([colors, alpha]).astype(np.uint8))


def gray16() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE))


def palette() -> Image.Image:
    return picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png16(channels: int) -> bytes:
    """16 bits a channel, which Pillow writes for gray images alone."""
    values = np.linspace(0, 65535, SIZE[0] * SIZE[1] * channels).astype(np.uint16).reshape([*SIZE, channels])
    return tf.io.encode_png(values).numpy()


def laid_on(rgba: np.ndarray, background) -> np.ndarray:
    return rgba[..., :3] * rgba[..., 3:] + np.array(background) * (1 - rgba[..., 3:])


def expected(contents: bytes, background) -> np.ndarray:
    """What Pillow sees."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    if image.mode.startswith("I"):
        return np.asarray(image, np.float64)[..., None].repeat(3, -1) / 65535
    return laid_on(np.asarray(image.convert("RGBA"), np.float64) / 255, background)


FIRST = palette().getpixel((0, 0))
FILES = {
    "png": encoded(picture(), "PNG"),
    "png gray": encoded(picture().convert("L"), "PNG"),
    "png gray of one bit": encoded(picture().convert("1"), "PNG"),
    "png gray of 16 bits": encoded(gray16(), "PNG"),
    "png palette": encoded(palette(), "PNG"),
    "png alpha": encoded(transparent(), "PNG"),
    "png gray and alpha": encoded(transparent().convert("LA"), "PNG"),
    "png palette, one color transparent": encoded(palette(), "PNG", transparency=FIRST),
    "png palette, alpha of each color": encoded(palette(), "PNG", transparency=bytes([0, 90, 180, 255])),
    "png gray, one color transparent": encoded(picture().convert("L"), "PNG", transparency=90),
    "png rgb, one color transparent": encoded(picture(), "PNG", transparency=(250, 20, 10)),
    "png with words before its pixels": encoded(
        palette(), "PNG", transparency=FIRST, dpi=(72, 72), icc_profile=bytes(3000)
    ),
    "png animated": encoded(transparent(), "PNG", save_all=True, append_images=[picture().convert("RGBA")]),
    "jpeg": encoded(picture(), "JPEG", quality=95),
    "jpeg gray": encoded(picture().convert("L"), "JPEG"),
    "jpeg cmyk": encoded(picture().convert("CMYK"), "JPEG", quality=100, subsampling=0),
    "jpeg progressive": encoded(picture(), "JPEG", quality=95, progressive=True),
    "gif": encoded(picture(), "GIF"),
    "gif transparent": encoded(palette(), "GIF", transparency=FIRST),
    "gif animated": encoded(palette(), "GIF", save_all=True, append_images=[ImageOps.invert(picture())]),
    "bmp": encoded(picture(), "BMP"),
    "bmp palette": encoded(palette(), "BMP"),
    "bmp of one bit": encoded(picture().convert("1"), "BMP"),
    "bmp gray": encoded(picture().convert("L"), "BMP"),
    "webp": encoded(picture(), "WEBP", quality=95),
    "webp alpha": encoded(transparent(), "WEBP", lossless=True),
    "webp animated": encoded(
        picture(), "WEBP", lossless=True, save_all=True, append_images=[ImageOps.invert(picture())]
    ),
    "tiff": encoded(picture(), "TIFF"),
    "tiff alpha": encoded(transparent(), "TIFF"),
    "tiff palette": encoded(palette(), "TIFF"),
    "tiff cmyk": encoded(picture().convert("CMYK"), "TIFF"),
    "tiff of 16 bits": encoded(gray16(), "TIFF"),
    "avif": encoded(picture(), "AVIF", quality=100),
}


REFUSED = {
    "empty": b"",
    "words": b"not a picture",
    "png, its signature": FILES["png"][:8],
    "png, half": FILES["png alpha"][:120],
    "jpeg, half": FILES["jpeg"][: len(FILES["jpeg"]) // 2],
    "gif, half": FILES["gif"][:40],
    "tiff of floating-point numbers": encoded(Image.fromarray(np.ones(SIZE, np.float32)), "TIFF"),
    "tiff of 32 bits": encoded(Image.fromarray(np.full(SIZE, 7, np.int32)), "TIFF"),
    "tiff of signed numbers": encoded(picture().convert("L"), "TIFF", tiffinfo={339: 2}),
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def tiff_block(order: str, kind: int, value: int, entries_before: int = 0) -> bytes:
    """An EXIF block as any camera may write it."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "big" if order == "MM" else "little")

    field = number(value, {1: 1, 3: 2, 4: 4}[kind]).ljust(4, b"\0")
    entries = [(0x0100 + i, 3, number(7, 2).ljust(4, b"\0")) for i in range(entries_before)]
    entries.append((0x0112, kind, field))
    body = b"".join(number(tag, 2) + number(kind, 2) + number(1, 4) + data for tag, kind, data in entries)
    return order.encode() + number(42, 2) + number(8, 4) + number(len(entries), 2) + body + bytes(4)


def with_segments(contents: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG file with segments in front of its own."""
    written = b"".join(
        bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data for marker, data in segments
    )
    return contents[:2] + written + contents[2:]


def with_chunk(contents: bytes, name: bytes, data: bytes, where: str = "before") -> bytes:
    """A PNG file with another chunk before its pixels or behind them."""
    chunk = len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
    at = {"before": contents.index(b"IDAT") - 4, "behind": contents.index(b"IEND") - 4}[where]
    return contents[:at] + chunk + contents[at:]
