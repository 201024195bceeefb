"""Variables that an optimizer treats as exceptions, described so that a saved optimizer finds them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Exclusions:
    """Variables that are excluded from a part of the optimizer's step.

    Before the optimizer is built, they are described by themselves or by parts of their names. Afterwards
    they are known by their positions among the variables of the optimizer, as its slots are. Unlike a
    variable's path, a position is the same in a model that is loaded from a file.

    Attributes:
        variables: The variables themselves.
        name_parts: Strings; a variable whose name contains one of them is excluded.
        paths: Paths of variables, from a config that was saved before the optimizer was built.
        positions: Positions among the variables of the optimizer.
        count: The number of these variables; None if positions are not known.
    """

    variables: tuple[keras.Variable | tf.Variable, ...] = ()
    name_parts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    count: int | None = None

    def resolve(self, variables: Sequence[keras.Variable]) -> Exclusions:
        """Returns the same exclusions by position.

        Args:
            variables: The variables of the optimizer.

        Raises:
            ConfigError: The exclusions come from a config, and are those of another model.
        """
        if self.count not in (None, len(variables)):
            raise ConfigError(
                f"the optimizer was saved with exclusions among {self.count} variables, but is built for "
                f"{len(variables)}; exclude variables of this model first."
            )
        excluded = {tf_variable(variable).ref() for variable in self.variables}
        positions = {*self.positions, *(_position(path, variables) for path in self.paths)}
        for i, variable in enumerate(variables):
            named = any(part in variable.name for part in self.name_parts)
            if named or tf_variable(variable).ref() in excluded:
                positions.add(i)
        return Exclusions(positions=tuple(sorted(positions)), count=len(variables))

    def to_config(self) -> dict[str, Any]:
        """Returns the exclusions as JSON values."""
        return {
            "name_parts": list(self.name_parts),
            "paths": [*self.paths, *(_path(variable) for variable in self.variables)],
            "positions": list(self.positions),
            "count": self.count,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Exclusions:
        """Builds exclusions from `to_config`'s values."""
        lists = {name: tuple(config[name]) for name in ("name_parts", "paths", "positions")}
        return cls(count=config["count"], **lists)


def tf_variable(variable: keras.Variable | tf.Variable) -> tf.Variable:
    """Returns TensorFlow's variable of a Keras variable; any other is returned unchanged."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def _path(variable: keras.Variable | tf.Variable) -> str:
    return variable.path if isinstance(variable, keras.Variable) else variable.name.split(":")[0]


def _position(path: str, variables: Sequence[keras.Variable]) -> int:
    """Finds the only variable of a path, which may have gained or lost the name of the outer model."""
    paths = [_path(variable) for variable in variables]
    same = [i for i, other in enumerate(paths) if other == path]
    longer = [i for i, other in enumerate(paths) if f"/{other}".endswith(f"/{path}")]
    shorter = [i for i, other in enumerate(paths) if f"/{path}".endswith(f"/{other}")]
    found = same or longer or shorter
    if len(found) != 1:
        raise ConfigError(
            f"the optimizer was saved with an exclusion of the variable {path!r}, of which this model has "
            f"{len(found)}; exclude variables of this model first."
        )
    return found[0]
