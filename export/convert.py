"""Converts weights: `python -m export.convert --input=PATH --output=DIR`."""

import sys

from tf_simclrv2.cli.main import run_command

if __name__ == "__main__":
    run_command("convert", sys.argv[1:], "python -m export.convert")
