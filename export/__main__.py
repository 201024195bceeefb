"""Exports a trained network: `python -m export --model_dir=DIR --output=DIR …`."""

from tf_simclrv2.cli.export import main

if __name__ == "__main__":
    main()
