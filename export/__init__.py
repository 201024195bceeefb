"""The front doors of `tf_simclrv2.export`."""
