"""Which networks are considered, and which settings follow from the pictures."""

import pytest
import tensorflow as tf

from tf_simclrv2 import ModelConfig, SimCLR
from tf_simclrv2.auto import choices
from tf_simclrv2.auto.choices import Candidate, candidates


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (8, {8}),
        (5, {8}),
        (28.4, {28}),
        (33, {33}),
        (48, {48}),
        (60, {64}),
        (200, {64, 96, 128, 160, 224}),
        (3000, {64, 96, 128, 160, 224}),
    ],
)
def test_no_picture_is_enlarged_much(side, sizes):
    assert {candidate.image_size for candidate in candidates(side)} == sizes


def test_candidates_climb_in_cost():
    costs = [candidate.cost for candidate in candidates(500)]
    assert costs == sorted(costs)
    assert candidates(500)[-1] == Candidate(224, 50)


def flops(candidate: Candidate) -> float:
    """Of a forward pass, as TensorFlow counts them in the graph of the network."""
    network = SimCLR(ModelConfig(resnet_depth=candidate.depth, image_size=candidate.image_size))
    shape = [1, candidate.image_size, candidate.image_size, 3]
    graph = tf.function(
        lambda images: network(images, training=False)["final_avg_pool"]
    ).get_concrete_function(tf.TensorSpec(shape))
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph.graph, options=options).total_float_ops


def test_costs_are_those_of_the_networks():
    """In proportion: only ratios of costs are used."""
    some = [Candidate(28, 18), Candidate(64, 18), Candidate(96, 34), Candidate(160, 50)]
    per_cost = [flops(candidate) / candidate.cost for candidate in some]
    assert max(per_cost) / min(per_cost) < 1.3


@pytest.mark.parametrize(("images", "epochs"), [(400, 200), (1_437, 200), (5_000, 60), (1_000_000, 30)])
def test_few_pictures_are_seen_more_often(images, epochs):
    assert choices.wanted_epochs(images) == epochs


def test_epochs_fill_the_time():
    # 10 steps of 0.1 s an epoch.
    assert choices.affordable_epochs(320, 32, 0.1, 60.5) == 60
    assert choices.affordable_epochs(320, 32, 0.1, -5.0) == 1
    assert choices.affordable_epochs(320, 32, 0.1, 1e6) == 400
    # An epoch of 63 pictures is nearly two steps of 32, not one.
    assert choices.affordable_epochs(63, 32, 0.1, 60.0) == int(60 / (63 / 32 * 0.1))


@pytest.mark.parametrize(
    ("images", "accelerated", "size"),
    [(16, False, 16), (400, False, 32), (400, True, 64), (10**6, True, 512)],
)
def test_a_batch_is_at_most_an_epoch(images, accelerated, size):
    assert choices.batch_size(images, accelerated) == size


@pytest.mark.parametrize(
    ("accelerated", "capability", "gain", "policy"),
    [
        (False, None, 0.9, "float32"),
        (False, None, 1.6, "mixed_bfloat16"),
        (True, [9, 0], 0.2, "mixed_bfloat16"),
        (True, [7, 5], 0.2, "mixed_float16"),
        (True, [6, 1], 0.9, "float32"),
        (True, None, 0.9, "float32"),
        (True, None, 5.0, "mixed_bfloat16"),
    ],
)
def test_precision_is_what_the_device_is_fast_in(accelerated, capability, gain, policy):
    assert choices.precision(accelerated, capability, gain) == policy
