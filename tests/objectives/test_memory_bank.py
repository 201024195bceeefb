"""The loss against a memory, and the memory, in NumPy."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.objectives import nt_xent
from tf_simclrv2.objectives.memory_bank import KeyQueue, nt_xent_with_memory_bank

N, D, K = 4, 6, 10


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(z, keys, queue, temperature, hidden_norm):
    """The definition, row by row; `queue` holds the filled slots only."""
    if hidden_norm:
        z, keys = unit(z), unit(keys)
    total = 0.0
    for i in range(2 * N):
        own, positive = i, (i + N) % (2 * N)
        others = [j for j in range(2 * N) if j not in (own, positive)]
        logits = np.array([z[i] @ keys[j] for j in (positive, *others)] + [z[i] @ row for row in queue])
        logits = logits / temperature
        total += np.log(np.sum(np.exp(logits - logits.max()))) + logits.max() - logits[0]
    return total / N


def example(filled):
    rng = np.random.default_rng(filled)
    z, keys = rng.standard_normal((2 * N, D)), rng.standard_normal((2 * N, D))
    queue = np.zeros((K, D))
    queue[:filled] = unit(rng.standard_normal((filled, D))) if filled else 0
    return z, keys, queue


@pytest.mark.parametrize("filled", [0, 3, K])
@pytest.mark.parametrize("hidden_norm", [True, False])
def test_value_and_gradient(filled, hidden_norm):
    z, keys, queue = example(filled)
    if not hidden_norm:
        z, keys = z / 4, keys / 4
    x, k = tf.constant(z), tf.constant(keys)
    with tf.GradientTape() as tape:
        tape.watch([x, k])
        loss, logits, labels = nt_xent_with_memory_bank(x, k, tf.constant(queue), filled, 0.3, hidden_norm)
    gradient, to_keys = tape.gradient(loss, [x, k])
    assert float(loss) == pytest.approx(reference(z, keys, queue[:filled], 0.3, hidden_norm), rel=1e-12)
    assert to_keys is None
    assert logits.shape == (N, N) and labels.shape == (N, 2 * N)
    slope = np.zeros_like(z)
    for index in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[index] = 1e-6
        up, down = (reference(z + s, keys, queue[:filled], 0.3, hidden_norm) for s in (step, -step))
        slope[index] = (up - down) / 2e-6
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-8)


def test_what_is_in_empty_slots_does_not_matter():
    z, keys, queue = example(3)
    full = queue.copy()
    full[3:] = 7.0
    losses = [nt_xent_with_memory_bank(z, keys, tf.constant(q), 3)[0] for q in (queue, full)]
    assert float(losses[0]) == float(losses[1])


@pytest.mark.parametrize("hidden_norm", [True, False])
def test_with_its_own_keys_and_no_past_it_is_the_plain_loss(hidden_norm):
    z, _, queue = example(0)
    z = tf.constant(z)
    with_memory = nt_xent_with_memory_bank(z, z, tf.constant(queue), 0, 0.5, hidden_norm)
    plain = nt_xent(z, 0.5, hidden_norm)
    for ours, theirs in zip(with_memory, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [2, 4])
def test_replicas_agree_in_float32(replicas, count):
    """In float64 the conformance tests see to it."""
    z, keys, queue = (array.astype("float32") for array in example(3))

    def step(share):
        def run(z, keys):
            with tf.GradientTape() as tape:
                tape.watch(z)
                loss, *_ = nt_xent_with_memory_bank(z, keys, tf.constant(queue), 3)
                scaled = loss / share
            return loss, tape.gradient(scaled, z)

        return run

    ((loss, gradient),) = replicas(1).run(step(1), z, keys)
    here = replicas(count)
    results = here.run(step(count), z, keys, views=2)
    assert np.mean([r[0] for r in results]) == pytest.approx(loss, rel=1e-5)
    together = here.join([r[1] for r in results], views=2)
    np.testing.assert_allclose(together, gradient, rtol=0, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_queue_is_a_ring_on_any_number_of_replicas(replicas, count):
    replicas = replicas(count)
    with replicas.scope():
        queue = KeyQueue(K, D, dtype="float64")
    past: collections.deque = collections.deque(maxlen=K)
    rng = np.random.default_rng(0)
    for step in range(5):
        keys = rng.standard_normal((8, D))

        def enqueue(rows):
            queue.enqueue(rows)
            return tf.convert_to_tensor(queue.keys)

        copies = replicas.run(enqueue, keys, views=2)
        past.extend(unit(keys))
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])
        assert int(queue.count.numpy()) == len(past)
        assert int(queue.pointer.numpy()) == 8 * (step + 1) % K
        oldest_first = np.roll(queue.keys.numpy(), -int(queue.pointer.numpy()), axis=0)[-len(past) :]
        np.testing.assert_allclose(oldest_first, np.array(past), rtol=1e-12)


def test_unnormalized_keys_are_kept_as_they_are():
    queue = KeyQueue(K, D, hidden_norm=False, dtype="float64")
    keys = np.random.default_rng(1).standard_normal((4, D))
    queue.enqueue(tf.constant(keys))
    np.testing.assert_array_equal(queue.keys.numpy()[:4], keys)


def test_half_precision():
    z, keys, queue = example(3)
    loss, *_ = nt_xent_with_memory_bank(
        tf.cast(z, tf.bfloat16), tf.cast(keys, tf.bfloat16), tf.constant(queue, tf.float32), 3
    )
    assert loss.dtype == tf.float32 and np.isfinite(float(loss))
