"""Networks' weights on disk, ours and the published ones: found, described, loaded."""
