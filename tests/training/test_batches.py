"""The first images, which are shown before training."""

from __future__ import annotations

import pathlib

import tensorflow as tf

from tests.training.small_runs import config_for
from tf_simclrv2.training.preparation import prepare


def test_first_images_that_cannot_be_read_do_not_hold_up_a_run(tmp_path: pathlib.Path) -> None:
    """An endless stream of nothing else would never give a batch."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = tf.io.encode_png(tf.zeros([8, 8, 3], tf.uint8)).numpy()
    for number in range(20):
        (folder / f"{number}.png").write_bytes(picture)
    config = config_for(
        tmp_path / "run",
        dataset="image_folder",
        data_dir=str(folder),
        train_split="train",
        eval_split="train",
        max_skipped_fraction=0.6,
    )
    prepared = prepare(config, tf.distribute.get_strategy(), lambda line: None)
    source = prepared.plan.train_source
    paths = [record["path"].decode() for record in source.records.take(8).as_numpy_iterator()]
    for path in paths:
        (folder / pathlib.Path(path).name).write_bytes(b"torn")
    batch = prepared.batches.first(8)
    shown = {pathlib.Path(path.decode()).name for path in batch["path"].numpy()}
    assert len(batch["path"]) == 8 and not shown & {pathlib.Path(path).name for path in paths}
