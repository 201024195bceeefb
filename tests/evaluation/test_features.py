"""Features are the network's endpoints, row by row."""

import numpy as np
import tensorflow as tf

from tests.goldens import image
from tf_simclrv2 import ModelConfig, SimCLR
from tf_simclrv2.evaluation import extract_features


def test_features_of_padded_batches():
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=16, num_classes=0))
    network.build((None, 16, 16, 3))
    images = image(6, 16, 3, 1)
    batches = [
        {"image": tf.constant(images[:4]), "label": tf.constant([3, 1, 2, 0]), "mask": tf.fill([4], True)},
        {
            "image": tf.constant(np.concatenate([images[4:], np.zeros_like(images[:2])])),
            "label": tf.constant([1, 2, -1, -1]),
            "mask": tf.constant([True, True, False, False]),
        },
    ]
    features, labels = extract_features(network, batches, ("final_avg_pool", "proj_head_1", "raw_pixels"))
    assert labels.tolist() == [3, 1, 2, 0, 1, 2]
    expected = network(images)
    for name in ("final_avg_pool", "proj_head_1"):
        np.testing.assert_allclose(features[name], expected[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features["raw_pixels"], images.reshape(6, -1))
