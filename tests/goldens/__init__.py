"""Numbers of the published TF2 implementation, and how to compare with them.

`weights.py` makes weights, images and gradients from names; the JSON files hold what the published
code (google-research/simclr, commit 383d414) computes with them, in float32 and float64.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any, NamedTuple

import keras
import numpy as np

from tests.goldens.weights import checksum, image, value
from tf_simclrv2.models import SimCLR
from tf_simclrv2.weights.published_names import published_names

__all__ = [
    "PublishedVariable",
    "assert_endpoint_matches",
    "assign_published_weights",
    "checksum",
    "image",
    "load",
    "published_variables",
    "value",
]

_FOLDER = pathlib.Path(__file__).parent


class PublishedVariable(NamedTuple):
    name: str
    shape: tuple[int, ...]
    trainable: bool


@functools.cache
def load(name: str) -> Any:
    """The contents of `<name>.json`; not to be changed by the caller."""
    return json.loads((_FOLDER / f"{name}.json").read_text())


def published_variables(config: str) -> list[PublishedVariable]:
    """The published variables of a config, in the order of the published `model.variables`."""
    lines = (_FOLDER / "variables" / f"{config}.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [
        PublishedVariable(name, tuple(map(int, shape.split(","))), trainable == "1")
        for name, shape, trainable in rows
    ]


def assign_published_weights(network: SimCLR) -> dict[str, keras.Variable]:
    """Fills a built network with `value(name, shape)` and returns its variables by published name."""
    names = published_names(network)
    for name, variable in names.items():
        variable.assign(value(name, variable.shape))
    return names


def assert_endpoint_matches(
    array: Any, golden: dict[str, Any], precision: str, tolerance: float, what: str = ""
) -> None:
    """Compares an array with the shape, moments, projection and first values of a golden.

    Norm and standard deviation are compared relatively; the others, which may be 0 but for
    rounding, against the root mean square.

    Args:
        array: What was computed.
        golden: `shape`, and per precision `mean`, `std`, `l2`, `dot` and `first8`.
        precision: `float32` or `float64`.
        tolerance: Largest relative difference.
        what: Named in the failure.
    """
    array = np.asarray(array, np.float64)
    want = golden[precision]
    assert list(array.shape) == golden["shape"], what
    dot = np.sum(array * value("dot", array.shape)) / np.sqrt(array.size)
    rms = want["l2"] / np.sqrt(array.size)
    differences = {
        "l2": np.linalg.norm(array) / want["l2"] - 1,
        "std": array.std() / want["std"] - 1,
        "mean": (array.mean() - want["mean"]) / rms,
        "dot": (dot - want["dot"]) / rms,
        "first8": np.max(np.abs(array.ravel()[:8] - want["first8"])) / rms,
    }
    wrong = {name: difference for name, difference in differences.items() if not abs(difference) <= tolerance}
    assert not wrong, f"{what}: {wrong}, allowed {tolerance}"
