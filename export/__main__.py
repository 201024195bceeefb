"""Exports a trained network: `python -m export --model_dir=DIR --output=DIR …`."""

import sys

from tf_simclrv2.cli.main import run_command

if __name__ == "__main__":
    run_command("export", sys.argv[1:], "python -m export")
