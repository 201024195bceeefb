"""A file becomes the picture that a viewer shows: every format and mode against Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tf_simclrv2.data.encoded_images import WHITE, decode_image

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


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(contents):
    return decode_image(contents)


@pytest.mark.parametrize("name", FILES)
def test_it_looks_as_in_a_viewer(name):
    found = decode(FILES[name]).numpy()
    want = expected(FILES[name], WHITE)
    assert found.shape == want.shape
    # Decoders of JPEG round differently; TensorFlow's is another one than Pillow's.
    tolerance = 0.05 if name.startswith("jpeg") else 1e-6
    np.testing.assert_allclose(found, want, atol=tolerance)


@pytest.mark.parametrize("name", ["png", "png alpha", "png palette, alpha of each color", "gif transparent"])
@pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), BLUE])
def test_any_background(name, background):
    found = decode_image(tf.constant(FILES[name]), background)
    np.testing.assert_allclose(found, expected(FILES[name], background), atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_hidden_color_does_not_show(kind):
    exact = {"WEBP": {"lossless": True, "exact": True}}.get(kind, {})
    images = [decode(encoded(transparent(hidden), kind, **exact)).numpy() for hidden in (0, 128, 255)]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(channels):
    contents = png16(channels)
    values = tf.io.decode_png(contents, channels=4, dtype=tf.uint16).numpy() / 65535
    np.testing.assert_allclose(decode(contents), laid_on(values, WHITE), atol=1e-6)
    assert len(np.unique(values[..., 0])) > 200, "more steps than 8 bits would leave of these"


def exif(orientation: int, **others) -> Image.Exif:
    tags = Image.Exif()
    for tag, value in {274: orientation, **others}.items():
        tags[int(tag)] = value
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_a_photograph_is_turned_upright(kind, orientation):
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    contents = encoded(picture(), kind, exif=exif(orientation), **options)
    found, want = decode(contents).numpy(), expected(contents, WHITE)
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, atol=0.03)


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


PLAIN = FILES["jpeg"]


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("entries_before", [0, 12])
def test_any_order_of_bytes_and_type_of_the_number(order, kind, entries_before):
    contents = with_segments(PLAIN, (0xE1, b"Exif\0\0" + tiff_block(order, kind, 6, entries_before)))
    np.testing.assert_array_equal(decode(contents), np.rot90(decode(PLAIN), -1))


def test_an_orientation_behind_other_segments():
    before = [(0xE0, bytes(40_000)), (0xFE, b"a comment"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")]
    contents = with_segments(PLAIN, *before, (0xE1, b"Exif\0\0" + tiff_block("II", 3, 3)))
    np.testing.assert_array_equal(decode(contents), np.rot90(decode(PLAIN), 2))


BROKEN_BLOCKS = {
    "nothing": b"",
    "its beginning": b"MM\0*",
    "no directory there": b"II*\0\xff\xff\xff\xff" + bytes(20),
    "an unknown orientation": tiff_block("II", 3, 9),
    "zero": tiff_block("MM", 3, 0),
    "cut off": tiff_block("II", 3, 6)[:14],
}


@pytest.mark.parametrize("block", BROKEN_BLOCKS.values(), ids=BROKEN_BLOCKS)
def test_a_broken_note_is_no_note(block):
    contents = with_segments(PLAIN, (0xE1, b"Exif\0\0" + block))
    np.testing.assert_array_equal(decode(contents), decode(PLAIN))


def test_the_name_in_the_pixels_is_no_note():
    contents = PLAIN + b"Exif\0\0" + tiff_block("II", 3, 6)
    np.testing.assert_array_equal(decode(contents), decode(PLAIN))


REFUSED = {
    "empty": b"",
    "words": b"not a picture",
    "png, its signature": FILES["png"][:8],
    "png, half": FILES["png alpha"][:120],
    "jpeg, half": FILES["jpeg"][: len(FILES["jpeg"]) // 2],
    "gif, half": FILES["gif"][:40],
    "tiff of floating-point numbers": encoded(Image.fromarray(np.ones(SIZE, np.float32)), "TIFF"),
}


@pytest.mark.parametrize("contents", REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_is_an_error(contents):
    with pytest.raises(tf.errors.OpError):
        decode(contents)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_elsewhere(contents):
    return decode_image(contents, portable=True)


def test_a_portable_graph_calls_no_python():
    graph = decode_elsewhere.get_concrete_function().graph.as_graph_def()
    kinds = {node.op for function in graph.library.function for node in function.node_def}
    assert not {"PyFunc", "PyFuncStateless", "EagerPyFunc"} & kinds
    for name in ("png alpha", "jpeg"):
        np.testing.assert_array_equal(decode_elsewhere(FILES[name]), decode(FILES[name]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither JPEG nor PNG"):
        decode_elsewhere(FILES["gif"])
