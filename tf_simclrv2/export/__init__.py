"""Programs that turn a trained network into something others use."""
