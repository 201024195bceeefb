"""A program with the small network of the tests: `python -m tests.small_program MODULE FLAGS`."""

import runpy
import sys

from tests.small_network import BLOCKS, WIDTHS
from tf_simclrv2.models import resnet

if __name__ == "__main__":
    resnet.BLOCKS_PER_GROUP[18] = BLOCKS
    resnet.GROUP_WIDTHS = WIDTHS
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
