"""Projection heads of every kind, alone and within SimCLR."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights, image
from tf_simclrv2.config import ModelConfig
from tf_simclrv2.models import ProjectionHead, SimCLR

HEADS = [("none", 3, 0), ("linear", 3, 1), ("nonlinear", 1, 1), ("nonlinear", 2, 2), ("nonlinear", 4, 4)]
H = np.random.default_rng(2).standard_normal((6, 12))


def _config(**options) -> ModelConfig:
    return ModelConfig(resnet_depth=18, image_size=8, num_classes=3, proj_out_dim=5, **options)


@pytest.mark.parametrize("mode, num_layers, expected", HEADS)
def test_simclr_returns_every_layer_by_name(mode: str, num_layers: int, expected: int) -> None:
    config = _config(proj_head_mode=mode, num_proj_layers=num_layers)
    network = SimCLR(config)
    endpoints = network(tf.zeros([2, 8, 8, 3]))
    layers = {name for name in endpoints if name.startswith("proj_head_")}
    assert layers == {f"proj_head_{i}" for i in range(expected + 1)} | {"proj_head_input", "proj_head_output"}
    assert endpoints["proj_head_0"] is endpoints["proj_head_input"] is endpoints["final_avg_pool"]
    assert endpoints["proj_head_output"] is endpoints[f"proj_head_{expected}"]
    widths = [endpoints[f"proj_head_{i}"].shape[-1] for i in range(expected + 1)]
    assert widths == [512] * max(expected, 1) + [5] * (expected > 0)
    assert endpoints["logits_sup"].shape == (2, 3)


@pytest.mark.parametrize("num_layers", [1, 2, 4])
@pytest.mark.parametrize("training", [False, True])
def test_layers_equal_numpy(num_layers: int, training: bool) -> None:
    rng = np.random.default_rng(4)
    head = ProjectionHead(num_layers, out_dim=5, dtype="float64")
    head.build(H.shape)
    for variable in head.variables:
        variable.assign(0.5 + rng.random(variable.shape) + (variable.name == "kernel") * -1.0)
    values = [
        (np.array(d.kernel), {v.name: np.array(v) for v in n.variables})
        for d, n in zip(head.denses, head.norms, strict=True)
    ]
    outputs = head(H, training=training)
    assert len(outputs) == num_layers + 1
    x = H
    np.testing.assert_array_equal(outputs[0], H)
    for i, (kernel, norm) in enumerate(values, 1):
        x = x @ kernel
        mean, variance = (x.mean(0), x.var(0)) if training else (norm["moving_mean"], norm["moving_variance"])
        x = norm["gamma"] * (x - mean) / np.sqrt(variance + 1e-5)
        assert ("beta" in norm) == (i < num_layers)
        if i < num_layers:
            x = np.maximum(x + norm["beta"], 0.0)
        np.testing.assert_allclose(outputs[i], x, rtol=1e-11, atol=1e-12)
    assert outputs[-1].shape == (6, 5)


def test_no_head_passes_h_through_without_variables() -> None:
    head = ProjectionHead(0)
    (only,) = head(H.astype(np.float32))
    np.testing.assert_array_equal(only, H.astype(np.float32))
    assert head.variables == []


def test_dense_layers_start_from_a_normal_of_one_hundredth() -> None:
    head = ProjectionHead(2, out_dim=128)
    head.build((None, 512))
    for dense in head.denses:
        assert np.std(dense.kernel) == pytest.approx(0.01, rel=0.02)
        assert dense.bias is None


@pytest.mark.parametrize("selector, layer", [(0, 0), (1, 1), (2, 2), (3, 3), (-1, 3)])
def test_selector_chooses_what_the_classifier_sees(selector: int, layer: int) -> None:
    network = SimCLR(_config(ft_proj_selector=selector), dtype="float64")
    network.build((None, 8, 8, 3))
    assign_published_weights(network)
    endpoints = network(image(2, 8, 3, seed=1).astype(np.float64))
    head = network.supervised_head
    expected = np.asarray(endpoints[f"proj_head_{layer}"]) @ np.asarray(head.kernel) + np.asarray(head.bias)
    np.testing.assert_allclose(endpoints["logits_sup"], expected, rtol=1e-12)


@pytest.mark.parametrize("selector", [0, 2, 3])
def test_truncated_head_drops_what_is_behind_the_selector(selector: int) -> None:
    images = image(4, 8, 3, seed=1).astype(np.float64)
    logits = []
    for truncate in (False, True):
        network = SimCLR(_config(ft_proj_selector=selector, truncate_proj_head=truncate), dtype="float64")
        network.build((None, 8, 8, 3))
        variables = assign_published_weights(network)
        endpoints = network(images)
        logits.append([endpoints["logits_sup"], network(images, training=True)["logits_sup"]])
        kept = selector if truncate else 3
        assert len(network.projection_head.denses) == kept
        assert {name.split("/")[1] for name in variables if name.startswith("projection_head/")} == {
            f"nl_{i}" for i in range(kept)
        }
        assert f"proj_head_{kept}" in endpoints
        assert f"proj_head_{kept + 1}" not in endpoints
        assert endpoints["proj_head_output"] is endpoints[f"proj_head_{kept}"]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-12)
