"""What a run leaves of itself, and how it is read again."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.report.parsed_page import ParsedPage
from tests.training.small_runs import STEPS, config_for, execute
from tf_simclrv2.data import evaluation_batches
from tf_simclrv2.report.build import write_report
from tf_simclrv2.report.event_files import read_scalars
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.training import evaluation

IMAGES = 24


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "small"
    config = config_for(
        directory,
        use_blur=False,
        report_images=IMAGES,
        protocols=("online", "knn"),
        steps_per_loop=1,
    )
    _, lines, run = execute(config)
    return directory, lines, run


def test_a_run_says_where_its_report_is(finished):
    directory, lines, _ = finished
    assert f"report: {directory}/report.html" in lines
    page = ParsedPage(directory / "report.html")
    assert "pretrain on digits/train[:40], ResNet-18 (1x) at 8 px" in page.text
    assert "Not shown" not in page.text and "Some files are missing" not in page.text


def test_the_report_needs_nothing_else(finished):
    directory, *_ = finished
    page = ParsedPage(directory / "report.html")
    sources = [attributes.get("src") or "" for attributes in page.all("img")]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not page.all("script")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("aria-label") for attributes in page.all("svg"))


def test_what_was_seen_is_what_the_network_makes_of_the_images(finished):
    directory, _, run = finished
    seen = Observations.load(str(directory))
    assert seen is not None
    # Of 30 images the first 24 are looked at.
    assert len(seen.images) == 24 and seen.step == STEPS and seen.train_examples == 40
    batch = next(iter(evaluation_batches(run.plan.eval_source, image_size=8, batch_size=24)))
    endpoints = run.task.network(batch["image"], training=False)
    np.testing.assert_array_equal(seen.labels, batch["label"])
    np.testing.assert_array_equal(seen.predictions, np.argmax(endpoints["logits_sup"], axis=1))
    h = tf.math.l2_normalize(endpoints["final_avg_pool"], axis=1).numpy()
    cosines = h @ h.T - 2 * np.eye(24)
    found = np.take_along_axis(cosines, seen.neighbors, axis=1)
    np.testing.assert_allclose(found, -np.sort(-cosines, axis=1)[:, :8], atol=1e-5)
    for row, vote in zip(cosines, seen.votes, strict=True):
        nearest = np.argsort(-row)[:20]
        weights = np.bincount(seen.labels[nearest], np.exp(row[nearest] / 0.07))
        assert weights[vote] == pytest.approx(weights.max(), rel=1e-4)
    # Distances survive the rotation to principal components.
    distances = np.linalg.norm(seen.features[:, np.newaxis] - seen.features, axis=2)
    np.testing.assert_allclose(distances, np.linalg.norm(h[:, np.newaxis] - h, axis=2), atol=1e-4)
    np.testing.assert_allclose(seen.images, 255 * batch["image"].numpy(), atol=40)
    assert seen.views.shape == (8, 2, 8, 8, 3) and seen.similarity.shape == (40, 40)
    assert np.abs(seen.similarity).max() <= 1.0001


def test_the_report_is_made_again_without_the_network(finished, tmp_path):
    directory, *_ = finished
    before = (directory / "report.html").read_text()
    gone = shutil.ignore_patterns("ckpt-*", "checkpoint", "report.html")
    shutil.copytree(directory, tmp_path / "small", ignore=gone)
    assert pathlib.Path(write_report(str(tmp_path / "small"))).read_text() == before


def test_speed_and_frozen_accuracies_are_in_the_events(finished):
    directory, *_ = finished
    training, _ = read_scalars(str(directory))
    evaluation, _ = read_scalars(str(directory / "eval"))
    assert training["performance/examples_per_second"].steps.tolist() == [1, 2, 3, 4]
    assert np.all(training["performance/examples_per_second"].values > 0)
    wait = training["performance/data_wait"].values
    assert np.all((wait >= 0) & (wait <= 1))
    assert np.all(training["performance/memory_mb"].values > 50)
    result = json.loads((directory / "result.json").read_text())
    tag = "knn_20/final_avg_pool/top_1_accuracy"
    assert evaluation[tag].steps.tolist() == [STEPS]
    assert evaluation[tag].values[0] == pytest.approx(result[tag])


def test_every_setting_is_in_the_hparams_tab(finished):
    directory, *_ = finished
    (path,) = directory.glob("events*.hparams")
    found = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        for value in tf.compat.v1.Event.FromString(record).summary.value:
            data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
            found |= data.session_start_info.hparams
    assert found["model/resnet_depth"].number_value == 18
    assert found["data/dataset"].string_value == "digits"
    assert len(found) > 70


def test_the_projector_finds_features_labels_and_sprites(finished):
    directory, *_ = finished
    config = text_format.Parse(
        (directory / "projector_config.pbtxt").read_text(), projector.ProjectorConfig()
    )
    (embedding,) = config.embeddings
    seen = Observations.load(str(directory))
    assert seen is not None
    features = np.loadtxt(directory / embedding.tensor_path, delimiter="\t", ndmin=2)
    np.testing.assert_allclose(features, seen.features, atol=1e-4)
    header, *rows = (directory / embedding.metadata_path).read_text().splitlines()
    assert header.split("\t")[0] == "class" and len(rows) == len(seen.images)
    assert [row.split("\t")[0] for row in rows] == [seen.name_of(label) for label in seen.labels]
    sprite = np.asarray(Image.open(directory / embedding.sprite.image_path))
    assert list(embedding.sprite.single_image_dim) == [8, 8]
    np.testing.assert_allclose(sprite[:8, 8:16].astype(float), seen.images[1], atol=40)


def test_a_report_that_fails_is_told_and_fails_no_run(finished, monkeypatch):
    directory, *_ = finished

    def fails(*_, **__):
        raise MemoryError("no room for pictures")

    monkeypatch.setattr(evaluation, "write_report", fails)
    config = config_for(directory, use_blur=False, report_images=IMAGES)
    result, lines, _ = execute(config)
    assert "the report could not be written (MemoryError: no room for pictures)" in lines
    assert result["global_step"] == STEPS and lines[-1].startswith("result: step 4")


def test_a_training_alone_reports_on_its_own_images(tmp_path):
    config = config_for(tmp_path, train_mode="supervised", mode="train", report_images=10, train_steps=2)
    execute(config)
    page = ParsedPage(tmp_path / "report.html")
    assert "There is no result.json: the run has not been evaluated." in page.text
    assert "h of 10 images of digits/train[:40]" in page.text
    assert "images, ordered by class" in page.text
