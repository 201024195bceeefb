"""Converts weights: `python -m export.convert --input=PATH --output=DIR`."""

from tf_simclrv2.cli.convert import main

if __name__ == "__main__":
    main()
