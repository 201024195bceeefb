"""The networks compute what the published ones do, given the same weights and images."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import (
    assert_endpoint_matches,
    assign_published_weights,
    checksum,
    image,
    load,
    published_variables,
)
from tf_simclrv2.config import ModelConfig
from tf_simclrv2.models import SimCLR

CONFIGS = list(load("configs"))
# The published code has these before their ReLU too (nl_0, nl_1), which are no endpoints here.
OUR_NAMES = {"nl_0_relu": "proj_head_1", "nl_1_relu": "proj_head_2", "nl_2": "proj_head_3"}


def _config(name: str) -> ModelConfig:
    return ModelConfig(num_classes=10, **load("configs")[name])


def _images(golden: dict) -> np.ndarray:
    spec = golden["input"]
    images = image(spec["batch"], spec["size"], spec["channels"], spec["seed"])
    assert checksum(images) == golden["input_crc32"]
    return np.concatenate(np.split(images, spec["channels"] // 3, axis=-1))


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("config", CONFIGS)
def test_variables_endpoints_and_moving_statistics(config: str, precision: str) -> None:
    golden = load("forward")["configs"][config]
    network = SimCLR(_config(config), dtype=precision)
    network.build((None, 64, 64, 3))
    variables = assign_published_weights(network)
    published = published_variables(config)
    ours = {name: (tuple(v.shape), v.trainable) for name, v in variables.items()}
    assert ours == {name: (shape, trainable) for name, shape, trainable in published}
    assert len(ours) == len(network.variables)
    crc = 0
    for name, _, _ in published:
        crc = zlib.crc32(np.asarray(variables[name], "<f4").tobytes(), crc)
    assert crc == golden["weights_crc32"]

    for mode in ("inference", "training"):
        endpoints = network(tf.cast(_images(golden[mode]), precision), training=mode == "training")
        compared = set()
        for name, want in golden[mode]["endpoints"].items():
            ours = OUR_NAMES.get(name, name)
            if ours not in endpoints:
                continue
            tolerance = {
                ("float64", mode): 1e-9,
                ("float32", "inference"): 1e-5,
                ("float32", "training"): 10 * want["rel_l2_error"],
            }[precision, mode]
            assert_endpoint_matches(endpoints[ours], want, precision, tolerance, f"{config} {mode} {ours}")
            compared.add(ours)
        assert compared == set(endpoints) - {"proj_head_0"}
        assert endpoints["proj_head_0"] is endpoints["final_avg_pool"]

    moved = golden["training"]["moving_statistics"]
    for name, want in moved["layers"].items():
        tolerance = 1e-7 if precision == "float64" else 10 * want["rel_l2_error"]
        assert_endpoint_matches(variables[name], want, precision, tolerance, f"{config} {name}")
    for kind, want in moved["total_l2"].items():
        every = np.concatenate([np.ravel(v) for name, v in variables.items() if name.endswith(kind)])
        limit = 1e-7 if precision == "float64" else 1e-5
        assert np.linalg.norm(every) == pytest.approx(want[precision], rel=limit)
