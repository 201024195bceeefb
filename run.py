"""Trains and evaluates: `python run.py --mode=train_then_eval --model_dir=DIR …`."""

from tf_simclrv2.cli.run import main

if __name__ == "__main__":
    main()
