"""Trains and evaluates: `python run.py --mode=train_then_eval --model_dir=DIR …`."""

import sys

from tf_simclrv2.cli.main import run_command

if __name__ == "__main__":
    run_command("run", sys.argv[1:], "python run.py")
