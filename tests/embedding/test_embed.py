"""Embeddings of a folder, a list or a dataset are what the exported module gives, whatever happens."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf

from tests.embedding.conftest import BROKEN
from tf_simclrv2 import ConfigError, DataError, ExportError, RunError
from tf_simclrv2.config import RunConfig
from tf_simclrv2.embedding import embed as embed_module
from tf_simclrv2.embedding import search as search_module
from tf_simclrv2.embedding.embed import Embedder, embed
from tf_simclrv2.embedding.embed_config import EmbedConfig
from tf_simclrv2.embedding.embedding_file import read_embeddings
from tf_simclrv2.embedding.images import find_images
from tf_simclrv2.embedding.search import search
from tf_simclrv2.embedding.search_config import SearchConfig

COLUMNS = ("names", "classes", "predictions", "probabilities", "margins")


def config_for(network, output, **values) -> EmbedConfig:
    """On one device: strategies that come one after the other in a process would share keys."""
    return EmbedConfig(str(network), str(output), strategy=values.pop("strategy", "one_device"), **values)


def of_module(model_dir, pictures, names, endpoint):
    """What the exported module says about the same files, one by one."""
    serve = tf.saved_model.load(str(model_dir / "saved_model" / "2")).signatures["image_bytes"]
    return np.concatenate(
        [serve(image_bytes=tf.constant([(pictures / name).read_bytes()]))[endpoint].numpy() for name in names]
    )


def test_the_numbers_are_those_of_the_exported_module(file, model_dir, pictures):
    found = read_embeddings(str(file))
    names = sorted(str(path.relative_to(pictures)) for path in pictures.glob("*/*/*.png"))
    assert found.names.tolist() == [name for name in names if name != BROKEN]
    assert found.classes.tolist() == [name.split("/")[1] for name in found.names]
    expected = of_module(model_dir, pictures, found.names, "final_avg_pool")
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-5, atol=1e-6)
    logits = of_module(model_dir, pictures, found.names, "logits_sup").astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, probabilities.max(axis=1), rtol=1e-5)
    assert found.predictions.tolist() == [str(digit) for digit in probabilities.argmax(axis=1)]
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    np.testing.assert_allclose(found.margins, first - second, atol=1e-6)


def test_what_cannot_be_read_is_named(file, model_dir, pictures, tmp_path):
    said: list[str] = []
    output = tmp_path / "train.npz"
    line = embed(config_for(str(model_dir), str(output), data_dir=str(pictures), split="train"), said.append)
    assert "embedded 8 images" in line and "(512 numbers each, final_avg_pool)" in line
    assert f"1 unreadable, such as {BROKEN!r}; {output}.unreadable.txt lists them" in said
    assert (tmp_path / "train.npz.unreadable.txt").read_text() == f"{BROKEN}\n"
    assert set(read_embeddings(str(output)).names) < set(read_embeddings(str(file)).names)


def test_replicas_embed_as_one(file, model_dir, pictures, tmp_path, replicas, monkeypatch):
    """The last batch is padded."""
    monkeypatch.setattr(embed_module, "local_strategy", lambda _: replicas(4).strategy)
    output = tmp_path / "all.npz"
    config = config_for(
        str(model_dir), str(output), data_dir=str(pictures), strategy="mirrored", batch_size=6
    )
    embed(config, print)
    found, expected = read_embeddings(str(output)), read_embeddings(str(file))
    assert found.names.tolist() == expected.names.tolist()
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=1e-5)


@pytest.mark.parametrize("extension", [".npz", ".csv"])
def test_every_format_holds_the_same(file, model_dir, pictures, tmp_path, extension):
    output = tmp_path / f"all{extension}"
    embed(config_for(str(model_dir), str(output), data_dir=str(pictures)), print)
    found, parquet = read_embeddings(str(output)), read_embeddings(str(file))
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(found, column), getattr(parquet, column))
    np.testing.assert_array_equal(found.vectors, parquet.vectors)
    assert found.origin == parquet.origin
    assert not (tmp_path / f"all{extension}.parts").exists()


def test_other_programs_read_the_files(file, model_dir, pictures, tmp_path):
    table = pyarrow.parquet.read_table(file)
    assert table.column_names == ["path", "class", "prediction", "probability", "margin", "embedding"]
    found = read_embeddings(str(file))
    np.testing.assert_array_equal(np.stack(table["embedding"].to_pylist()).astype(np.float32), found.vectors)
    embed(config_for(str(model_dir), str(tmp_path / "all.npz"), data_dir=str(pictures)), print)
    with np.load(tmp_path / "all.npz") as archive:
        np.testing.assert_array_equal(archive["embedding"], found.vectors)
        assert archive["path"].tolist() == found.names.tolist()


def test_an_export_and_its_run_are_the_same_network(file, model_dir, pictures, tmp_path):
    output = tmp_path / "export.parquet"
    embed(config_for(str(model_dir / "saved_model" / "2"), str(output), data_dir=str(pictures)), print)
    found, expected = read_embeddings(str(output)), read_embeddings(str(file))
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=1e-6)
    assert found.origin.network == expected.origin.network
    head = tmp_path / "head.parquet"
    config = config_for(str(model_dir), str(head), data_dir=str(pictures), endpoint="proj_head_1")
    embed(config, print)
    assert read_embeddings(str(head)).origin.network != expected.origin.network


def test_a_stopped_program_continues(file, model_dir, pictures, tmp_path, monkeypatch):
    """It is stopped behind the second of four batches; the third and fourth alone are computed then."""
    monkeypatch.setattr(embed_module, "PART", 4)
    config = config_for(str(model_dir), str(tmp_path / "all.npz"), data_dir=str(pictures), batch_size=4)
    batches = embed_module.Embedder.batches
    starts = []

    def stopping(self, images, batch_size, start=0):
        starts.append(start)
        for number, batch in enumerate(batches(self, images, batch_size, start)):
            if len(starts) == 1 and number == 2:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(embed_module.Embedder, "batches", stopping)
    with pytest.raises(KeyboardInterrupt):
        embed(config, print)
    assert not (tmp_path / "all.npz").exists()
    said: list[str] = []
    embed(config, said.append)
    assert starts == [0, 8] and "8 images are already embedded" in said
    found, expected = read_embeddings(str(tmp_path / "all.npz")), read_embeddings(str(file))
    assert found.names.tolist() == expected.names.tolist()
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=1e-6)


@pytest.mark.parametrize("locked", [False, True], ids=["files", "model_dir"])
def test_a_folder_of_other_files_is_left_alone(model_dir, pictures, tmp_path, locked):
    """A model_dir has a lock too."""
    (tmp_path / "all.npz.parts").mkdir()
    (tmp_path / "all.npz.parts" / "notes.txt").write_text("mine")
    if locked:
        (tmp_path / "all.npz.parts" / ".lock").touch()
    with pytest.raises(ConfigError, match=r"all\.npz\.parts' holds 'notes\.txt'"):
        embed(config_for(model_dir, tmp_path / "all.npz", data_dir=str(pictures)), print)
    assert (tmp_path / "all.npz.parts" / "notes.txt").read_text() == "mine"


def test_parts_of_another_embedding_are_not_mixed_in(file, model_dir, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_module, "PART", 4)
    config = config_for(str(model_dir), str(tmp_path / "all.npz"), data_dir=str(pictures), batch_size=4)
    monkeypatch.setattr(embed_module, "_publish", lambda *_: "")
    embed(dataclasses.replace(config, endpoint="proj_head_1"), print)
    monkeypatch.undo()
    embed(config, print)
    np.testing.assert_allclose(
        read_embeddings(config.output).vectors, read_embeddings(str(file)).vectors, rtol=1e-6
    )


def test_another_program_with_the_same_output_is_told_so(file, model_dir, pictures, tmp_path, monkeypatch):
    """It would mix its parts with those of the first, or remove them."""
    config = config_for(str(model_dir), str(tmp_path / "all.npz"), data_dir=str(pictures), batch_size=4)
    batches = embed_module.Embedder.batches
    refusals = []

    def beside(self, images, batch_size, start=0):
        for batch in batches(self, images, batch_size, start):
            if not refusals:
                refusals.append("")
                with pytest.raises(
                    ConfigError, match=r"parts' is in use by process .* another --output"
                ) as told:
                    embed(dataclasses.replace(config, endpoint="proj_head_1"), print)
                refusals[0] = str(told.value)
            yield batch

    monkeypatch.setattr(embed_module.Embedder, "batches", beside)
    embed(config, print)
    assert refusals[0]
    np.testing.assert_allclose(
        read_embeddings(config.output).vectors, read_embeddings(str(file)).vectors, rtol=1e-6
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.npz", "all.npz.unreadable.txt"]


def test_a_class_without_images_is_not_in_the_way(file, model_dir, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "train" / "owl").mkdir()
    config = config_for(
        model_dir, tmp_path / "all.npz", data_dir=str(tmp_path / "pictures"), split="train", batch_size=4
    )
    embed(config, print)
    assert "owl" not in read_embeddings(config.output).classes


def test_a_cluster_of_the_environment_is_not_joined(model_dir, monkeypatch):
    """The shell of a run on several hosts still has TF_CONFIG when its images are embedded."""
    cluster = {
        "cluster": {"worker": ["10.255.255.1:1", "10.255.255.2:1"]},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    embedder = Embedder(str(model_dir), "final_avg_pool", print, "auto")
    assert not isinstance(embedder.strategy, tf.distribute.MultiWorkerMirroredStrategy)


def test_a_network_in_a_bucket_keeps_its_address(model_dir):
    embedder = Embedder(str(model_dir), "final_avg_pool", print, "one_device")
    embedder._path = "gs://bucket/run"
    assert embedder.origin("").network_path == "gs://bucket/run"


def test_a_list_of_files(file, model_dir, pictures, tmp_path):
    names = ["test/red/5.png", "train/blue/0.png"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    output = tmp_path / "some.csv"
    config = config_for(str(model_dir), str(output), data_dir=str(pictures), files=str(tmp_path / "list.txt"))
    embed(config, print)
    found, everything = read_embeddings(str(output)), read_embeddings(str(file))
    assert found.names.tolist() == names
    rows = everything.rows_of(names, "the list")
    np.testing.assert_allclose(found.vectors, everything.vectors[rows], rtol=1e-6)


def test_a_list_of_relative_and_absolute_files(monkeypatch, pictures, tmp_path):
    """The first one decided for all, and the others could not be read."""
    names = ["test/red/5.png", str(pictures / "train" / "blue" / "0.png")]
    (tmp_path / "list.txt").write_text("\n".join(names))
    monkeypatch.chdir(pictures.parent)
    for listed in (names, names[::-1]):
        (tmp_path / "list.txt").write_text("\n".join(listed))
        source = find_images(pictures.name, str(tmp_path / "list.txt")).source
        read = [source.read(record).numpy() for record in source.records]
        assert read == [(pictures / name).read_bytes() for name in listed]


def test_a_split_of_a_dataset(model_dir, tmp_path):
    output = tmp_path / "digits.npz"
    embed(config_for(str(model_dir), str(output), dataset="digits", split="test[:10]"), print)
    found = read_embeddings(str(output))
    assert found.names.tolist() == [f"digits/test[:10] #{number}" for number in range(10)]
    assert set(found.classes) <= set("0123456789")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"output": "all.txt"}, ConfigError, "ends in .parquet, .npz, .csv"),
        ({"output": "gs://bucket/all.npz"}, ExportError, "'gs://bucket/all.npz', but it is written on this"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0; it must be a finite number of at least 1"),
        ({"data_dir": None}, ConfigError, "there are no images to embed; pass --data_dir"),
        ({"data_dir": "/nowhere"}, DataError, "'/nowhere' does not exist"),
        (
            {"endpoint": "block_group4"},
            ConfigError,
            "endpoint is 'block_group4'; choose one of final_avg_pool",
        ),
        ({"files": "/nowhere.txt"}, DataError, "cannot be read as text"),
        ({"dataset": "digits"}, ConfigError, "split is not set; pass for example --split=train"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(model_dir, pictures, tmp_path, changes, error, message):
    values = {"output": str(tmp_path / "all.npz"), "data_dir": str(pictures), **changes}
    with pytest.raises(error, match=message):
        embed(config_for(str(model_dir), **values), print)
    assert not list(tmp_path.iterdir())


def test_a_list_that_is_wrong(model_dir, pictures, tmp_path):
    for text, message in {
        "train/red/nobody.png\n": "nobody.png', which is not a file",
        "\n": "names no images",
        "train/red/1.png\ntrain/red/1.png\n": "train/red/1.png' 2 times; name each image once",
        "train/red/1.png\n./train//red/1.png\n": "train/red/1.png' 2 times",
    }.items():
        (tmp_path / "list.txt").write_text(text)
        config = config_for(
            str(model_dir),
            str(tmp_path / "all.npz"),
            data_dir=str(pictures),
            files=str(tmp_path / "list.txt"),
        )
        with pytest.raises(DataError, match=message):
            embed(config, print)


def test_an_output_is_not_overwritten_unasked(file, model_dir, pictures):
    with pytest.raises(ConfigError, match="which exists; choose another, or pass --overwrite"):
        config_for(str(model_dir), str(file), data_dir=str(pictures))


def test_nothing_can_be_read(model_dir, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_text("no")
    config = config_for(str(model_dir), str(tmp_path / "bad.npz"), data_dir=str(tmp_path / "bad"))
    with pytest.raises(DataError, match=r"no image can be read, not even '1\.png'"):
        embed(config, print)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def _stop(calls, name):
    calls.append(name)
    raise InterruptedError


@pytest.mark.parametrize(
    ("module", "first", "start"),
    [
        (embed_module, "find_images", lambda: embed(EmbedConfig("run", "all.npz"), print)),
        (search_module, "read_embeddings", lambda: search(SearchConfig("all.npz", ("query",)), print)),
    ],
)
def test_what_is_compiled_is_kept(monkeypatch, module, first, start):
    """As training keeps it, and before anything is computed."""
    calls = []
    monkeypatch.setattr(module, "keep_compiled_steps", calls.append)
    monkeypatch.setattr(module, first, lambda *_: _stop(calls, first))
    with pytest.raises(InterruptedError):
        start()
    assert calls == [RunConfig().compile_cache, first]


def test_memory_that_runs_out_is_a_sentence(model_dir, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_module, "FeatureExtractor", lambda *_, **__: tf.zeros([2**45]))
    config = config_for(model_dir, tmp_path / "all.npz", data_dir=str(pictures), batch_size=64)
    with pytest.raises(RunError, match=r"out of memory \(OOM .*; lower --batch_size \(64\), or end other"):
        embed(config, print)


@pytest.mark.parametrize("asked", ["on", "off"])
def test_tf32_is_that_of_the_run(model_dir, tmp_path, asked):
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    shutil.copytree(model_dir, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "training": {**config["training"], "tf32": asked}}))
    tf.config.experimental.enable_tensor_float_32_execution(asked == "off")
    try:
        Embedder(str(tmp_path / "run"), "final_avg_pool", print, "one_device")
        assert tf.config.experimental.tensor_float_32_execution_enabled() == (asked == "on")
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
