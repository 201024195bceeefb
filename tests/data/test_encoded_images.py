"""A file becomes the picture that a viewer shows: every format and mode against Pillow."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.formats import (
    BLUE,
    FILES,
    REFUSED,
    encoded,
    exif,
    expected,
    gray16,
    laid_on,
    picture,
    png16,
    tiff_block,
    transparent,
    with_chunk,
    with_segments,
)
from tf_simclrv2 import ConfigError, DataConfig
from tf_simclrv2.data.encoded_images import WHITE, decode_image


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(contents):
    return decode_image(contents)


@pytest.mark.parametrize("name", FILES)
def test_it_looks_as_in_a_viewer(name):
    found = decode(FILES[name]).numpy()
    want = expected(FILES[name], WHITE)
    assert found.shape == want.shape
    # Decoders of JPEG round differently; TensorFlow's is another one than Pillow's.
    tolerance = {"jpeg cmyk": 0.05}.get(name, 0.03 if name.startswith("jpeg") else 1e-6)
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


def test_a_tiff_of_12_bits():
    """As microscopes and scanners write it: white is 4095."""
    entries = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    pixels = bytes([0xFF, 0xF8, 0x00, 0x00])  # 4095 and 2048, and a byte that is none.
    contents = (
        b"II*\0" + struct.pack("<I", 12) + pixels + struct.pack("<H", len(entries)) + directory + bytes(4)
    )
    np.testing.assert_allclose(decode(contents)[0, :, 0], [1.0, 2048 / 4095], atol=1e-6)


def test_a_tiff_of_16_bits_in_which_zero_is_white():
    """Pillow turns only 8 bits over."""
    values = np.asarray(gray16())
    contents = encoded(Image.fromarray(65535 - values), "TIFF", tiffinfo={262: 0})
    np.testing.assert_allclose(decode(contents), values[..., None].repeat(3, -1) / 65535, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_a_photograph_is_turned_upright(kind, orientation):
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
    contents = encoded(picture(), kind, exif=exif(orientation), **options)
    found, want = decode(contents).numpy(), expected(contents, WHITE)
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, atol=0.03)


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


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("name", ["png", "png palette", "png alpha", "png gray of 16 bits"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_png_is_turned_wherever_it_says_so(name, orientation, where):
    contents = with_chunk(FILES[name], b"eXIf", tiff_block("MM", 3, orientation), where)
    want = expected(contents, WHITE)
    assert want.shape != decode(FILES[name]).shape or orientation == 3
    np.testing.assert_allclose(decode(contents), want, atol=1e-6)


def test_a_png_whose_note_is_behind_many_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    contents = encoded(Image.fromarray(noise), "PNG")
    assert len(contents) > 300_000
    turned = with_chunk(contents, b"eXIf", tiff_block("II", 3, 8), "behind")
    np.testing.assert_array_equal(decode(turned), np.rot90(decode(contents)))


@pytest.mark.parametrize("repeated", [b"Exif\0\0", b""])
def test_a_png_note_with_and_without_its_name(repeated):
    contents = with_chunk(FILES["png"], b"eXIf", repeated + tiff_block("II", 3, 6))
    np.testing.assert_allclose(decode(contents), expected(contents, WHITE), atol=1e-6)
    np.testing.assert_array_equal(decode(contents), np.rot90(decode(FILES["png"]), -1))


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
    contents = with_chunk(FILES["png"], b"eXIf", block)
    np.testing.assert_array_equal(decode(contents), decode(FILES["png"]))


def test_the_name_in_the_pixels_is_no_note():
    contents = PLAIN + b"Exif\0\0" + tiff_block("II", 3, 6)
    np.testing.assert_array_equal(decode(contents), decode(PLAIN))


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


@pytest.mark.parametrize(
    ("written", "color"),
    [("white", (1, 1, 1)), ("black", (0, 0, 0)), ("51,102,255", (0.2, 0.4, 1.0))],
)
def test_the_background_of_a_config(written, color):
    assert DataConfig(background=written).background_color == pytest.approx(color)


@pytest.mark.parametrize("written", ["", "blue", "1,2", "1,2,256", "1,2,3,4", "#ffffff"])
def test_no_background(written):
    with pytest.raises(ConfigError, match=rf"background is '{written}'; write white, black"):
        DataConfig(background=written)
