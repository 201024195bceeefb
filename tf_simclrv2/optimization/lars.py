"""LARS, layer-wise adaptive rate scaling (You et al. 2017), as SimCLR uses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.models.untracked import Untracked
from tf_simclrv2.optimization.exclusions import Exclusions, tf_variable


@dataclasses.dataclass(frozen=True)
class _Rule:
    """Holds how one variable is updated.

    Attributes:
        velocity: Its momentum.
        decays: Whether weight decay is added to its gradient.
        adapts: Whether its rate has the trust ratio.
    """

    velocity: keras.Variable
    decays: bool
    adapts: bool


@keras.saving.register_keras_serializable("tf_simclrv2")
class LARS(keras.optimizers.Optimizer):
    """Trains with momentum SGD whose rate for each variable is proportional to ‖w‖ / ‖g‖.

    It keeps training stable at the large batches that contrastive learning needs.

    With λ the weight decay, g the gradient plus λw, and η the trust coefficient:

        classic momentum:   v ← μv + lr · η‖w‖/‖g‖ · g,   w ← w - v
        otherwise:          v ← μv + g,                   w ← w - lr · η‖w‖/‖v‖ · v

    where the ratio is 1 if either norm is 0, and v is replaced by its Nesterov look-ahead if asked.

    Batch-norm parameters, biases and the linear classifier should have neither weight decay nor trust ratio.
    Exclude them with `exclude_from_weight_decay` and `exclude_from_layer_adaptation` before the first step;
    `optimization.exclude_from_lars` does so for a whole model, and the `compile` of a task calls it for an
    optimizer that has no exclusions.
    Exclusions are part of the optimizer's config, so a compiled model that is saved as a `.keras` file has
    them when it is loaded.

    Args:
        learning_rate: A float or a `keras.optimizers.schedules.LearningRateSchedule`; 0.3 by default.
        momentum: μ, at least 0; 0.9 by default.
        weight_decay: λ, at least 0, added to the gradient and not decoupled from it; 0 (no decay) by default.
        use_nesterov: If True, the step is Nesterov's look-ahead; False by default.
        classic_momentum: If True (the default), the learning rate is part of the momentum.
        trust_coefficient: η (`eeta` in the published code); 0.001 by default.
        name: The name of the optimizer; `lars` by default.
        **kwargs: Further arguments of `keras.optimizers.Optimizer`.

    Raises:
        ConfigError: `momentum` or `weight_decay` is negative.

    Example:
        >>> optimizer = LARS(learning_rate=0.3, weight_decay=1e-4)

    Reference: arXiv 1708.03888; SimCLR appendix B.6.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        use_nesterov: bool = False,
        classic_momentum: bool = True,
        trust_coefficient: float = 1e-3,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        for argument, value in (("momentum", momentum), ("weight_decay", weight_decay)):
            if value < 0:
                raise ConfigError(f"{argument} is {value}; it must be at least 0.")
        # Keras's own weight decay is decoupled from the gradient; this one is not.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.l2_weight_decay = weight_decay
        self.use_nesterov = use_nesterov
        self.classic_momentum = classic_momentum
        self.trust_coefficient = trust_coefficient
        # Keras would otherwise count excluded variables as the optimizer's own.
        self._not_decayed = Untracked(Exclusions())
        self._not_adapted = Untracked(Exclusions())
        self._rules: Untracked[dict[Any, _Rule]] = Untracked({})

    def exclude_from_weight_decay(
        self,
        var_list: Iterable[keras.Variable] | None = None,
        var_names: Iterable[str] | None = None,
    ) -> None:
        """Excludes variables from weight decay, and drops the exclusions of an earlier call or a loaded file.

        Args:
            var_list: The variables; None for none.
            var_names: Strings; variables whose name contains one of them are excluded too.

        Raises:
            ValueError: The optimizer is built already.
        """
        self._refuse_if_built("exclude_from_weight_decay")
        self._not_decayed = Untracked(Exclusions(tuple(var_list or ()), tuple(var_names or ())))

    def exclude_from_layer_adaptation(self, var_list: Iterable[keras.Variable]) -> None:
        """Gives these variables a trust ratio of 1, in addition to those of earlier calls.

        Exclusions that were loaded with the optimizer are dropped.

        Args:
            var_list: The variables.

        Raises:
            ValueError: The optimizer is built already.
        """
        self._refuse_if_built("exclude_from_layer_adaptation")
        self._not_adapted = Untracked(Exclusions((*self._not_adapted.value.variables, *var_list)))

    @property
    def has_exclusions(self) -> bool:
        """Returns whether it was told what to exclude, by a call or as the config of a built optimizer."""
        return any(each.value != Exclusions() for each in (self._not_decayed, self._not_adapted))

    def _refuse_if_built(self, method: str) -> None:
        if self.built:
            raise ValueError(f"the optimizer is built already; call {method} before its first step.")

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        self._not_decayed = Untracked(self._not_decayed.value.resolve(variables))
        self._not_adapted = Untracked(self._not_adapted.value.resolve(variables))
        strategy = tf.distribute.get_strategy()
        rules: dict[Any, _Rule] = {}
        for i, (variable, velocity) in enumerate(zip(variables, self.momentums, strict=True)):
            decays = i not in self._not_decayed.value.positions
            rule = _Rule(velocity, decays, adapts=i not in self._not_adapted.value.positions)
            # `update_step` receives the variable itself, or the part of it that one replica holds.
            whole = tf_variable(variable)
            for part in (whole, *strategy.experimental_local_results(whole)):
                rules[part.ref()] = rule
        self._rules = Untracked(rules)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        rate = tf.cast(learning_rate, variable.dtype)
        gradient = tf.cast(gradient, variable.dtype)
        rule = self._rules.value[variable.ref()]
        if self.l2_weight_decay and rule.decays:
            gradient += self.l2_weight_decay * variable
        if self.classic_momentum:
            # One pass over velocity and weights; as separate ops it would be six, a fifth of a small step.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=rule.velocity.value.handle,
                lr=tf.ones([], variable.dtype),
                grad=rate * self._trust_ratio(rule, variable, gradient) * gradient,
                momentum=tf.constant(self.momentum, variable.dtype),
                use_nesterov=self.use_nesterov,
            )
            return
        self.assign(rule.velocity, self.momentum * rule.velocity + gradient)
        direction = tf.convert_to_tensor(rule.velocity)
        direction = self.momentum * direction + gradient if self.use_nesterov else direction
        self.assign_sub(variable, rate * self._trust_ratio(rule, variable, direction) * direction)

    def _trust_ratio(self, rule: _Rule, variable: tf.Variable, direction: tf.Tensor) -> tf.Tensor:
        one = tf.ones([], variable.dtype)
        if not rule.adapts:
            return one
        weight_norm, step_norm = _norm(variable), _norm(direction)
        ratio = self.trust_coefficient * tf.math.divide_no_nan(weight_norm, step_norm)
        return tf.where((weight_norm > 0) & (step_norm > 0), ratio, one)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "momentum": self.momentum,
            "weight_decay": self.l2_weight_decay,
            "use_nesterov": self.use_nesterov,
            "classic_momentum": self.classic_momentum,
            "trust_coefficient": self.trust_coefficient,
            "not_decayed": self._not_decayed.value.to_config(),
            "not_adapted": self._not_adapted.value.to_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> LARS:
        config = dict(config)
        # A file of an earlier version has no exclusions.
        exclusions = {name: config.pop(name, None) for name in ("not_decayed", "not_adapted")}
        optimizer = super().from_config(config, custom_objects)
        for name, saved in exclusions.items():
            if saved is not None:
                setattr(optimizer, f"_{name}", Untracked(Exclusions.from_config(saved)))
        return optimizer


def _norm(x: tf.Tensor | tf.Variable) -> tf.Tensor:
    """Computes the same as `tf.norm`, without writing the squares to memory."""
    return tf.sqrt(2.0 * tf.nn.l2_loss(x))
