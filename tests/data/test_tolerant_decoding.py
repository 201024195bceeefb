"""A pipeline sees every file as `decode_image` does, and marks what it cannot decode."""

import numpy as np
import tensorflow as tf

from tests.data.formats import (
    BLUE,
    FILES,
    REFUSED,
    encoded,
    exif,
    picture,
    tiff_block,
    with_chunk,
    with_segments,
)
from tf_simclrv2.data.encoded_images import decode_image
from tf_simclrv2.data.tolerant_decoding import decoded_then

NOTED = {
    **{f"jpeg, orientation {n}": encoded(picture(), "JPEG", exif=exif(n)) for n in range(1, 9)},
    **{
        f"png, orientation {n} {where} its pixels": with_chunk(
            FILES["png"], b"eXIf", tiff_block("MM", 3, n), where
        )
        for n in (1, 6)
        for where in ("before", "behind")
    },
    "jpeg, far behind": with_segments(
        FILES["jpeg"], (0xE2, bytes(60_000)), (0xE1, b"Exif\0\0" + tiff_block("MM", 3, 8))
    ),
}


def through_a_pipeline(files: dict[str, bytes]) -> dict[str, dict[str, np.ndarray]]:
    """What comes out, by name."""
    names, contents = list(files), list(files.values())
    records = tf.data.Dataset.from_tensor_slices({"path": names, "contents": contents})
    prepare = decoded_then(lambda record: {"image": record["image"]}, lambda record: record["contents"], BLUE)
    return dict(zip(names, records.map(prepare).as_numpy_iterator(), strict=True))


def test_every_format_and_orientation():
    files = {**FILES, **NOTED}
    for name, found in through_a_pipeline(files).items():
        assert found["readable"] and found["path"] == name.encode()
        expected = decode_image(tf.constant(files[name]), BLUE)
        np.testing.assert_array_equal(found["image"], expected, err_msg=name)


def test_what_cannot_be_decoded_is_marked():
    found = through_a_pipeline(REFUSED)
    assert not any(example["readable"] for example in found.values())
    assert {example["image"].shape for example in found.values()} == {(1, 1, 3)}


def test_a_file_that_is_gone_is_marked(tmp_path):
    records = tf.data.Dataset.from_tensors({"path": tf.constant(str(tmp_path / "gone.png"))})
    prepare = decoded_then(lambda record: {}, lambda record: tf.io.read_file(record["path"]), BLUE)
    (found,) = records.map(prepare).as_numpy_iterator()
    assert not found["readable"]
