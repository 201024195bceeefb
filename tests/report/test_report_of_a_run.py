"""What a run leaves of itself, and how it is read again."""

import dataclasses
import io
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from sklearn.metrics import recall_score
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.data.image_files import write_images
from tests.report.parsed_page import ParsedPage
from tests.training.small_runs import STEPS, config_for, execute
from tf_simclrv2.data import evaluation_batches, label_subset, load_source
from tf_simclrv2.evaluation import knn_accuracy, linear_probe
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.report.build import write_report
from tf_simclrv2.report.event_files import read_scalars
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.training import run_report
from tf_simclrv2.weights.loading import load_weights

IMAGES = 24
CLASSIFIERS = ("eval", "knn_20/final_avg_pool", "knn_200/final_avg_pool")


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
    assert seen.names == tuple(f"digits/test[:30] #{i}" for i in range(24)) and seen.examples == 30
    assert seen.views.shape == (8, 2, 8, 8, 3) and seen.similarity.shape == (40, 40)
    assert np.abs(seen.similarity).max() <= 1.0001


def test_thumbnails_are_the_pictures_and_not_what_the_network_sees(finished):
    """Though it sees 8 pixels a side."""
    directory, _, run = finished
    seen = Observations.load(str(directory))
    assert seen is not None and seen.images.shape == (24, 48, 48, 4)
    for record, found in zip(run.plan.eval_source.records, seen.images, strict=False):
        picture = Image.open(io.BytesIO(run.plan.eval_source.read(record).numpy())).convert("RGBA")
        expected = np.asarray(picture.resize((48, 48), Image.Resampling.BILINEAR), int)
        assert np.abs(found - expected).mean() < 6, "WebP is lossy"


def test_the_report_is_made_again_without_the_network(finished, tmp_path):
    directory, *_ = finished
    before = (directory / "report.html").read_text()
    gone = shutil.ignore_patterns("ckpt-*", "checkpoint", "report.html")
    shutil.copytree(directory, tmp_path / "small", ignore=gone)
    assert pathlib.Path(write_report(str(tmp_path / "small"))).read_text() == before


def test_views_bear_the_names_of_their_images(finished):
    directory, _, run = finished
    seen = Observations.load(str(directory))
    assert seen is not None
    batch = run.prepared.batches.first(48)
    assert seen.view_names == tuple(path.decode() for path in batch["path"].numpy()[:8])
    labels = {record["path"].numpy(): int(record["label"]) for record in run.plan.train_source.records}
    assert [labels[path] for path in batch["path"].numpy()] == batch["label"].numpy().tolist()
    assert len(labels) == len(set(batch["path"].numpy())) == 40


def whole_batch(source):
    (batch,) = evaluation_batches(source, image_size=8, batch_size=source.num_examples)
    return batch


def test_accuracies_of_the_classes_are_in_the_result(finished):
    """Of 30 images some class may be missing; then it has no accuracy."""
    directory, _, run = finished
    result = json.loads((directory / "result.json").read_text())
    batch = whole_batch(run.plan.eval_source)
    labels = batch["label"].numpy()
    logits = run.task.network(batch["image"], training=False)["logits_sup"]
    predictions = np.argmax(logits, axis=1)
    occur = np.unique(labels)
    recalls = recall_score(labels, predictions, labels=occur, average=None)
    expected = dict(zip(map(str, occur), recalls, strict=True))
    assert result["eval/accuracy_per_class"] == pytest.approx(expected)
    assert result["eval/balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert result["eval/images_per_class"] == {str(label): int(np.sum(labels == label)) for label in occur}
    for classifier in CLASSIFIERS[1:]:
        accuracies = result[f"{classifier}/accuracy_per_class"]
        assert result[f"{classifier}/balanced_accuracy"] == pytest.approx(np.mean(list(accuracies.values())))
        right = sum(share * result["eval/images_per_class"][name] for name, share in accuracies.items())
        assert result[f"{classifier}/top_1_accuracy"] == pytest.approx(right / 30)


def test_baselines_are_those_of_the_images_of_the_report(finished):
    """Of pixels they can be computed here; random weights are others each time."""
    directory, _, run = finished
    baselines = json.loads((directory / "baselines.json").read_text())
    assert baselines["measured_on"]["train"] == ["digits/train[:40]", IMAGES, 40]
    sources = [source.sample(IMAGES) for source in (run.plan.train_source, run.plan.eval_source)]
    arrays = []
    for batch in map(whole_batch, sources):
        arrays += [batch["image"].numpy().reshape(IMAGES, -1), batch["label"].numpy()]
    assert baselines["linear/raw_pixels/top_1_accuracy"] == linear_probe(*arrays).accuracy
    assert baselines["knn_20/raw_pixels/top_1_accuracy"] == knn_accuracy(*arrays, k=20)
    assert 0 <= baselines["linear/random_encoder/top_1_accuracy"] <= 1
    page = ParsedPage(directory / "report.html")
    counts = json.loads((directory / "result.json").read_text())["eval/images_per_class"].values()
    for number in (
        f"random weights {100 * baselines['knn_20/random_encoder/top_1_accuracy']:.1f}",
        f"raw pixels {100 * baselines['linear/raw_pixels/top_1_accuracy']:.1f}",
        f"commonest class {100 * max(counts) / sum(counts):.1f}",
        "(probes of 24 of 40 training images)",
    ):
        assert number in page.text


def test_baselines_are_measured_once(finished, tmp_path, monkeypatch):
    directory, *_ = finished
    shutil.copytree(directory, tmp_path / "small")
    monkeypatch.setattr(run_report, "random_encoder", None)  # Would fail the report.
    config = config_for(tmp_path / "small", use_blur=False, report_images=IMAGES, protocols=("online", "knn"))
    _, lines, _ = execute(config)
    assert f"report: {tmp_path}/small/report.html" in lines
    assert (tmp_path / "small" / "baselines.json").read_text() == (directory / "baselines.json").read_text()


def test_baselines_are_measured_again_after_test_pictures_were_sorted_anew(tmp_path):
    """The run's accuracy was of the new labels, and its baselines of the old ones."""
    for split, first in (("train", 0), ("test", 20)):
        for number, name in enumerate(("cat", "dog")):
            write_images(tmp_path / split / name, 4, first=first + 5 * number)
    config = config_for(
        tmp_path / "run",
        dataset="image_folder",
        data_dir=str(tmp_path),
        train_split="train",
        eval_split="test",
        train_batch_size=4,
        train_steps=1,
        report_images=IMAGES,
    )
    execute(config)
    before = json.loads((tmp_path / "run" / "baselines.json").read_text())
    for one, other in (("cat", "dog"), ("dog", "cat")):
        next((tmp_path / "test" / one).glob("0*.png")).rename(tmp_path / "test" / other / "moved.png")
    execute(dataclasses.replace(config, run=dataclasses.replace(config.run, mode="eval")))
    after = json.loads((tmp_path / "run" / "baselines.json").read_text())
    assert before["measured_on"]["test"] == after["measured_on"]["test"]
    assert before["measured_on"] != after["measured_on"]


def test_a_fine_tuned_run_keeps_the_probe_of_what_it_started_from(finished, tmp_path):
    """On the same few labels, whose classes may have fewer than asked for."""
    directory, *_ = finished
    config = config_for(
        tmp_path / "fine",
        train_mode="finetune",
        checkpoint=str(directory),
        labels_per_class=3,
        labels_per_class_at_most=True,
        train_steps=1,
        report_images=100,
        train_batch_size=8,
    )
    execute(config)
    baselines = json.loads((tmp_path / "fine" / "baselines.json").read_text())
    assert baselines["measured_on"]["starting_encoder"] == str(directory)
    network = SimCLR(config.model)
    network.build((None, 8, 8, 3))
    load_weights(network, str(directory))
    train = label_subset(load_source(config.data, "train[:40]"), config.data)
    arrays = []
    for source in (train, load_source(config.data, "test[:30]")):
        batch = whole_batch(source)
        h = network(batch["image"], training=False)["final_avg_pool"].numpy()
        arrays += [h, batch["label"].numpy()]
    expected = linear_probe(*arrays).accuracy
    found = baselines["linear/starting_encoder/top_1_accuracy"]
    assert found == pytest.approx(expected, abs=1.5 / 30)
    text = ParsedPage(tmp_path / "fine" / "report.html").text
    assert f"linear probe before fine-tuning {100 * found:.1f}" in text


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
    assert list(embedding.sprite.single_image_dim) == [48, 48]
    assert np.abs(sprite[:48, 48:96].astype(int) - seen.images[1]).mean() < 6


def test_a_report_that_fails_is_told_and_fails_no_run(finished, monkeypatch):
    directory, *_ = finished

    def fails(*_, **__):
        raise MemoryError("no room for pictures")

    monkeypatch.setattr(run_report, "write_report", fails)
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
