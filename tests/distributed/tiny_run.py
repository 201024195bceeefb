"""`run.py` with a "ResNet-18" of two blocks: `python -m tests.distributed.tiny_run FLAGS`."""

from absl import app

import run
from tf_simclrv2.models import resnet

if __name__ == "__main__":
    resnet.BLOCKS_PER_GROUP[18] = (1, 0, 0, 1)
    app.run(run.main)
