"""A run's network in every form, each as good as the network itself."""

import functools
import http.server
import importlib.util
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import types

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf2onnx
from ai_edge_litert.interpreter import Interpreter
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.goldens import image
from tests.programs import SMALL_PROGRAM
from tests.small_network import small_network as small_network
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import ConfigError, ExportError, SimCLR, UserError, progress, save_module
from tf_simclrv2.export import onnx_file, verification
from tf_simclrv2.export.checks import check_onnx, check_tflite
from tf_simclrv2.export.convert import convert
from tf_simclrv2.export.convert_config import ConvertConfig
from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.export.exporter import export
from tf_simclrv2.export.onnx_file import write_onnx
from tf_simclrv2.export.trained_network import load_trained_network
from tf_simclrv2.export.verification import verify_module, verify_onnx
from tf_simclrv2.modules.saved_model import exported_network
from tf_simclrv2.training.run import Run
from tf_simclrv2.weights.run_config import read_config

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The model_dir of a small pretraining."""
    directory = tmp_path_factory.mktemp("run") / "run"
    execute(config_for(directory, train_steps=2, keep_hub_module_max=1))
    return directory


@pytest.fixture(scope="module")
def network(run):
    return load_trained_network(str(run)).network


def relative(found, expected) -> float:
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


def program(*arguments: str, **options) -> list[str]:
    return [
        sys.executable,
        *SMALL_PROGRAM,
        "export",
        *arguments,
        *(f"--{k}={v}" for k, v in options.items()),
    ]


def test_the_program(run, network, tmp_path):
    output = tmp_path / "module"
    done = subprocess.run(
        program(model_dir=run, output=output), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(output) in done.stdout and "checked in a fresh process" in done.stdout
    assert "custom gradient" not in done.stderr.lower()
    module = tf.saved_model.load(str(output))
    images = image(3, 8, 3, 5)
    expected = network(images, training=False)
    found = module(images, training=False)
    assert all(relative(found[name], expected[name]) < 1e-5 for name in expected)
    told = json.loads((output / "simclr.json").read_text())
    assert told["training"]["global_step"] == 2
    assert told["training"]["eval/label_top_1_accuracy"] == pytest.approx(
        json.loads((run / "result.json").read_text())["eval/label_top_1_accuracy"]
    )
    assert told["class_names"] == [str(digit) for digit in range(10)]
    assert (output / "assets" / "labels.txt").read_text().split() == told["class_names"]


def test_the_module_that_a_run_leaves_is_as_complete(run):
    module = run / "saved_model" / "2"
    told = json.loads((module / "simclr.json").read_text())
    assert told["class_names"] and told["run"]["training"]["train_steps"] == 2
    assert (module / "README.md").exists()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float64"])
def test_the_module_that_a_run_leaves_is_the_one_that_is_exported(tmp_path, precision):
    """Both compute in float32, whatever the run was trained in."""
    execute(config_for(tmp_path / "run", train_steps=1, precision=precision, keep_hub_module_max=1))
    export(ExportConfig(str(tmp_path / "run"), str(tmp_path / "exported")))
    images = image(3, 8, 3, 5)
    modules = [tf.saved_model.load(str(tmp_path / path)) for path in ("run/saved_model/1", "exported")]
    left, exported = (module(images, training=False) for module in modules)
    assert all(tensor.dtype == tf.float32 for tensor in left.values())
    for name, tensor in exported.items():
        np.testing.assert_allclose(left[name], tensor, rtol=1e-5, atol=1e-5)


def test_hub_archive(run, network, tmp_path, monkeypatch, capsys):
    archive = tmp_path / "simclr.tar.gz"
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    export(ExportConfig(str(run), str(archive), format="hub"))
    said = capsys.readouterr().out
    steps = re.findall(r"^export, step (\d) of 3: ", said, re.MULTILINE)
    # On a slow machine a step is told more than once.
    assert [step for step, _ in itertools.groupby(steps)] == ["1", "2", "3"]
    assert "now checking in a fresh process" in said

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["TFHUB_CACHE_DIR"] = str(tmp_path / "cache")
    try:
        module = hub.load(f"http://127.0.0.1:{server.server_port}/simclr.tar.gz")
    finally:
        server.shutdown()
        del os.environ["TFHUB_CACHE_DIR"]
    images = image(2, 8, 3, 5)
    expected = network(images, training=False)["proj_head_2"]
    assert relative(module(images, training=False)["proj_head_2"], expected) < 1e-5


def test_serving_bundle(run, network, tmp_path):
    bundle = tmp_path / "bundle"
    (bundle / "digits" / "3").mkdir(parents=True)  # An older version, which stays.
    (bundle / "notes").mkdir()  # Not a model.
    export(ExportConfig(str(run), str(bundle), format="serving", name="digits", version=4))
    config = text_format.Parse(
        (bundle / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (served,) = config.model_config_list.config
    assert (served.name, served.base_path, served.model_platform) == (
        "digits",
        "/models/digits",
        "tensorflow",
    )
    assert sorted(path.name for path in (bundle / "digits").iterdir()) == ["3", "4"]
    module = tf.saved_model.load(str(bundle / "digits" / "4"))
    warmup = bundle / "digits" / "4" / "assets.extra" / "tf_serving_warmup_requests"
    asked = []
    for record in tf.data.TFRecordDataset(str(warmup)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "digits"
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        outputs = module.signatures[request.model_spec.signature_name](**inputs)
        assert outputs["final_avg_pool"].shape == (1, 512)
        asked.append(request.model_spec.signature_name)
    assert asked == ["serving_default", "image_bytes"]
    with pytest.raises(ExportError, match="exists"):
        export(ExportConfig(str(run), str(bundle), format="serving", name="digits", version=4))


def test_tflite(run, network, tmp_path):
    export(ExportConfig(str(run), str(tmp_path / "lite"), format="tflite"))
    images = image(3, 8, 3, 5)
    expected = network(images, training=False)
    sizes = {}
    for name, tolerance in (("model.tflite", 1e-5), ("model_int8.tflite", 0.1)):
        path = tmp_path / "lite" / name
        sizes[name] = path.stat().st_size
        interpreter = Interpreter(str(path)).get_signature_runner("serving_default")
        found = [interpreter(images=one[np.newaxis]) for one in images]
        for endpoint in ("final_avg_pool", "proj_head_3", "logits_sup"):
            outputs = np.concatenate([one[endpoint] for one in found])
            assert relative(outputs, expected[endpoint]) < tolerance, (name, endpoint)
    assert sizes["model_int8.tflite"] < 0.3 * sizes["model.tflite"]
    assert json.loads((tmp_path / "lite" / "simclr.json").read_text())["model"]["resnet_depth"] == 18
    assert (tmp_path / "lite" / "labels.txt").read_text().split()[9] == "9"


def served_by(path, images) -> dict[str, np.ndarray]:
    """What ONNX Runtime computes, by output."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["images"]
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


SERVED = {"final_avg_pool", *(f"proj_head_{i}" for i in range(4)), "logits_sup"}


def test_onnx(run, tmp_path):
    """In a directory or in one file; for any batch and size, as the SavedModel."""
    for output, file in (("onnx", "onnx/model.onnx"), ("digits.onnx", "digits.onnx")):
        said = export(ExportConfig(str(run), str(tmp_path / output), format="onnx"))
        assert float(re.search(r"largest difference (\S+)\)", said)[1]) < 1e-5
        module = tf.saved_model.load(str(run / "saved_model" / "2"))
        for images in (image(3, 8, 3, 5), image(1, 20, 3, 6)):
            expected, found = module(images, training=False), served_by(tmp_path / file, images)
            assert found.keys() == SERVED
            assert all(relative(found[name], expected[name]) < 1e-4 for name in found)
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == [
        "labels.txt",
        "model.onnx",
        "simclr.json",
    ]
    (told,) = onnx.load(tmp_path / "digits.onnx").metadata_props
    assert told.key == "simclr"
    assert json.loads(told.value) == json.loads((tmp_path / "onnx" / "simclr.json").read_text())


def test_onnx_of_a_part(run, network, tmp_path):
    part = tmp_path / "part.onnx"
    export(ExportConfig(str(run), str(part), format="onnx", endpoint="proj_head_1"))
    images = image(2, 8, 3, 5)
    found = served_by(part, images)
    assert found.keys() == {"final_avg_pool", "proj_head_0", "proj_head_1"}
    expected = network(images, training=False)["proj_head_1"]
    assert relative(found["proj_head_1"], expected) < 1e-4


def test_the_program_of_tf2onnx_converts_a_module(run, network, tmp_path, monkeypatch):
    output = tmp_path / "module.onnx"
    arguments = ["--saved-model", str(run / "saved_model" / "2"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["tf2onnx.convert", *arguments])
    # The program sets it, which would make every process that a later test starts talkative.
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    tf2onnx.convert.main()
    images = image(3, 8, 3, 5)
    expected, found = network(images, training=False), served_by(output, images)
    assert found.keys() == SERVED
    assert all(relative(found[name], expected[name]) < 1e-4 for name in found)


def test_an_onnx_file_that_is_not_the_network_is_noticed(run, network, tmp_path):
    part = exported_network(network, endpoint="proj_head_1")
    write_onnx(part, str(tmp_path / "part.onnx"), "{}")
    with pytest.raises(ExportError, match=r"failed its check.* but .*'logits_sup'.* were expected"):
        verify_onnx(network, str(tmp_path / "part.onnx"))
    other = SimCLR(part.config)
    other.build((None, 8, 8, 3))
    with pytest.raises(ExportError, match=r"failed its check.* differ by"):
        verify_onnx(other, str(tmp_path / "part.onnx"))


def test_what_onnx_cannot_hold(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1_000_000)
    with pytest.raises(ExportError, match=r"GB of weights, but .* at most 0 GB; .*--format=saved_model"):
        export(ExportConfig(str(run), str(tmp_path / "large.onnx"), format="onnx"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("onnx", r'needs tf2onnx, onnx, onnxruntime; install with pip install "tf_simclrv2\[onnx\]"'),
        ("serving", r'needs tensorflow_serving; install with pip install "tf_simclrv2\[export\]"'),
    ],
)
def test_packages_that_a_format_needs(run, tmp_path, monkeypatch, form, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        ExportConfig(str(run), str(tmp_path / "out"), format=form)


def test_an_export_is_replaced_by_another(run, tmp_path):
    for form in ("saved_model", "serving"):
        for overwrite in (False, True):
            config = ExportConfig(str(run), str(tmp_path / form), format=form, overwrite=overwrite)
            export(config)
    (tmp_path / "saved_model" / "thesis.txt").touch()
    with pytest.raises(ExportError, match=r"holds 'thesis.txt' and so is not an export"):
        export(ExportConfig(str(run), str(tmp_path / "saved_model"), overwrite=True))


def test_a_converted_run_keeps_its_description(run, tmp_path):
    output = tmp_path / "converted"
    convert(ConvertConfig(str(run), str(output)))
    assert read_config(str(output)) == read_config(str(run))
    assert (output / "labels.txt").read_text() == (run / "labels.txt").read_text()
    assert "global_step" not in load_trained_network(str(output)).training, "ckpt-0 is not of step 0"
    convert(ConvertConfig(str(run / "saved_model" / "2"), str(tmp_path / "of_an_export")))
    assert (tmp_path / "of_an_export" / "labels.txt").read_text() == (run / "labels.txt").read_text()
    with pytest.raises(ConfigError, match=r"ft_proj_selector is 1, but .* is not a published checkpoint"):
        convert(ConvertConfig(str(run), str(tmp_path / "other"), ft_proj_selector=1))


def test_a_network_cut_at_a_head_layer_is_fine_tuned_from_there(run, network, tmp_path):
    output = tmp_path / "cut"
    output.mkdir()  # Replaced, as asked for.
    export(ExportConfig(str(run), str(output), endpoint="proj_head_1", overwrite=True))
    module = tf.saved_model.load(str(output))
    images = image(2, 8, 3, 5)
    found = module(images, training=False)
    assert "proj_head_1" in found and "proj_head_2" not in found and "logits_sup" not in found
    expected = network(images, training=False)["proj_head_1"]
    assert relative(found["proj_head_1"], expected) < 1e-5
    config = config_for(
        tmp_path / "tuned", train_mode="finetune", checkpoint=str(output), ft_proj_selector=1, mode="train"
    )
    lines: list[str] = []
    tuned = Run(config, say=lines.append)
    begins = tuned.task.network(images, training=False)["proj_head_1"]
    assert relative(begins, expected) < 1e-5
    with pytest.raises(ConfigError, match=r"without the rest of its projection head.*to --checkpoint"):
        convert(ConvertConfig(str(output), str(tmp_path / "converted")))
    convert(ConvertConfig(str(output), str(tmp_path / "published"), "published"))


@pytest.mark.parametrize(
    ("api", "endpoint", "returned"),
    [
        ("feature_vector", "proj_head_2", "proj_head_2"),
        ("classification", None, "logits_sup"),
    ],
)
def test_apis_of_one_tensor(run, network, tmp_path, api, endpoint, returned):
    output = tmp_path / "module"
    export(ExportConfig(str(run), str(output), api=api, endpoint=endpoint))
    images = image(2, 8, 3, 5)
    found = tf.saved_model.load(str(output))(images)
    assert found.dtype == tf.float32
    assert relative(found, network(images, training=False)[returned]) < 1e-5


@pytest.mark.parametrize("name", [".", "..", "...", ""])
def test_a_served_model_has_a_folder_of_its_own(run, name):
    with pytest.raises(ConfigError, match="a served model needs a name of letters"):
        ExportConfig(str(run), "bundle", format="serving", name=name)


def test_an_output_that_is_not_a_number_is_noticed(monkeypatch):
    """The largest of several numbers, of which one is not, is what Python's `max` happens to meet first."""
    outputs = {"final_avg_pool": np.ones([2, 4], np.float32), "logits_sup": np.ones([2, 3], np.float32)}
    broken = {**outputs, "logits_sup": np.full([2, 3], np.nan, np.float32)}
    images = np.zeros([2, 8, 8, 3], np.float32)

    class Session:
        def __init__(self, *_, **__):
            pass

        def get_outputs(self):
            return [types.SimpleNamespace(name=name) for name in broken]

        def run(self, names, inputs):
            return [broken[name][: len(inputs["images"])] for name in names]

    class Runner:
        def __init__(self, path):
            pass

        def get_signature_runner(self, name):
            return lambda images: {name: output[:1] for name, output in broken.items()}

    monkeypatch.setattr(check_onnx.onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(check_tflite, "Interpreter", Runner)
    assert np.isnan(check_onnx.largest_difference("", images, outputs))
    assert np.isnan(check_tflite.largest_difference("", images, outputs))


def test_a_module_that_is_not_the_network_is_noticed(network, tmp_path):
    save_module(network, str(tmp_path / "module"))
    assert verify_module(network, str(tmp_path / "module")) < 1e-5
    other = SimCLR(network.config)
    other.build((None, 8, 8, 3))
    with pytest.raises(ExportError, match=r"failed its check.* differ by"):
        verify_module(other, str(tmp_path / "module"))


@pytest.mark.parametrize("api", ["endpoints", "feature_vector"])
def test_a_module_that_lacks_outputs_is_noticed(network, tmp_path, api):
    save_module(network, str(tmp_path / "module"), endpoint="proj_head_1", api=api)
    result = "final_avg_pool" if api == "feature_vector" else None
    with pytest.raises(ExportError, match=r"failed its check.*(were expected|differ by)"):
        verify_module(network, str(tmp_path / "module"), result)


def test_the_check_is_on_the_cpu_and_finds_the_packages_of_the_user(network, tmp_path, monkeypatch):
    """A GPU may round to TensorFloat-32; packages may be in PYTHONPATH or in the user's folder."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "of_the_user.py").write_text("WORD = 'found'\n")
    script = tmp_path / "check.py"
    script.write_text(
        "import os, of_the_user\nprint(of_the_user.WORD, repr(os.environ['CUDA_VISIBLE_DEVICES']))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    assert verification._run_check(str(script), "", {}) == "found ''"
    devices: list[str] = []
    call = type(network).__call__

    def noted(self, images, *arguments, **options):
        devices.append(tf.zeros([]).device)
        return call(self, images, *arguments, **options)

    monkeypatch.setattr(type(network), "__call__", noted)
    with tf.device("/CPU:1"):
        verification._outputs(network, 8)
    assert devices and all(device.endswith("CPU:0") for device in devices)


def test_an_export_of_an_export_keeps_its_training(run, tmp_path):
    description = json.loads((run / "saved_model" / "2" / "simclr.json").read_text())
    for name, source in (("first", run), ("second", run / "saved_model" / "2")):
        export(ExportConfig(str(source), str(tmp_path / name)))
        found = json.loads((tmp_path / name / "simclr.json").read_text())["training"]
        assert found == description["training"] and found["global_step"] == 2


def test_a_killed_export_leaves_no_module(run, tmp_path):
    output = tmp_path / "module"
    with subprocess.Popen(program(model_dir=run, output=output), cwd=ROOT) as exporter:
        while not list(tmp_path.glob(".module.part-*/saved_model.pb")) and exporter.poll() is None:
            time.sleep(0.01)
        exporter.kill()
    assert exporter.returncode < 0 and not output.exists()


def test_what_cannot_be_exported(run, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    for options, message in (
        ({"output": taken}, "exists; choose another, or pass --overwrite"),
        ({"model_dir": tmp_path / "nowhere"}, "which does not exist"),
        ({"format": "hub"}, r"a hub archive is a \.tar\.gz file; pass --output=.*out\.tar\.gz"),
        ({"endpoint": "proj_head_7"}, "endpoint is 'proj_head_7'; choose one of"),
        ({"format": "serving", "version": 0}, "version is 0; a served model needs"),
        ({"format": "serving", "name": 'a"b'}, "a served model needs a name of letters"),
        ({"model_dir": ""}, "model_dir is not set; pass --model_dir"),
    ):
        settings = {"model_dir": run, "output": tmp_path / "out", **options}
        paths = {key: str(settings.pop(key)) for key in ("model_dir", "output")}
        with pytest.raises(UserError, match=message):
            export(ExportConfig(**paths, **settings))
        assert list(tmp_path.iterdir()) == [taken]
