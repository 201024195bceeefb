"""The front doors of `tf_simclrv2.export`: `python -m export` and `python -m export.convert`."""
