"""The frozen-feature protocols of a whole run."""

import dataclasses
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_network import small_network as small_network
from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import (
    ConfigError,
    DataConfig,
    DataError,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    SimCLR,
    TrainingConfig,
)
from tf_simclrv2.data import evaluation_batches, label_subset, load_source
from tf_simclrv2.evaluation import (
    FeatureExtractor,
    frozen_protocols,
    linear_probe,
    run_frozen_protocols,
    split_features,
)
from tf_simclrv2.evaluation.frozen_protocols import probed_endpoints, refuse_many_pixels
from tf_simclrv2.evaluation.random_encoder import random_encoder

HEAD = ("final_avg_pool", "proj_head_1", "proj_head_2", "proj_head_3")


def test_every_protocol_reports_every_endpoint(tmp_path, monkeypatch):
    # A sweep would take most of the time.
    monkeypatch.setitem(linear_probe.__globals__, "STRENGTHS", (0.01,))
    endpoints = ("final_avg_pool", "proj_head_3")
    config = config_for(
        tmp_path,
        train_split="train[:150]",
        eval_split="test[:60]",
        protocols=("linear", "knn"),
        probe_endpoints=endpoints,
        probe_baselines=True,
        probe_labels_per_class=5,
        train_steps=2,
    )
    random = []

    def remembered(*arguments):
        random.append(random_encoder(*arguments))
        return random[-1]

    monkeypatch.setattr(frozen_protocols, "random_encoder", remembered)
    result, lines, run = execute(config)
    baselines = {"random_encoder": "final_avg_pool", "raw_pixels": "raw_pixels"}
    again = _probed(run.task.network, {name: name for name in endpoints}, config)
    again |= _probed(random[-1], baselines, config)
    for name, accuracy in again.items():
        assert result[f"linear/{name}/top_1_accuracy"] == pytest.approx(accuracy), name
    for protocol in ("linear", "linear_5_per_class", "knn_20", "knn_200"):
        accuracies = [
            result[f"{protocol}/{name}/top_1_accuracy"]
            for name in (*endpoints, "random_encoder", "raw_pixels")
        ]
        assert all(0.0 <= accuracy <= 1.0 for accuracy in accuracies)
        # Digits are easy: pixels alone tell most of them apart, whatever the network has learned.
        assert accuracies[-1] > 0.5
    assert "eval/label_top_1_accuracy" not in result
    assert "20 nearest neighbors, top-1 on 60 images:" in lines
    assert f"  raw_pixels      {result['knn_20/raw_pixels/top_1_accuracy']:.4f}" in lines
    assert math.isfinite(result["global_step"])


def _probed(network, rows, config):
    """Accuracies of linear probes by row, of the endpoint that each row is of."""
    extract = FeatureExtractor(network, list(rows.values()))
    (train, labels), (test, test_labels) = (
        split_features(extract, load_source(config.data, split), config)
        for split in (config.data.train_split, config.data.eval_split)
    )
    return {
        row: linear_probe(train[name], labels, test[name], test_labels).accuracy for row, name in rows.items()
    }


class Pixels:
    """A network whose h is the image."""

    def __init__(self, config):
        self.config = config

    def __call__(self, images, training):
        return {"final_avg_pool": tf.reshape(images, [tf.shape(images)[0], -1])}


def test_few_labels_are_those_that_fine_tuning_takes(monkeypatch):
    """So that "with the same 7 labels" is true of every seed."""
    source = load_source(DataConfig(dataset="digits"), "train[:200]")
    fitted = []

    def linear_predictions(features, labels, test, **options):
        fitted.append((features, labels))
        return np.zeros(len(test), np.int64)

    monkeypatch.setattr(frozen_protocols, "linear_predictions", linear_predictions)
    for label_seed in (0, 3):
        data = DataConfig(dataset="digits", labels_per_class=2, label_seed=label_seed)
        config = ExperimentConfig(
            model=ModelConfig(resnet_depth=18, image_size=8),
            data=data,
            training=TrainingConfig(seed=5),
            evaluation=EvaluationConfig(eval_batch_size=100, protocols=("linear",), probe_labels_per_class=2),
        )
        run_frozen_protocols(Pixels(config.model), source, source, config, Lines())
        batches = evaluation_batches(label_subset(source, data), image_size=8, batch_size=20)
        (taken,) = batches
        np.testing.assert_array_equal(fitted[-1][0], tf.reshape(taken["image"], [20, -1]))
        np.testing.assert_array_equal(fitted[-1][1], taken["label"])
    assert np.any(fitted[1][0] != fitted[3][0])


def test_random_weights_have_the_statistics_of_the_pool(monkeypatch):
    """And not of a few labeled images."""
    seen = []

    def remembered(network, images, *rest):
        seen.append(images)
        return network

    monkeypatch.setattr(frozen_protocols, "random_encoder", remembered)
    few, pool = (load_source(DataConfig(dataset="digits"), f"train[:{count}]") for count in (20, 80))
    evaluation = EvaluationConfig(eval_batch_size=40, protocols=("knn",), probe_baselines=True)
    config = ExperimentConfig(model=ModelConfig(resnet_depth=18, image_size=8), evaluation=evaluation)
    run_frozen_protocols(Pixels(config.model), few, pool, config, Lines(), pool=pool)
    run_frozen_protocols(Pixels(config.model), few, pool, config, Lines())
    assert seen == [pool, few]


def test_images_without_a_label_take_no_part():
    """ImageNet's test split has a label feature, but only -1 in it."""
    source = load_source(DataConfig(dataset="digits"), "train[:80]")
    config = ExperimentConfig(
        model=ModelConfig(resnet_depth=18, image_size=8),
        evaluation=EvaluationConfig(eval_batch_size=40, protocols=("knn",)),
    )
    network, lines = Pixels(config.model), Lines()

    def protocols(forget):
        def forgetful(index, record):
            hidden = tf.constant(-1, tf.int64)
            return {**record, "label": tf.where(forget(index), hidden, record["label"])}

        records = source.records.enumerate().map(forgetful)
        train = dataclasses.replace(source, records=records)
        return run_frozen_protocols(network, train, source, config, lines).scores

    # Half of the images find themselves, and the others must not vote as a class.
    found = protocols(lambda index: index >= 40)
    head = dataclasses.replace(source, records=source.records.take(40), num_examples=40)
    assert found == run_frozen_protocols(network, head, source, config, lines).scores
    assert protocols(lambda index: index >= 0) == {}
    assert "off: no image of digits/train[:80] has a label" in lines


def test_unreadable_images_count_against_the_limit_that_was_set(tmp_path):
    for i in range(12):
        folder = tmp_path / f"class_{i % 2}"
        folder.mkdir(exist_ok=True)
        picture = tf.io.encode_png(tf.fill([8, 8, 3], tf.cast(20 * i, tf.uint8))).numpy()
        (folder / f"{i}.png").write_bytes(b"not a picture" if i < 4 else picture)

    def protocols(max_skipped_fraction):
        data = DataConfig(
            dataset="image_folder", data_dir=str(tmp_path), max_skipped_fraction=max_skipped_fraction
        )
        config = ExperimentConfig(
            model=ModelConfig(resnet_depth=18, image_size=8),
            data=data,
            evaluation=EvaluationConfig(eval_batch_size=4, protocols=("knn",)),
        )
        source, lines = load_source(data, "train"), Lines()
        run_frozen_protocols(Pixels(config.model), source, source, config, lines)
        return lines

    lines = protocols(0.5)
    assert "20 nearest neighbors, top-1 on 8 images:" in lines
    named = [line for line in lines if "4 of 12 images of" in line]
    assert len(named) == 2, "once for each split"
    assert all(f"{i}.png" in named[0] for i in range(4))
    with pytest.raises(DataError, match="4 of 12 images are unreadable, but at most 3 may be"):
        protocols(0.25)


def test_endpoints():
    model = ModelConfig()
    assert probed_endpoints(EvaluationConfig(probe_endpoints=("all",)), model) == HEAD
    assert probed_endpoints(EvaluationConfig(probe_endpoints=("proj_head_2",)), model) == ("proj_head_2",)
    truncated = ModelConfig(truncate_proj_head=True, ft_proj_selector=1)
    assert probed_endpoints(EvaluationConfig(probe_endpoints=("all",)), truncated) == HEAD[:2]
    with pytest.raises(
        ConfigError, match="probe_endpoints has 'proj_head_2'; choose among final_avg_pool, proj_head_1, or"
    ):
        probed_endpoints(EvaluationConfig(probe_endpoints=("proj_head_2",)), truncated)


def test_an_unknown_endpoint_is_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match="probe_endpoints has 'block_group9'"):
        execute(config_for(tmp_path / "run", probe_endpoints=("block_group9",)))
    assert not (tmp_path / "run").exists()


def test_one_class_cannot_be_separated():
    source = load_source(DataConfig(dataset="digits"), "train[:40]")
    records = source.records.map(lambda record: {**record, "label": tf.constant(3, tf.int64)})
    source = dataclasses.replace(source, records=records)
    config = ExperimentConfig(
        model=ModelConfig(resnet_depth=18, image_size=8),
        evaluation=EvaluationConfig(eval_batch_size=40, protocols=("linear", "knn")),
    )
    lines = Lines()
    result = run_frozen_protocols(Pixels(config.model), source, source, config, lines).scores
    assert "linear evaluation is off: all images of digits/train[:40] are of one class" in lines
    assert result and all(value in (1.0, {"3": 1.0}) for value in result.values())
    assert not any(name.startswith("linear") for name in result)


def test_several_replicas_evaluate_as_one_does(strategy):
    """The random encoder too, whose statistics are those of one batch."""
    data = DataConfig(dataset="digits")
    train, test = (load_source(data, split) for split in ("train[:150]", "test[:50]"))
    config = ExperimentConfig(
        model=ModelConfig(resnet_depth=18, image_size=8),
        evaluation=EvaluationConfig(eval_batch_size=64, protocols=("knn",), probe_baselines=True),
    )

    def protocols(replicas):
        keras.utils.set_random_seed(0)
        with strategy(replicas).scope():
            network = SimCLR(config.model)
            network.build((None, 8, 8, 3))
        return run_frozen_protocols(network, train, test, config, Lines(), strategy(replicas)).scores

    alone, together = protocols(1), protocols(2)
    assert alone.keys() == together.keys()
    for name in (name for name in alone if name.endswith("/top_1_accuracy")):
        # Rounding may turn a vote or two.
        assert together[name] == pytest.approx(alone[name], abs=2.1 / 50), name


def test_more_pixels_than_memory_holds_are_refused_before_training(tmp_path, monkeypatch):
    changes = {"protocols": ("knn",), "probe_baselines": True}
    # 40 and 30 images of 8 pixels: 52.5 KiB.
    monkeypatch.setattr(frozen_protocols, "MOST_PIXELS", 70 * 8 * 8 * 3 * 4 - 1)
    with pytest.raises(ConfigError, match=r"raw pixels of 70 images of 8 px would take 0\.0 GiB.*=false"):
        execute(config_for(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(frozen_protocols, "MOST_PIXELS", 70 * 8 * 8 * 3 * 4)
    config = config_for(tmp_path / "run", **changes)
    refuse_many_pixels(config, *(load_source(config.data, split) for split in ("train[:40]", "test[:30]")))
    imagenet = dataclasses.replace(
        ExperimentConfig(), evaluation=EvaluationConfig(protocols=("linear",), probe_baselines=True)
    )
    sources = SimpleNamespace(num_examples=1_281_167), SimpleNamespace(num_examples=50_000)
    monkeypatch.setattr(frozen_protocols, "MOST_PIXELS", 4 * 2**30)
    with pytest.raises(
        ConfigError, match=r"1,331,167 images of 224 px would take 746\.\d GiB, and at most 4 GiB"
    ):
        refuse_many_pixels(imagenet, *sources)
    for free in (EvaluationConfig(protocols=("linear",)), EvaluationConfig(probe_baselines=True)):
        refuse_many_pixels(dataclasses.replace(imagenet, evaluation=free), *sources)
