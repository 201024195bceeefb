"""L-BFGS for several smooth convex functions at once, each with its own step length and its own end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# Pairs that a function remembers, each a step and the change of the gradient along it.
MEMORY = 10
# Share of the decrease that the slope promises which a step must bring (Armijo's condition).
SUFFICIENT = 1e-4
# Changes of a value below so many units of its dtype's precision may be rounding.
ROUNDING = 10.0
MAX_HALVINGS = 30

# Maps points [A, P] and the numbers [A] of their functions to values float64 [A] and gradients [A, P].
Objective = Callable[[tf.Tensor, np.ndarray], tuple[np.ndarray, tf.Tensor]]


class _Points(NamedTuple):
    """Where the functions stand: x [A, P], value float64 [A], gradient [A, P]."""

    x: tf.Tensor
    value: np.ndarray
    gradient: tf.Tensor


class _Pairs(NamedTuple):
    """Steps [M, A, P], changes [M, A, P] and one over their products [M, A], the latest last.

    A pair that is missing, or has no positive curvature because of rounding, has 0 for the last.
    """

    steps: tf.Tensor
    changes: tf.Tensor
    inverses: tf.Tensor


def minimize_together(
    objective: Objective,
    start: tf.Tensor,
    tolerance: float,
    max_iterations: int,
    on_iteration: Callable[[], None] | None = None,
) -> tf.Tensor:
    """Minimizes S functions of P parameters by L-BFGS, with one evaluation of all of them at a time.

    A function ends when no component of its gradient exceeds the tolerance, or when no step along its
    direction lowers it, so that it is as low as its dtype can represent. The others continue without it. The
    functions must be convex, so that a step that lowers one has a positive curvature too.

    Args:
        objective: Computes values and gradients of the functions that have not ended.
        start: [S, P], where each begins.
        tolerance: Largest absolute component of the gradient at the end.
        max_iterations: Steps after which all end.
        on_iteration: Called after each step.

    Returns:
        [S, P], where each ended.

    Example:
        >>> def bowls(x, which):
        ...     return tf.reduce_sum((x - 3.0) ** 2, axis=1).numpy(), 2.0 * (x - 3.0)
        >>> minimize_together(bowls, tf.zeros([2, 4]), 1e-6, 100).numpy()[0, 0]
        3.0

    Reference: Nocedal & Wright 2006, Numerical Optimization, algorithms 3.1, 7.4 and 7.5.
    """
    ends = tf.unstack(start)
    which = np.arange(len(ends))
    points = _Points(start, *objective(start, which))
    pairs = _no_pairs(start)
    done = _largest(points.gradient) <= tolerance
    for iteration in range(max_iterations):
        if done.any():
            _note(ends, which, points.x)
            going = np.flatnonzero(~done)
            if not len(going):
                return tf.stack(ends)
            which = which[going]
            points = _Points(
                tf.gather(points.x, going), points.value[going], tf.gather(points.gradient, going)
            )
            pairs = _Pairs(*(tf.gather(tensor, going, axis=1) for tensor in pairs))
        direction, slope = _compiled_for(_direction, start.dtype)(points.gradient, *pairs)
        new, moved = _line_search(objective, which, points, direction, slope.numpy(), iteration == 0)
        pairs = _compiled_for(_remember, start.dtype)(
            *pairs, new.x - points.x, new.gradient - points.gradient
        )
        points = new
        done = (_largest(points.gradient) <= tolerance) | ~moved
        if on_iteration is not None:
            on_iteration()
    _note(ends, which, points.x)
    return tf.stack(ends)


def _line_search(
    objective: Objective,
    which: np.ndarray,
    at: _Points,
    direction: tf.Tensor,
    slope: np.ndarray,
    first: bool,
) -> tuple[_Points, np.ndarray]:
    """Halves each function's step until it brings enough; returns the points, and which of them have moved.

    Near the minimum, rounding hides the decrease of the value. There the gradient decides: a step is good if
    the slope at its end does not rise more steeply than it fell at its start (approximate Wolfe conditions).

    Reference: Hager & Zhang 2005, section 3.
    """
    rounding = ROUNDING * np.finfo(at.x.dtype.as_numpy_dtype).eps * np.abs(at.value)
    # Without pairs, the scale of the step is unknown.
    length = 1.0 / np.sqrt(np.maximum(-slope, 1.0)) if first else np.ones_like(slope)
    x, value, gradient = at
    pending = np.arange(len(which))
    for _ in range(MAX_HALVINGS):
        tried = _along(at.x, direction, length, pending)
        tried_value, tried_gradient = objective(tried, which[pending])
        rise = tried_value - at.value[pending]
        end_slope = _slope(direction, tried_gradient, pending)
        enough = rise <= SUFFICIENT * (length * slope)[pending]
        enough |= (rise <= rounding[pending]) & (end_slope <= (2 * SUFFICIENT - 1) * slope[pending])
        if enough.all() and len(pending) == len(which):
            return _Points(tried, tried_value, tried_gradient), enough
        found, rows = pending[enough], np.flatnonzero(enough)
        x = _with_rows(x, found, tf.gather(tried, rows))
        gradient = _with_rows(gradient, found, tf.gather(tried_gradient, rows))
        value = value.copy()
        value[found] = tried_value[enough]
        pending = pending[~enough]
        if not len(pending):
            break
        length[pending] /= 2
    return _Points(x, value, gradient), ~np.isin(np.arange(len(which)), pending)


def _along(x: tf.Tensor, direction: tf.Tensor, length: np.ndarray, rows: np.ndarray) -> tf.Tensor:
    if len(rows) < len(length):
        x, direction, length = tf.gather(x, rows), tf.gather(direction, rows), length[rows]
    return x + tf.constant(length[:, np.newaxis], x.dtype) * direction


def _slope(direction: tf.Tensor, gradient: tf.Tensor, rows: np.ndarray) -> np.ndarray:
    if len(rows) < len(direction):
        direction = tf.gather(direction, rows)
    return _dot(direction, gradient).numpy().astype(np.float64)


def _with_rows(x: tf.Tensor, rows: np.ndarray, new: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(x, rows[:, np.newaxis], new)


def _no_pairs(start: tf.Tensor) -> _Pairs:
    none = tf.zeros([MEMORY, *start.shape], start.dtype)
    return _Pairs(none, none, tf.zeros([MEMORY, start.shape[0]], start.dtype))


def _direction(
    gradient: tf.Tensor, steps: tf.Tensor, changes: tf.Tensor, inverses: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Multiplies each negative gradient with the inverse Hessian that the pairs describe.

    Returns:
        The directions [A, P], and the slopes along them, float64 [A].
    """
    q, factors = -gradient, [tf.zeros([])] * MEMORY
    for i in reversed(range(MEMORY)):
        factors[i] = inverses[i] * _dot(steps[i], q)
        q -= factors[i][:, tf.newaxis] * changes[i]
    product, square = _dot(steps[-1], changes[-1]), _dot(changes[-1], changes[-1])
    scale = tf.where(inverses[-1] > 0, tf.math.divide_no_nan(product, square), tf.ones_like(product))
    q *= scale[:, tf.newaxis]
    for i in range(MEMORY):
        q += (factors[i] - inverses[i] * _dot(changes[i], q))[:, tf.newaxis] * steps[i]
    return q, tf.cast(_dot(gradient, q), tf.float64)


def _remember(
    steps: tf.Tensor, changes: tf.Tensor, inverses: tf.Tensor, step: tf.Tensor, change: tf.Tensor
) -> _Pairs:
    """Forgets the oldest pair for a new one."""
    product = _dot(step, change)
    inverse = tf.math.divide_no_nan(tf.cast(product > 0, step.dtype), product)
    new = zip((steps, changes, inverses), (step, change, inverse), strict=True)
    return _Pairs(*(tf.concat([old[1:], one[tf.newaxis]], axis=0) for old, one in new))


@functools.cache
def _compiled_for(function: Callable[..., Any], dtype: tf.DType) -> Callable[..., Any]:
    """A graph of a function for any number of functions and parameters."""
    points, pair = tf.TensorSpec([None, None], dtype), tf.TensorSpec([MEMORY, None, None], dtype)
    pairs = [pair, pair, tf.TensorSpec([MEMORY, None], dtype)]
    signature = [points, *pairs] if function is _direction else [*pairs, points, points]
    return tf.function(function, input_signature=signature, autograph=False)


def _note(ends: list[tf.Tensor], which: np.ndarray, x: tf.Tensor) -> None:
    for number, end in zip(which, tf.unstack(x), strict=True):
        ends[number] = end


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b, axis=1)


def _largest(gradient: tf.Tensor) -> np.ndarray:
    return tf.reduce_max(tf.abs(gradient), axis=1).numpy()
