"""`run.py` with a "ResNet-18" of two blocks: `python -m tests.distribution.tiny_run FLAGS`."""

from tf_simclrv2.cli.run import main
from tf_simclrv2.models import resnet

if __name__ == "__main__":
    resnet.BLOCKS_PER_GROUP[18] = (1, 0, 0, 1)
    main()
