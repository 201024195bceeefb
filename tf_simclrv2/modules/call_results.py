"""What calling an exported module returns: all endpoints, or one, as in TF-Hub's common APIs for images."""

from __future__ import annotations

from typing import Literal

Api = Literal["endpoints", "feature_vector", "classification"]
# The last endpoint of an API, unless the user chooses one.
ENDS = {"feature_vector": "final_avg_pool", "classification": "logits_sup"}
# The endpoint that a call returns; for `endpoints`, all of them.
RESULTS = {"feature_vector": "proj_head_output", "classification": "logits_sup"}
