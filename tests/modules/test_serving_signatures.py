"""What a server may be asked, and what it refuses."""

import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import config_pb2

from tests.goldens import image
from tests.small_module import R18, encoded, isolated, network_of, picture, relative
from tf_simclrv2 import save_module
from tf_simclrv2.models import resnet

# ------------------------------------------------------------------------------ signatures


def test_signatures(exported, module):
    network, _ = exported
    images = image(3, 32, 3, 5)
    expected = network(images, training=False)
    heads = [f"proj_head_{i}" for i in range(4)]
    outputs = {
        "serving_default": ["final_avg_pool", *heads, "logits_sup"],
        "encoder": ["final_avg_pool"],
        "logits": ["logits_sup"],
        **{head: [head] for head in heads},
    }
    assert set(module.signatures) == {*outputs, "image_bytes", "classes"}
    for name, endpoints in outputs.items():
        found = module.signatures[name](images=tf.constant(images))
        assert set(found) == set(endpoints), name
        assert all(relative(found[endpoint], expected[endpoint]) < 1e-5 for endpoint in endpoints)


def test_classes_are_named(exported, module):
    names = pathlib.Path(module.class_names.asset_path.numpy().decode()).read_text().splitlines()
    contents = tf.constant([encoded(picture(40, 50, 3), "png"), encoded(picture(9, 300, 3), "jpeg")])
    logits = module.signatures["image_bytes"](image_bytes=contents)["logits_sup"].numpy()
    found = module.signatures["classes"](image_bytes=contents)
    assert found["class"].numpy().tolist() == [names[best].encode() for best in logits.argmax(axis=1)]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials.max(axis=1) / exponentials.sum(axis=1)
    np.testing.assert_allclose(found["probability"], expected, rtol=1e-6)


def test_without_names_no_class_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))
    save_module(network_of(R18), str(tmp_path / "module"))
    signatures = tf.saved_model.load(str(tmp_path / "module")).signatures
    assert "logits" in signatures and "classes" not in signatures


def on_white(image: tf.Tensor) -> tf.Tensor:
    """RGB of gray, RGB or RGBA."""
    if image.shape[-1] == 4:
        return image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
    return tf.broadcast_to(image, [*image.shape[:2], 3])


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_image_bytes_are_preprocessed_as_in_evaluation(exported, module, kind, channels):
    if (kind, channels) == ("jpeg", 4):
        return  # A JPEG has no transparency.
    network, _ = exported
    contents = [encoded(picture(40, 50, channels), kind), encoded(picture(9, 300, channels), kind)]
    # At 32 pixels and below, evaluation takes the whole image; see tests/data for the central crop.
    resized = [
        tf.image.resize(on_white(tf.image.decode_image(content, dtype=tf.float32)), [32, 32], "bicubic")
        for content in contents
    ]
    expected = network(np.clip(np.stack(resized), 0, 1), training=False)
    found = module.signatures["image_bytes"](image_bytes=tf.constant(contents))
    assert set(found) == set(module.signatures["serving_default"].structured_outputs)
    assert all(relative(found[name], expected[name]) < 1e-5 for name in found)


BAD_REQUESTS = {
    "no image": ([], "holds no images"),
    "empty": ([b""], "Image.*0.*neither JPEG nor PNG"),
    "text": ([b"no image at all, just some words"], "Image.*0.*neither JPEG nor PNG"),
    "gif": ([b"GIF89a" + bytes(40)], "neither JPEG nor PNG"),
    "second is bad": ([encoded(picture(), "png"), b"x"], "Image.*1.*neither"),
    "truncated jpeg": ([encoded(picture(80, 80), "jpeg")[:-200]], "Invalid JPEG"),
    "truncated png": ([encoded(picture(80, 80), "png")[:-60]], "Invalid PNG"),
    "png head only": ([encoded(picture(), "png")[:20]], "neither JPEG nor PNG"),
    "jpeg head only": ([b"\xff\xd8\xff\xe0"], "Invalid JPEG"),
    "1 x 1": ([encoded(picture(1, 1), "png")], "1.*x.*1.*pixels; sides must be at least 2"),
}


def huge(kind: str) -> bytes:
    """1.2 GB of pixels in a file of a megabyte or two; it takes seconds to make."""
    file = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(file, kind)
    return file.getvalue()


def refuses(module, contents: list[bytes], message: str) -> None:
    """It refuses these, and still answers."""
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        module.signatures["image_bytes"](image_bytes=tf.constant(contents, tf.string))
    good = module.signatures["image_bytes"](image_bytes=tf.constant([encoded(picture(), "png")]))
    assert np.all(np.isfinite(good["final_avg_pool"]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_huge_images_are_refused(module, kind):
    refuses(module, [huge(kind)], "20000.*x.*20000.*at most 50000000")


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_image_bytes(module, name):
    refuses(module, *BAD_REQUESTS[name])


def test_a_huge_image_takes_no_memory(exported, tmp_path):
    (tmp_path / "huge.png").write_bytes(huge("PNG"))
    done = isolated(
        "import resource, tensorflow as tf\n"
        "serve = tf.saved_model.load(sys.argv[1]).signatures['image_bytes']\n"
        "small = tf.io.encode_png(tf.zeros([40, 40, 3], tf.uint8)).numpy()\n"
        "serve(image_bytes=tf.constant([small]))\n"
        "huge = open(sys.argv[2], 'rb').read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    serve(image_bytes=tf.constant([huge]))\n"
        "except tf.errors.InvalidArgumentError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n",
        exported[1],
        str(tmp_path / "huge.png"),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # KiB


def test_bad_images(module):
    serve = module.signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="holds no images"):
        serve(images=tf.zeros([0, 32, 32, 3]))
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        # As a server does: any tensor is fed by the name of the input; Session.run would look at it first.
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], module_path(module))
        signature = loaded.signature_def["serving_default"]
        call = session._make_callable_from_options(
            config_pb2.CallableOptions(
                feed=[signature.inputs["images"].name], fetch=[signature.outputs["final_avg_pool"].name]
            )
        )
        for bad in (
            np.zeros([], np.float32),
            np.zeros([7], np.float32),
            np.zeros([32, 32, 3], np.float32),
            np.zeros([1, 1, 32, 32, 3], np.float32),
            np.zeros([1, 32, 32, 1], np.float32),
            np.zeros([1, 32, 32, 4], np.float32),
            np.zeros([1, 32, 32, 3], np.uint8),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError):
                call(bad)
        assert np.all(np.isfinite(call(np.zeros([1, 32, 32, 3], np.float32))[0]))


def module_path(module) -> str:
    """Where a module was loaded from, told by its asset."""
    return str(pathlib.Path(module.class_names.asset_path.numpy().decode()).parent.parent)


def test_the_loader_of_tensorflow_serving(exported, module):
    images = image(2, 32, 3, 5)
    contents = [encoded(picture(), "jpeg")]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], exported[1])
        found = {}
        for name, signature in loaded.signature_def.items():
            if name.startswith("__"):
                continue
            (key,) = signature.inputs
            outputs = {output: info.name for output, info in signature.outputs.items()}
            value = contents if key == "image_bytes" else images
            found[name] = session.run(outputs, {signature.inputs[key].name: value})
    assert set(found) == set(module.signatures)
    for name, outputs in found.items():
        if name in ("image_bytes", "classes"):
            expected = module.signatures[name](image_bytes=tf.constant(contents))
        else:
            expected = module.signatures[name](images=tf.constant(images))
        assert set(outputs) == set(expected)
        for key in outputs:
            if key == "class":
                assert outputs[key].tolist() == expected[key].numpy().tolist()
            else:
                assert relative(outputs[key], expected[key]) < 1e-5, name
