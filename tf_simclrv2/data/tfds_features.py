"""Which features of a TFDS dataset are the images and labels: by rule or by flag, and always said."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from tf_simclrv2.errors import DataError

# Most features that a message names.
MOST_FEATURES = 3

_Feature = tfds.features.FeatureConnector


@dataclasses.dataclass(frozen=True)
class ChosenFeatures:
    """The features that a run reads.

    Attributes:
        image_key: The feature that holds the image.
        label_key: The feature that holds the class; None if no feature does.
        class_names: Names of the classes in the order of their labels; () without labels.
        no_class_label: Without labels: the features that might be meant, and what they are instead.
        summary: What was chosen, and what else could be, in a line.
    """

    image_key: str
    label_key: str | None
    class_names: tuple[str, ...]
    no_class_label: str
    summary: str


def choose_features(
    builder: tfds.core.DatasetBuilder, name: str, image_key: str | None = None, label_key: str | None = None
) -> ChosenFeatures:
    """Chooses the features that hold images and labels.

    A key that is given is used or refused. Without one, the dataset's `supervised_keys` decide; without them,
    the features `image` and `label`; without those, the only image, and the first class.

    Args:
        builder: The dataset; it need not be downloaded.
        name: Its name, for messages.
        image_key: The feature that holds the image; None leaves the choice to the dataset.
        label_key: The feature that holds the class; None leaves the choice to the dataset.

    Raises:
        DataError: A key that is given cannot serve, no feature can serve as image, or several can and the
            dataset prefers none.
    """
    features = dict(builder.info.features.items())
    image = _image_key(features, name, image_key, _supervised_key(builder, 0))
    label = _label_key(features, name, label_key, _supervised_key(builder, 1))
    names = tuple(features[label].names) if label else ()
    why = "" if label else _no_class_label(features, _supervised_key(builder, 1))
    return ChosenFeatures(image, label, names, why, _summary(features, image, label, why))


def _image_key(features: Mapping[str, _Feature], name: str, asked: str | None, supervised: str | None) -> str:
    usable = [key for key, feature in features.items() if _is_readable_image(feature)]
    if asked:
        _refuse_unless(usable, features, name, ("image_key", asked, "an image of 8 or 16 bits"))
        return asked
    if not usable:
        raise DataError(_no_image(features, name))
    preferred = [key for key in (supervised, "image") if key in usable]
    if not preferred and len(usable) > 1:
        raise DataError(
            f"{name} has {len(usable)} images for each example ({_described(features, usable)}) and names "
            f"none of them as its input; choose one with {_flags('image_key', usable)}."
        )
    return [*preferred, *usable][0]


def _label_key(
    features: Mapping[str, _Feature], name: str, asked: str | None, supervised: str | None
) -> str | None:
    """The feature that holds the class; None if there is none, or if what is meant as one is not."""
    usable = [key for key, feature in features.items() if _is_class(feature)]
    if asked:
        _refuse_unless(usable, features, name, ("label_key", asked, "a ClassLabel with names"))
        return asked
    meant = _meant_as_label(features, supervised)
    if meant:
        return meant if meant in usable else None
    return next(iter(usable), None)


def _meant_as_label(features: Mapping[str, _Feature], supervised: str | None) -> str | None:
    """The feature that the dataset itself calls its label; an image, as in super-resolution, is none."""
    if supervised in features and not isinstance(features[supervised], tfds.features.Image):
        return supervised
    return "label" if "label" in features else None


def _supervised_key(builder: tfds.core.DatasetBuilder, place: int) -> str | None:
    """The input (0) or the target (1) in the dataset's `supervised_keys`; None if it is not one feature."""
    keys = builder.info.supervised_keys
    key = keys[place] if isinstance(keys, tuple) and len(keys) > place else None
    return key if isinstance(key, str) else None


def _refuse_unless(
    usable: list[str], features: Mapping[str, _Feature], name: str, asked: tuple[str, str, str]
) -> None:
    flag, key, kind = asked
    if key in usable:
        return
    what = f"is {_type_of(features[key])} in {name}" if key in features else f"{name} does not have"
    others = _flags(flag, usable) if usable else ""
    if usable:
        cure = f"use {others}, or leave it out"
    elif flag == "label_key":
        cure = "store the label as a tfds.features.ClassLabel with names, or pretrain without it"
    else:
        cure = "store one image for each example as a tfds.features.Image, or choose another dataset"
    raise DataError(f"{flag} is {key!r}, which {what}, but it must be {kind}; {cure}.")


def _no_image(features: Mapping[str, _Feature], name: str) -> str:
    pictures = [key for key, feature in features.items() if _holds_images(feature)]
    if not pictures:
        return f"The dataset {name!r} has no images (its features are {', '.join(features)}); choose another."
    return (
        f"The dataset {name!r} has no image that can be read: {_described(features, pictures)}, but one "
        "image of 8 or 16 bits is needed for each example; store it as a tfds.features.Image, or choose "
        "another dataset."
    )


def _no_class_label(features: Mapping[str, _Feature], supervised: str | None) -> str:
    """Which features might be meant as labels, and what they are instead; empty without any."""
    meant = _meant_as_label(features, supervised)
    named = [key for key in features if "label" in key.lower()]
    other = [key for key, feature in features.items() if not _holds_images(feature)]
    why = _described(features, [meant] if meant else named or other)
    classes = [key for key, feature in features.items() if _is_class(feature)]
    return f"{why}; {_flags('label_key', classes)} would work" if classes else why


def _summary(features: Mapping[str, _Feature], image: str, label: str | None, why: str) -> str:
    images = [key for key, feature in features.items() if _is_readable_image(feature) and key != image]
    labels = [key for key, feature in features.items() if _is_class(feature) and key != label]
    text = f"images are its feature {image!r}"
    if images:
        text += f" ({_flags('image_key', images)} takes another)"
    if label is None:
        return f"{text}; no labels{f', for {why}' if why else ''}"
    text += f", labels its feature {label!r}"
    return f"{text} ({_flags('label_key', labels)} takes another)" if labels else text


def _is_readable_image(feature: _Feature) -> bool:
    return isinstance(feature, tfds.features.Image) and feature.np_dtype in (np.uint8, np.uint16)


def _holds_images(feature: _Feature) -> bool:
    """Whether it is an image, or a sequence of images such as a video."""
    return isinstance(feature, tfds.features.Image) or (
        isinstance(feature, tfds.features.Sequence) and _holds_images(feature.feature)
    )


def _is_class(feature: _Feature) -> bool:
    return isinstance(feature, tfds.features.ClassLabel) and bool(feature.names)


def _described(features: Mapping[str, _Feature], keys: list[str]) -> str:
    shown = [f"its feature {key!r} is {_type_of(features[key])}" for key in keys[:MOST_FEATURES]]
    return ", ".join(shown) + (f" and {len(keys) - MOST_FEATURES} more" if len(keys) > MOST_FEATURES else "")


def _flags(flag: str, keys: list[str]) -> str:
    """For example `--image_key=left, middle or right`."""
    *most, last = keys
    return f"--{flag}={', '.join(most)}{' or ' if most else ''}{last}"


def _type_of(feature: _Feature) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        # Without names its `repr` fails.
        return repr(feature) if feature.names else "a ClassLabel without names"
    return textwrap.shorten(repr(feature), 80, placeholder=" ...")
