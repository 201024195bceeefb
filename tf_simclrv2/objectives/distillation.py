"""The distillation loss: the student learns the teacher's softened predictions."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.precision import full_precision


def distillation_loss(
    student_logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float = 1.0
) -> tf.Tensor:
    """Computes the cross entropy of the student's predictions under the teacher's, both softened by τ.

    It is the mean over x of -Σ_y P_teacher(y|x; τ) log P_student(y|x; τ), where P(y|x; τ) is
    softmax(logits / τ). No gradient flows into the teacher.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes].
        temperature: τ, above 0; 1.0 by default. The paper uses 0.1 for self-distillation and 1.0 for a
            smaller student.

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
