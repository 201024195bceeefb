"""Weights on disk, ours and the published ones: finds, describes and loads them."""
