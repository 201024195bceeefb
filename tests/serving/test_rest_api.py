"""The server's answers: those of the signatures, in the form of TensorFlow Serving's documentation."""

from __future__ import annotations

import base64
import http.client
import json
import math
import pathlib
import runpy
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.programs import ROOT
from tests.serving.local_server import Answer, Client, base64_of, serving
from tests.serving.toy_modules import png, save_toy
from tests.small_module import encoded, picture, relative
from tf_simclrv2.data.request_images import MAX_PIXELS
from tf_simclrv2.modules.serving_signatures import serving_signatures
from tf_simclrv2.serving import rest_api
from tf_simclrv2.serving.serve_config import ServeConfig

MAX_BODY = 20_000
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two versions of a model."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    save_toy(folder / "3", factor=2.0)
    save_toy(folder / "10", factor=5.0)
    return folder


@pytest.fixture(scope="module")
def client(toy: pathlib.Path) -> Iterator[Client]:
    with serving(toy, max_images=8, max_body=MAX_BODY) as client:
        yield client


def test_health(client: Client) -> None:
    assert client.ask("/healthz") == (200, {"status": "ok"})


def test_the_status_of_each_version(client: Client) -> None:
    def available(number: str) -> dict[str, Any]:
        status = {"error_code": "OK", "error_message": ""}
        return {"version": number, "state": "AVAILABLE", "status": status}

    assert client.ask(client.base) == (200, {"model_version_status": [available("10"), available("3")]})
    assert client.ask(f"{client.base}/versions/3") == (200, {"model_version_status": [available("3")]})


def test_metadata(client: Client) -> None:
    status, body = client.ask(f"{client.base}/metadata")
    assert status == 200
    assert body["model_spec"] == {"name": "toy", "signature_name": "", "version": "10"}
    definition = body["metadata"]["signature_def"]["signature_def"]["two"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert {
        name: (tensor["dtype"], tensor["tensor_shape"]) for name, tensor in definition["inputs"].items()
    } == {
        "a": ("DT_FLOAT", shape),
        "b": ("DT_INT32", shape),
    }
    assert definition["outputs"]["product"]["dtype"] == "DT_FLOAT"
    assert client.ask(f"{client.base}/versions/3/metadata").body["model_spec"]["version"] == "3"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        # One input: its values, or objects with its name. Two outputs: an object for each example.
        (
            {"instances": [[1, 2], [3, 4.5]]},
            {"predictions": [{"scaled": [5, 10], "sum": 3}, {"scaled": [15, 22.5], "sum": 7.5}]},
        ),
        ({"instances": [{"x": [1, 2]}]}, {"predictions": [{"scaled": [5, 10], "sum": 3}]}),
        ({"inputs": [[1, 2], [3, 4]]}, {"outputs": {"scaled": [[5, 10], [15, 20]], "sum": [3, 7]}}),
        ({"inputs": {"x": [[1, 2]]}}, {"outputs": {"scaled": [[5, 10]], "sum": [3]}}),
        # An only output goes without its name.
        (
            {"signature_name": "two", "instances": [{"a": 1.5, "b": 2}, {"a": 1, "b": -3}]},
            {"predictions": [3, -3]},
        ),
        ({"signature_name": "scalar", "inputs": "a"}, {"outputs": "aa"}),
        ({"signature_name": "two", "inputs": {"a": [1.5, 1], "b": [2, -3]}}, {"outputs": [3, -3]}),
        (
            {"signature_name": "small", "instances": [[0, 255], [7, 8]]},
            {"predictions": [[True, False], [False, True]]},
        ),
        # Inputs of different lengths have columns alone.
        (
            {"signature_name": "whole", "inputs": {"v": [1, 2, 3], "x": [[1, 2], [3, 4]]}},
            {"outputs": {"v": [2, 3, 4], "mean": 2.5}},
        ),
        # Strings are text; those whose name ends so are binary.
        (
            {"signature_name": "text", "instances": ["straße", base64_of(b"b")]},
            {
                "predictions": [
                    {"upper": "STRAßE", "raw_bytes": base64_of("straße".encode())},
                    {"upper": "B", "raw_bytes": base64_of(b"b")},
                ]
            },
        ),
        (
            {"signature_name": "text", "inputs": {"words": ["a"]}},
            {"outputs": {"upper": ["A"], "raw_bytes": [base64_of(b"a")]}},
        ),
        (
            {"signature_name": "", "unknown": 1, "instances": [[0, 0]]},
            {"predictions": [{"scaled": [0, 0], "sum": 0}]},
        ),
    ],
)
def test_rows_and_columns(client: Client, request_: dict, answer: dict) -> None:
    assert client.predict(request_) == (200, answer)


def test_a_version_is_asked_for_by_its_number(client: Client) -> None:
    assert client.predict({"inputs": [[1, 0]]}, "/versions/3").body["outputs"]["scaled"] == [[2, 0]]
    assert client.predict({"inputs": [[1, 0]]}, "/versions/10").body["outputs"]["scaled"] == [[5, 0]]


def test_base64_as_other_programs_write_it(client: Client) -> None:
    contents = png(7, side=40)
    for text in (base64.encodebytes(contents).decode(), base64.b64encode(contents).decode().rstrip("=")):
        request = {"signature_name": "image_bytes", "instances": [{"b64": text}]}
        assert client.predict(request) == (200, {"predictions": [[7, 7, 7]]})


def test_infinities_are_written_as_tensorflow_serving_does(client: Client) -> None:
    request = {"signature_name": "reciprocal", "inputs": [[0, -4]]}
    assert client.predict(request) == (200, {"outputs": [[math.inf, -0.25]]})


def large_png() -> bytes:
    """A file of 20,000 x 10,000 pixels that claims no more bytes than its header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def large_jpeg() -> bytes:
    """The same size in the header of a JPEG of 4 pixels."""
    small = tf.io.encode_jpeg(np.zeros([2, 2, 3], np.uint8)).numpy()
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", 10_000, 20_000) + small[at + 4 :]


def images(*contents: bytes) -> dict[str, Any]:
    return {"signature_name": "image_bytes", "instances": list(map(base64_of, contents))}


WRONG = {
    "no JSON": ('{"instances": [[1, 2]]', "the body is not JSON (unexpected end of data"),
    "nothing": ("", "the body is not JSON"),
    "binary": (b"\xff\x00", "the body is not JSON"),
    "deep": ('{"instances": ' + "[" * 5000 + "]" * 5000 + "}", "the body is not JSON"),
    "deep within limits": ('{"instances": ' + "[" * 900 + "1" + "]" * 900 + "}", "x holds lists"),
    "a list": ([[1, 2]], "the body is JSON, but not an object"),
    "neither": ({"x": [[1, 2]]}, "neither instances nor inputs"),
    "both": ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "both instances and inputs"),
    "no examples": ({"instances": []}, "not a list of at least one example"),
    "no list": ({"instances": 3}, "not a list of at least one example"),
    "empty columns": ({"inputs": []}, "x is empty"),
    "empty named columns": ({"inputs": {"x": []}}, "x is empty"),
    "an empty example": ({"instances": [[]]}, "x is empty"),
    "unknown signature": (
        {"signature_name": "no", "instances": [1]},
        "signature_name is 'no', but version 10",
    ),
    "signature no text": ({"signature_name": 3, "instances": [1]}, "signature_name is not text"),
    "another shape": ({"instances": [[1, 2, 3]]}, "x has the shape [1, 3]; send [?, 2]"),
    "another rank": ({"instances": [1, 2]}, "x has the shape [2]; send [?, 2]"),
    "ragged": ({"instances": [[1, 2], [1]]}, "x holds lists of different lengths"),
    "text for numbers": ({"instances": [["1", "2"]]}, "x holds text; send numbers"),
    "true for numbers": ({"instances": [[1, True]]}, "x holds true or false"),
    "null": ({"instances": [[1, None]]}, "x holds null"),
    "a file for numbers": ({"instances": [base64_of(b"12")]}, "x holds an object; send numbers"),
    "NaN": ('{"instances": [[NaN, 1]]}', "NaN and Infinity are not numbers of JSON"),
    "infinity": ('{"instances": [[-Infinity, 1]]}', "NaN and Infinity are not numbers of JSON"),
    "beyond float32": ('{"instances": [[1e39, 1]]}', "x holds a number that does not fit float32"),
    "beyond float64": ('{"instances": [[1e999, 1]]}', "number is infinity"),
    "fraction": ({"signature_name": "small", "instances": [[0.5, 1]]}, "small holds fractions; send whole"),
    "beyond uint8": (
        {"signature_name": "small", "instances": [[256, 1]]},
        "does not fit uint8; send 0 to 255",
    ),
    "below uint8": ({"signature_name": "small", "instances": [[-1, 1]]}, "does not fit uint8"),
    "beyond int64": ('{"signature_name": "small", "instances": [[1, 99999999999999999999]]}', "small holds "),
    "missing row": ({"signature_name": "two", "instances": [{"a": 1}]}, "instances[0] lacks 'b'"),
    "missing later": (
        {"signature_name": "two", "instances": [{"a": 1, "b": 1}, {"b": 1}]},
        "instances[1] lacks 'a'; signature two takes a, b",
    ),
    "unnamed row": ({"signature_name": "two", "instances": [1]}, "instances[0] is not an object with names"),
    "named then not": ({"instances": [{"x": [1, 2]}, [1, 2]]}, "instances[1] is not an object with names"),
    "missing column": ({"signature_name": "two", "inputs": {"b": [1]}}, "inputs lacks 'a'"),
    "unknown column": ({"inputs": {"x": [[1, 2]], "y": 1}}, "inputs has 'y', which is not an input"),
    "unnamed columns": ({"signature_name": "two", "inputs": [1]}, "inputs is not an object with names"),
    "columns of two lengths": (
        {"signature_name": "two", "inputs": {"a": [1, 2], "b": [1, 2, 3]}},
        "Incompatible shapes",
    ),
    "whole as rows": (
        {"signature_name": "whole", "instances": [{"v": 1, "x": [1, 2]}]},
        "v has the shape [1]",
    ),
    "too many": ({"instances": [[1, 2]] * 9}, "x holds 9 examples; send at most 8"),
    "too many columns": ({"inputs": {"x": [[1, 2]] * 9}}, "x holds 9 examples; send at most 8"),
    "no image": (images(b"hello"), "Unknown image file format."),
    "cut image": (images(png(1)[:40]), "Invalid PNG."),
    "no file": (images(b""), "Input is empty."),
    "half a letter": ('{"signature_name": "text", "instances": ["\\ud800"]}', "the body is not JSON"),
    "b64 in another script": (
        {"signature_name": "image_bytes", "instances": [{"b64": "ÄÖÜ"}]},
        "b64 that is not base64",
    ),
    "not base64": (
        {"signature_name": "image_bytes", "instances": [{"b64": "%%%"}]},
        "b64 that is not base64",
    ),
    "b64 of a number": ({"signature_name": "image_bytes", "instances": [{"b64": 3}]}, 'not {"b64": …}'),
    "b64 and more": (
        {"signature_name": "image_bytes", "inputs": [{"b64": "aGk=", "x": 1}]},
        'not {"b64": …}',
    ),
    "200 megapixels, PNG": (images(png(1), large_png()), "image 1 of image_bytes has 200000000 pixels; send"),
    "200 megapixels, JPEG": (
        images(large_jpeg()),
        "image 0 of image_bytes has 200000000 pixels; send at most",
    ),
}


@pytest.mark.parametrize(("request_", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_told_why(client: Client, request_: Any, sentence: str) -> None:
    status, body = client.predict(request_)
    assert status == 400 and body.keys() == {"error"}
    assert sentence in body["error"] and body["error"].endswith(".") and "\n" not in body["error"]
    assert client.predict({"inputs": [[1, 0]]}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/v1/models/other", 404, "model 'other' is not served; this server has 'toy'."),
        ("POST", "/v1/models/other:predict", 404, "model 'other' is not served"),
        ("GET", "/v1/models/toy/versions/4", 404, "version 4 of 'toy' is not served; use 3, 10."),
        ("POST", "/v1/models/toy/versions/4:predict", 404, "version 4 of 'toy' is not served"),
        ("GET", "/v1/models/toy/versions/newest", 404, "is not a request that this server supports"),
        ("GET", "/v1/models/toy/labels/stable", 404, "is not a request that this server supports"),
        ("POST", "/v1/models/toy:classify", 404, "is not a request that this server supports"),
        ("GET", "/v1/models/toy/versions/" + "9" * 5000, 404, "is not a request that this server supports"),
        ("GET", "/v1/models/toy/", 404, "is not a request that this server supports"),
        ("GET", "/v1/models/%FF%00", 404, "is not served"),
        ("GET", "/", 404, "is not a request that this server supports"),
        ("GET", "/v1/models/toy:predict", 405, "use POST."),
        ("PUT", "/v1/models/toy:predict", 405, "use POST."),
        ("POST", "/v1/models/toy", 405, "use GET."),
        ("DELETE", "/v1/models/toy/metadata", 405, "use GET."),
    ],
)
def test_what_is_not_there(client: Client, method: str, path: str, status: int, sentence: str) -> None:
    answer = client.ask(path, method=method, Host="[")
    assert answer.status == status and answer.body.keys() == {"error"}
    assert sentence in answer.body["error"]


def test_a_large_body_is_refused_unread(client: Client) -> None:
    """The answer comes although nothing of the body, which is said to be of a gigabyte, was sent."""
    head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {10**9}\r\n\r\n"
    with client.begin(head.encode()) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        error = json.loads(answer.read())["error"]
    assert answer.status == 413 and f"the body is larger than {MAX_BODY} bytes" in error


def test_a_client_that_sends_a_large_body_nevertheless_reads_why(client: Client) -> None:
    answer = client.predict(b"[" * 5_000_000)
    assert answer.status == 413 and "--max_body" in answer.body["error"]


def test_a_body_of_unknown_length_is_read_up_to_the_limit(client: Client) -> None:
    head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"2710\r\n" + b"[" * 10_000 + b"\r\n"
    with client.begin(head + 3 * chunk) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_waiting_requests_hold_a_limited_number_of_bytes(toy: pathlib.Path) -> None:
    """One that would exceed it is told to come back, and is answered when the others are gone."""
    small = {"inputs": [[1, 2]]}
    with serving(toy, max_body=MAX_BODY, max_held=10_000) as client:
        head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode()
        with client.begin(head + 9_998 * b"["):
            answer = until(lambda: client.predict(small), lambda answer: answer.status != 200)
            assert answer.status == 503
            assert "of 10000 bytes; send this one again later" in answer.body["error"]
        assert until(lambda: client.predict(small), lambda answer: answer.status != 503).status == 200


def test_a_request_that_never_fits_is_not_told_to_come_back(toy: pathlib.Path) -> None:
    with serving(toy, max_body=20_000, max_held=10_000) as client:
        answer = client.predict({"inputs": [[1] * 5_000]})
        assert answer.status == 413 and "a larger --max_held" in answer.body["error"]


def until(ask: Callable[[], Answer], wanted: Callable[[Answer], bool]) -> Answer:
    """Asks until the answer is the one that is wanted, for a while: another request is on its way."""
    end = time.monotonic() + 30.0
    while not wanted(answer := ask()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer


def test_a_fault_of_the_server_is_an_answer_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(rest_api, "answer_of", fail)
        answer = client.predict({"inputs": [[1, 2]]})
    assert answer == (500, {"error": "the server failed (RuntimeError); see its log."})
    assert "a fault of ours" in caplog.text
    assert client.predict({"inputs": [[1, 2]]}).status == 200


def test_a_compressed_body_is_refused(client: Client) -> None:
    answer = client.ask(
        f"{client.base}:predict", zlib.compress(b"{}"), "POST", **{"Content-Encoding": "gzip"}
    )
    assert answer == (415, {"error": "the body is encoded as gzip; send it as it is."})


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The signatures of an export around means of pixels, which take less time than a network."""
    path = tmp_path_factory.mktemp("export") / "network"
    weights = tf.random.stateless_normal([3, 10], seed=(0, 0))

    def infer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        means = tf.reduce_mean(images, [1, 2])
        return {"final_avg_pool": means, "logits_sup": means @ weights}

    spec = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
    endpoints = ["final_avg_pool", "logits_sup"]
    signatures = serving_signatures(infer, spec, 16, endpoints, class_names=[f"kind {i}" for i in range(10)])
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)
    return path


def test_the_signatures_of_an_export_answer_as_when_they_are_called(network: pathlib.Path) -> None:
    module = tf.saved_model.load(str(network))
    files = [encoded(picture(), "png"), encoded(picture(64, 30), "jpeg")]
    floats = np.random.default_rng(0).uniform(size=[2, 32, 32, 3]).astype(np.float32)
    with serving(network) as client:
        assert client.base == "/v1/models/network"
        cases = {
            "image_bytes": (list(map(base64_of, files)), tf.constant(files)),
            "serving_default": (floats.tolist(), tf.constant(floats)),
        }
        for name, (values, tensor) in cases.items():
            signature = module.signatures[name]
            (key,) = signature.structured_input_signature[1]
            expected = {name: output.numpy() for name, output in signature(**{key: tensor}).items()}
            rows = client.predict({"signature_name": name, "instances": values}).body["predictions"]
            columns = client.predict({"signature_name": name, "inputs": {key: values}}).body["outputs"]
            assert columns.keys() == expected.keys() and len(rows) == 2
            for output, value in expected.items():
                assert relative(columns[output], value) < 1e-6
                assert relative([row[output] for row in rows], value) < 1e-6
        # The module's own limits, in its words.
        answer = client.predict(images(files[0], b"hello"))
        assert answer == (400, {"error": "Image 1 of the request is neither JPEG nor PNG."})
        answer = client.predict(images(encoded(picture(1, 9), "png")))
        assert answer.status == 400 and "has 1 x 9 pixels; sides must be at least 2" in answer.body["error"]


def test_the_client_of_the_examples_is_answered(
    network: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = runpy.run_path(str(EXAMPLES / "serving.py"), run_name="example")
    files = [encoded(picture(), "png"), encoded(picture(64, 30), "jpeg")]
    with serving(network) as client:
        address = f"http://127.0.0.1:{client.port}{client.base}"
        rows = example["ask_server"](address, files)
        with pytest.raises(example["Refused"], match="Image 1 of the request is neither JPEG nor PNG"):
            example["ask_server"](address, [files[0], b"hello"])
    for row, expected in zip(rows, example["ask_bundle"](str(network), files), strict=True):
        assert row.keys() == expected.keys()
        assert all(relative(row[name], expected[name]) < 1e-6 for name in expected)


def test_the_client_for_classes_is_answered(
    network: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = runpy.run_path(str(EXAMPLES / "classify.py"), run_name="example")
    files = {"a.png": encoded(picture(), "png"), "b.jpg": encoded(picture(64, 30), "jpeg")}
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_bytes(files[path.name])
    signature = tf.saved_model.load(str(network)).signatures["image_bytes"]
    logits = signature(image_bytes=tf.constant(list(files.values())))["logits_sup"].numpy()
    with serving(network) as client:
        address = f"http://127.0.0.1:{client.port}{client.base}"
        example["main"](address, *map(str, paths), str(tmp_path / "absent.png"))
        with pytest.raises(SystemExit, match="error: model 'other' is not served"):
            example["main"](address.replace("network", "other"), str(paths[0]))
    expected = tf.nn.softmax(logits).numpy()
    assert capsys.readouterr().out.splitlines() == [
        f"{path} kind {row.argmax()} {row.max():.3f}" for path, row in zip(paths, expected, strict=True)
    ]
    with pytest.raises(SystemExit, match=r"does not answer \(.*refused"):
        example["main"](address, str(paths[0]))


def test_the_client_for_classes_says_that_there_are_none(
    client: Client, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = runpy.run_path(str(EXAMPLES / "classify.py"), run_name="example")
    (tmp_path / "a.png").write_bytes(encoded(picture(), "png"))
    with pytest.raises(SystemExit, match="error: signature_name is 'classes', but version 10 has"):
        example["main"](f"http://127.0.0.1:{client.port}{client.base}", str(tmp_path / "a.png"))


def test_the_default_limit_of_pixels_is_that_of_exports() -> None:
    assert ServeConfig("module").max_pixels == MAX_PIXELS


def test_numbers_survive_the_way_there_and_back(client: Client) -> None:
    numbers = np.random.default_rng(0).normal(size=[8, 2]).astype(np.float32)
    request = json.dumps({"signature_name": "serving_default", "inputs": numbers.tolist()})
    outputs = client.predict(request).body["outputs"]
    np.testing.assert_array_equal(np.float32(outputs["scaled"]), numbers * np.float32(5.0))
