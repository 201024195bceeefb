"""Which features of a TFDS dataset are read: what is chosen and said, what flags change, what is refused."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2 import ConfigError, DataConfig, DataError, ExperimentConfig, RunConfig, TrainingConfig
from tf_simclrv2.data import load_source
from tf_simclrv2.data.tfds_features import choose_features
from tf_simclrv2.training.plan import plan_run

F = tfds.features
IMAGE = F.Image(shape=(None, None, 3))
BLACK, WHITE = np.zeros([9, 9, 3], np.uint8), np.full([9, 9, 3], 255, np.uint8)
FACES = {
    "front": (IMAGE, BLACK),
    "side": (IMAGE, WHITE),
    "age": (F.Scalar(np.float32), 31.5),
    "glasses": (F.ClassLabel(names=["no", "yes"]), 1),
    "mood": (F.ClassLabel(names=["calm", "glad", "sad"]), 2),
    "marks": (F.Sequence(F.ClassLabel(num_classes=4)), [0, 3]),
    "frames": (F.Video(shape=(None, 9, 9, 3)), np.stack([BLACK, WHITE])),
}


class Information:
    """What `choose_features` reads of a builder."""

    def __init__(self, features: dict, supervised_keys: object = None) -> None:
        self.info = self
        self.features = F.FeaturesDict(features)
        self.supervised_keys = supervised_keys


def stored(directory: pathlib.Path, *names: str, **more: object) -> DataConfig:
    """A dataset on disk with one example of some of the faces' features."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name="faces",
        version="1.0.0",
        data_dir=str(directory),
        features=F.FeaturesDict({name: FACES[name][0] for name in names}),
        split_datasets={"train": [(0, {name: FACES[name][1] for name in names})]},
    )
    return DataConfig(dataset="faces", data_dir=str(directory), **more)


# Of TFDS: image, label, and what else could have been read.
PUBLISHED = {
    "cifar100": ("image", "label", {"image_key": [], "label_key": ["coarse_label"]}),
    "smallnorb": (
        "image",
        "label_category",
        {
            "image_key": ["image2"],
            "label_key": ["instance", "label_elevation", "label_azimuth", "label_lighting"],
        },
    ),
    "oxford_iiit_pet": ("image", "label", {"image_key": ["segmentation_mask"], "label_key": ["species"]}),
    "div2k": ("lr", None, {"image_key": ["hr"], "label_key": []}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_published_dataset_calls_its_image_and_label(tmp_path, name):
    image, label, others = PUBLISHED[name]
    chosen = choose_features(tfds.builder(name, data_dir=str(tmp_path)), name)
    assert (chosen.image_key, chosen.label_key) == (image, label)
    assert f"images are its feature '{image}'" in chosen.summary
    assert (f"labels its feature '{label}'" if label else "no labels") in chosen.summary
    for flag, keys in others.items():
        (found,) = re.findall(rf"--{flag}=([^)]*) takes another", chosen.summary) or [""]
        assert re.split(", | or ", found) == (keys or [""])


def test_flags_choose_others(tmp_path):
    with tfds.testing.mock_data(num_examples=5):
        sources = {
            key: load_source(DataConfig(dataset="cifar100", data_dir=str(tmp_path), label_key=key), "train")
            for key in (None, "label", "coarse_label")
        }
    assert sources[None].class_names == sources["label"].class_names
    assert len(sources["label"].class_names) == 100 and len(sources["coarse_label"].class_names) == 20
    assert (
        "labels its feature 'coarse_label' (--label_key=label takes another)"
        in sources["coarse_label"].summary
    )


def test_pixels_and_labels_are_those_of_the_chosen_features(tmp_path):
    config = stored(tmp_path, "front", "side", "glasses", "mood", image_key="side", label_key="mood")
    source = load_source(config, "train")
    (record,) = source.records
    np.testing.assert_array_equal(tf.io.decode_image(source.read(record)), WHITE)
    assert source.class_names[int(record["label"])] == "sad"


def test_a_plan_says_what_is_read(tmp_path):
    with tfds.testing.mock_data(num_examples=20):
        config = ExperimentConfig(
            data=DataConfig(dataset="cifar100", data_dir=str(tmp_path), eval_split="test"),
            training=TrainingConfig(train_batch_size=4),
            run=RunConfig(mode="train_then_eval", model_dir=str(tmp_path / "run")),
        )
        lines = plan_run(config, replicas=1).describe().splitlines()
    assert (
        "cifar100/train and cifar100/test: images are its feature 'image', labels its feature 'label' "
        "(--label_key=coarse_label takes another)"
    ) in lines


@pytest.mark.parametrize(
    ("features", "keys", "expected"),
    [
        (("front", "side", "mood"), ("side", "mood"), ("side", "mood")),  # supervised_keys decide,
        (("front", "mood", "glasses"), None, ("front", "mood")),  # else what is the only or the first.
        (("front", "frames", "marks"), None, ("front", None)),  # A sequence is neither.
        (("front", "age", "mood"), ("front", "age"), ("front", None)),  # A number is not another's class.
        (("front", "mood"), ({"a": "front"}, "mood"), ("front", "mood")),  # Nested keys name no feature.
    ],
)
def test_without_flags(features, keys, expected):
    builder = Information({name: FACES[name][0] for name in features}, keys)
    chosen = choose_features(builder, "faces")
    assert (chosen.image_key, chosen.label_key) == expected


def test_only_images_that_can_be_read_are_to_choose_from():
    depth = F.Image(shape=(None, None, 1), dtype=np.float32)
    assert choose_features(Information({"depth": depth, "photo": IMAGE}), "rooms").image_key == "photo"


REFUSED = {
    "several images": (
        ("front", "side", "mood"),
        {},
        [r"faces has 2 images for each example", "'front' is Image", "--image_key=front or side"],
    ),
    "a number as label": (
        ("front", "age", "mood"),
        {"label_key": "age"},
        ["label_key is 'age', which is Scalar", "float32", "a ClassLabel with names", "--label_key=mood"],
    ),
    "a sequence as label": (
        ("front", "marks"),
        {"label_key": "marks"},
        [
            r"label_key is 'marks', which is Sequence\(ClassLabel",
            "store the label as a tfds.features.ClassLabel",
        ],
    ),
    "no such label": (
        ("front", "mood"),
        {"label_key": "moods"},
        ["'moods', which faces does not have", "--label_key=mood"],
    ),
    "a number as image": (
        ("front", "age"),
        {"image_key": "age"},
        ["image_key is 'age', which is Scalar", "an image of 8 or 16 bits", "--image_key=front"],
    ),
    "a video as image": (
        ("front", "frames"),
        {"image_key": "frames"},
        [r"image_key is 'frames', which is Video", "--image_key=front, or leave it out"],
    ),
    "only a video": (
        ("frames", "mood"),
        {},
        ["has no image that can be read: its feature 'frames' is Video"],
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_serve_is_refused_in_a_sentence(kind):
    names, flags, parts = REFUSED[kind]
    with pytest.raises(DataError) as refused:
        choose_features(Information({name: FACES[name][0] for name in names}), "faces", **flags)
    sentence = str(refused.value)
    assert sentence.endswith(".") and "\n" not in sentence
    for part in parts:
        assert re.search(part, sentence), (part, sentence)


NOT_DOWNLOADED = {
    "two images": ("smallnorb", {"image_key": "instance"}, "pretrain", "image_key is 'instance'"),
    "no such label": ("cifar100", {"label_key": "fine"}, "pretrain", "label_key is 'fine'"),
    "no class": ("div2k", {}, "finetune", "div2k has no labels.*--train_mode=finetune needs them"),
    "not a class": (
        "nyu_depth_v2",
        {},
        "supervised",
        "'depth' is Tensor.*--train_mode=supervised needs them",
    ),
}


@pytest.mark.parametrize("kind", NOT_DOWNLOADED)
def test_a_refusal_comes_before_anything_is_on_disk(tmp_path, kind):
    name, flags, mode, message = NOT_DOWNLOADED[kind]
    config = ExperimentConfig(
        data=DataConfig(dataset=name, data_dir=str(tmp_path / "data"), **flags),
        training=TrainingConfig(train_mode=mode),
    )
    with pytest.raises(DataError, match=message):
        plan_run(config, replicas=1)
    assert list(tmp_path.iterdir()) == []


def test_labeled_images_have_keys_of_their_own():
    data = DataConfig(dataset="smallnorb", image_key="image2", label_key="instance")
    assert (data.labeled.image_key, data.labeled.label_key) == ("image2", "instance")
    other = DataConfig(
        dataset="smallnorb", image_key="image2", labeled_dataset="cifar100", labeled_label_key="label"
    )
    assert (other.labeled.image_key, other.labeled.label_key) == (None, "label")


@pytest.mark.parametrize("name", ["image_key", "label_key"])
def test_a_folder_has_no_features(name):
    with pytest.raises(
        ConfigError, match=f"{name} is 'x', but an image folder has no features; leave it out"
    ):
        DataConfig(dataset="image_folder", data_dir="pictures", **{name: "x"})
