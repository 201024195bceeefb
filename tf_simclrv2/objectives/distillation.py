"""Distillation: the student learns the teacher's softened predictions."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.precision import full_precision


def distillation_loss(
    student_logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float = 1.0
) -> tf.Tensor:
    """Cross entropy of the student's predictions under the teacher's, both softened by τ.

    With P(y|x; τ) = softmax(logits / τ), the mean over x of -Σ_y P_teacher(y|x; τ) log P_student(y|x; τ).
    No gradient reaches the teacher.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes].
        temperature: τ; 0.1 in the paper for self-distillation, 1.0 from big to small.

    Returns:
        Scalar, float32 or wider.

    Example:
        >>> float(distillation_loss(tf.zeros([2, 10]), tf.zeros([2, 10])))
        2.302...

    Reference: SimCLRv2 equation 2.
    """
    student = full_precision(student_logits) / temperature
    targets = tf.nn.softmax(tf.stop_gradient(full_precision(teacher_logits)) / temperature)
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.cast(targets, student.dtype), student))
