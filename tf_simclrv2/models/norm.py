"""The settings that all batch norms of a network share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tf_simclrv2.models.batch_norm import BatchNormRelu


@dataclasses.dataclass(frozen=True)
class Norm:
    """Holds the batch-norm settings that a network hands down to each of its layers.

    Attributes:
        global_bn: If True, statistics are computed over all replicas; if False, each replica uses its own
            (SimCLR appendix B.9: local statistics leak the answer).
        momentum: Weight of the old moving statistics, in [0, 1).

    Example:
        >>> encoder = ResNet(18, batch_norm=Norm(global_bn=False))
    """

    global_bn: bool = True
    momentum: float = 0.9

    @classmethod
    def get(cls, settings: Norm | Mapping[str, Any] | None) -> Norm:
        """Returns the settings that a layer was given, or that its saved config holds.

        Args:
            settings: A `Norm`, the dict that `to_dict` made of one, or None for the defaults.

        Raises:
            TypeError: The dict has a key that is not a setting.
        """
        return settings if isinstance(settings, cls) else cls(**settings or {})

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values, for the `get_config` of a layer."""
        return dataclasses.asdict(self)

    def layer(self, **options: Any) -> BatchNormRelu:
        """Creates a batch norm with these settings.

        Args:
            **options: Further arguments of `BatchNormRelu`, such as `name`, `dtype` and `relu`.
        """
        return BatchNormRelu(global_bn=self.global_bn, momentum=self.momentum, **options)
