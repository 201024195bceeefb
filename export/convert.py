"""Converts weights to and from the published form: `python -m export.convert --input=PATH --output=DIR`."""

from __future__ import annotations

import os

# Before TensorFlow is imported: its start-up messages would drown ours.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app

from tf_simclrv2.export.convert import define_flags, main

if __name__ == "__main__":
    define_flags()
    app.run(main)
