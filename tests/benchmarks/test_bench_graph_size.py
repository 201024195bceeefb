import tensorflow as tf

from benchmarks import graph_size
from tests.small_network import small_network as small_network
from tf_simclrv2 import ModelConfig

TINY = ModelConfig(resnet_depth=18, image_size=8)


def test_operations_of_called_functions_count():
    @tf.function
    def inner(x: tf.Tensor) -> tf.Tensor:
        return x * x

    graph = tf.function(lambda x: inner(x) + x).get_concrete_function(tf.TensorSpec([2])).graph
    found = graph_size.operations(graph)
    assert (found["Mul"], found["AddV2"]) == (1, 1)


def test_one_replica_sums_nothing_over_replicas():
    found = graph_size.measure(TINY, parts=1, replicas=1, on_cpu=True)
    assert found["sums"] == 0 and found["operations"] > 1000 and found["tracing_s"] > 0
