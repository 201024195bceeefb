"""What a module says against a request, as an answer to the client."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.serving.refusal import BAD_REQUEST, TOO_LARGE, Refusal

# What follows from the inputs; other errors are the server's.
_STATUS: dict[type[Exception], int] = {
    tf.errors.DataLossError: BAD_REQUEST,
    tf.errors.InvalidArgumentError: BAD_REQUEST,
    tf.errors.OutOfRangeError: BAD_REQUEST,
    tf.errors.ResourceExhaustedError: TOO_LARGE,
    tf.errors.UnimplementedError: BAD_REQUEST,
}
_ASSERTION = "assertion failed: ["
_NODE = "\n\t [["


def as_refusal(error: Exception, examples: str = "") -> Exception:
    """Returns the refusal that an error of a signature amounts to; another error is returned as it is.

    Args:
        error: What the call raised.
        examples: Which of the request's examples were computed, if not all.
    """
    if type(error) not in _STATUS or not isinstance(error, tf.errors.OpError):
        return error
    reason = _reason(error.message)
    return Refusal(f"{examples}: {reason}" if examples else reason, _STATUS[type(error)])


def _reason(message: str) -> str:
    """The sentence in an error of a graph, without TensorFlow's words about the node that raised it."""
    reason = message.partition(_NODE)[0].strip().rpartition("\n")[2]
    if reason.startswith(_ASSERTION):
        # What tf.debugging.Assert was given stands in brackets, one after the other.
        reason = reason.removeprefix(_ASSERTION).removesuffix("]").replace("] [;", ";").replace("] [", " ")
    return reason if reason.endswith(".") else f"{reason}."
