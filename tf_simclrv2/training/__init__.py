"""A whole run: its plan, its loop, its checkpoints and what stops it."""
