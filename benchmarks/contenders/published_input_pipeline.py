"""The published program's input pipeline, for `input_pipeline.py`.

    python benchmarks/contenders/published_input_pipeline.py TF2 FOLDER BATCHES BLUR BATCH SIZE

TF2 is that folder of a checkout of google-research/simclr. Its data_util.py makes the views; the stream
around it, and the blur of whole batches, are as in its data.py and run.py, but over files instead of TFDS's
records. Prints the seconds of BATCHES batches after the warm-up, in a JSON list.
"""

from __future__ import annotations

import inspect
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.measuring.batch_timing import seconds_of

BUFFERED_BATCHES = 10


def seconds(tf2: str, folder: str, batches: int, blur: bool, batch_size: int, size: int) -> float:
    """Seconds of the batches after the warm-up."""
    flags.DEFINE_float("color_jitter_strength", 1.0, "Strength of the color jitter.")
    flags.FLAGS(["published_input_pipeline.py"])
    sys.path.insert(0, tf2)
    import data_util  # pyright: ignore[reportMissingImports] # in the checkout

    # Some versions read the flag instead.
    has_strength = "color_jitter_strength" in inspect.signature(data_util.preprocess_image).parameters
    strength = {"color_jitter_strength": 1.0} if has_strength else {}

    def two_views(path: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        views = [
            data_util.preprocess_image(image, height=size, width=size, is_training=True, **strength)
            for _ in range(2)
        ]
        return tf.concat(views, -1)

    options = tf.data.Options()
    options.deterministic = False
    options.experimental_slack = True
    files = tf.data.Dataset.list_files(f"{folder}/train/*.jpg").with_options(options)
    stream = files.shuffle(BUFFERED_BATCHES * batch_size).repeat()
    stream = stream.map(two_views, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
    iterator = iter(stream.prefetch(tf.data.AUTOTUNE))

    @tf.function
    def made() -> list[tf.Tensor]:
        views = tf.split(next(iterator), 2, axis=-1)
        return data_util.batch_random_blur(views, size, size) if blur else views

    return seconds_of(lambda: made()[0].numpy(), batches)


if __name__ == "__main__":
    tf2, folder, batches, blur, batch_size, size = sys.argv[1:]
    print(json.dumps([seconds(tf2, folder, int(batches), blur == "1", int(batch_size), int(size))]))
