"""Published weights, exported as they are."""

import tensorflow as tf

from tests.goldens import assign_published_weights, image
from tests.small_module import relative
from tests.training.small_runs import config_for
from tf_simclrv2 import SimCLR
from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.export.exporter import export
from tf_simclrv2.weights.published_weights import save_published_checkpoint


def test_published_weights_are_exported(tmp_path):
    network = SimCLR(config_for(tmp_path).model)
    network.build((None, 8, 8, 3))
    assign_published_weights(network)
    save_published_checkpoint(network, str(tmp_path / "published" / "ckpt-5"))
    export(ExportConfig(str(tmp_path / "published" / "ckpt-5"), str(tmp_path / "module")))
    images = image(2, 32, 3, 5)
    found = tf.saved_model.load(str(tmp_path / "module"))(images)
    expected = network(images, training=False)
    assert relative(found["logits_sup"], expected["logits_sup"]) < 1e-5
