"""What runs are called after: heads, layers, shares of the labels."""

from __future__ import annotations

# Networks by the layers of their projection heads.
HEADS = {2: "shallow_head", 3: "small", 4: "deep_head"}
# The weights of distillation against labels.
ALPHAS = (0.0, 0.5, 1.0)


def usual_layer(head_layers: int) -> int:
    """The layer to fine-tune from: the first of a deep head, as in the paper, and h below a shallow one."""
    return 1 if head_layers > 2 else 0


def percent(fraction: float) -> str:
    """A share of the labels, in the name of a run."""
    return f"{round(100 * fraction)}pct"
