import numpy as np
import pytest

from benchmarks import linear_probe
from tf_simclrv2.evaluation.linear_probe import STRENGTHS


@pytest.fixture(scope="module")
def digits():
    return linear_probe.digits(300, 300)


def test_the_digits_are_the_first_and_the_last(digits):
    assert digits.features.shape == digits.test_features.shape == (300, 64)
    every = linear_probe.digits(10_000, 10_000)
    assert len(every.features) + len(every.test_features) == 1797  # None is in both.
    np.testing.assert_array_equal(every.features[:300], digits.features)
    np.testing.assert_array_equal(every.test_features[-300:], digits.test_features)


def test_the_library_agrees_with_scikit_learn(digits):
    found = linear_probe.measure(digits)
    ours, theirs = found["strengths"]["ours"], found["strengths"]["scikit-learn"]
    assert len(ours) == len(theirs) == len(STRENGTHS) and len(set(theirs)) > 2
    # 0.3 points of 300 rows are less than one.
    np.testing.assert_allclose(ours, theirs, atol=0.0034)
    ours, theirs = found["protocol"]["ours"], found["protocol"]["scikit-learn"]
    assert ours["strength"] == theirs["strength"]
    assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.0034)
    assert min(ours["s"], theirs["s"]) > 0


def test_the_images_go_through_a_network(monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (6, 28, 28)).astype(np.uint8)
    monkeypatch.setattr(linear_probe.fashion_mnist, "read", lambda split, source: (images, np.arange(6)))
    pixels = linear_probe.fashion_pixels(6, 3)
    assert pixels.features.shape == (6, 784) and pixels.features.max() <= 1
    np.testing.assert_array_equal(pixels.test_labels, [0, 1, 2])
    h = linear_probe.fashion_h(6, 3)
    assert h.features.shape == (6, 512) and h.test_features.shape == (3, 512)
    np.testing.assert_allclose(h.features[:3], h.test_features, rtol=1e-4)


def test_the_table_has_points_between_both():
    found = {
        "rows": (300, 64),
        "strengths": {"ours": [0.5] * 5, "scikit-learn": [0.498] * 5},
        "protocol": {
            "ours": {"accuracy": 0.5, "strength": 0.1, "s": 1.0},
            "scikit-learn": {"accuracy": 0.51, "strength": 1.0, "s": 2.0},
        },
    }
    lines = linear_probe.table("digits", found).splitlines()
    assert lines[0] == "| digits | 300 x 64 | 0.001 | 50.00 | 49.80 | +0.20 |  |"
    assert lines[5] == "| digits |  | chosen: 0.1; 1 | 50.00 | 51.00 | -1.00 | 1.0; 2.0 |"
