"""Programs that turn a checkpoint into something that others use."""
