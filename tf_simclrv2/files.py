"""Names of files that one room writes and another reads."""

from __future__ import annotations

# In a model_dir: every setting, what made it.
CONFIG_FILE = "config.json"
VERSIONS_FILE = "versions.json"
# In a module: its architecture, preprocessing and endpoints.
DESCRIPTION_FILE = "simclr.json"
# In both: the class names, one a line, in the order of the labels.
CLASS_NAMES_FILE = "labels.txt"
