import pathlib

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import optimizer_share, profile_step
from benchmarks.measuring.kernel_times import OTHER, KernelCall, kernel_calls
from benchmarks.measuring.op_times import OpCall, op_calls, profile
from benchmarks.train_step import pretraining_config
from tf_simclrv2 import ModelConfig, ObjectiveConfig, TrainingConfig

TINY = ModelConfig(resnet_depth=18, image_size=8), TrainingConfig(train_batch_size=4)


def written(
    folder: pathlib.Path,
    threads: list[list[tuple[str, int, int]]],
    plane: str = "/host:CPU",
    line_names: tuple[str, ...] = (),
) -> None:
    """A profile of threads with events: name, start and end in picoseconds."""
    space = xplane_pb2.XSpace()
    found = space.planes.add(name=plane)
    names = sorted({name for events in threads for name, *_ in events})
    for number, name in enumerate(names):
        found.event_metadata[number].name = name
    for i, events in enumerate(threads):
        line = found.lines.add(name=line_names[i] if line_names else "")
        for name, start, end in events:
            line.events.add(metadata_id=names.index(name), offset_ps=start, duration_ps=end - start)
    (folder / "written.xplane.pb").write_bytes(space.SerializeToString())


def test_what_ran_inside_a_call_is_not_its_own(tmp_path):
    outer, inner, deep = ("f/call:PartitionedCall", "f/a:_MklMatMul", "f/b:Add")
    written(
        tmp_path,
        [
            # In the order of their ends, as a profiler notes them.
            [(deep, 30, 35), (inner, 20, 50), (inner, 50, 60), (outer, 0, 100), (deep, 100, 101)],
            # At the same time, on another thread; and what is no operation.
            [(deep, 10, 90), ("ExecutorState::Process", 0, 95), ("no operation", 0, 95)],
        ],
    )
    picoseconds = sorted((call.type, call.name, round(call.seconds * 1e12)) for call in op_calls(tmp_path))
    assert picoseconds == [
        ("Add", "f/b", 1),
        ("Add", "f/b", 5),
        ("Add", "f/b", 80),
        ("MatMul", "f/a", 10),
        ("MatMul", "f/a", 25),
        ("PartitionedCall", "f/call", 60),
    ]


def test_other_devices_are_not_counted(tmp_path):
    written(tmp_path, [[("a:Add", 0, 1)]], plane="/host:metadata")
    assert op_calls(tmp_path) == []


KERNELS = [
    [("loop_add_fusion_12", 0, 30), ("input_reduce_fusion", 30, 40), ("loop_add_fusion.3", 40, 50)],
    [("MemcpyH2D", 10, 20)],
    [("the whole module", 0, 100)],
]
LINES = ("Stream #7(Compute)", "Stream #9(MemcpyH2D)", "XLA Modules")


def test_kernels_are_those_of_the_streams_of_the_first_gpu(tmp_path):
    written(tmp_path, KERNELS, "/device:GPU:0", LINES)
    found = sorted((call.name, round(call.seconds * 1e12)) for call in kernel_calls(tmp_path))
    assert found == [
        ("MemcpyH2D", 10),
        ("input_reduce_fusion", 10),
        ("loop_add_fusion", 10),
        ("loop_add_fusion", 30),
    ]
    assert op_calls(tmp_path) == []
    for plane in ("/device:GPU:1", "/host:CPU"):
        written(tmp_path, KERNELS, plane, LINES)
        assert kernel_calls(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("MemcpyD2H", "copies"),
        ("void tensorflow::functor::SwapDimension1And2InTensor3UsingTiles<float>", "transpositions"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, 512>", "batch norm of cuDNN"),
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32", "convolutions and matrix products"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm>", "convolutions and matrix products"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NTT", "convolutions and matrix products"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "sums over GPUs"),
        ("input_reduce_fusion", "reductions fused by XLA"),
        ("loop_multiply_fusion", "fusions of XLA"),
        ("void tensorflow::functor::ColumnReduceKernel<float*>", "reductions"),
        ("void Eigen::internal::EigenMetaKernel<Eigen::TensorEvaluator>", OTHER),
    ],
)
def test_what_a_kernel_does_is_told_by_its_name(name, kind):
    assert KernelCall(name, 1.0).kind == kind


def test_the_table_of_a_gpu_is_one_of_kernels():
    calls = [KernelCall("loop_add_fusion", 0.3), KernelCall("MemcpyH2D", 0.1)] * 2
    kernels = profile_step.times_of_kernels(calls, steps=2)
    found = {"kinds": [], "parts": [], "step_s": [2.0], "profiled_step_s": [3.0], **kernels}
    lines = profile_step.table("r50", found).splitlines()
    assert "| fusions of XLA | 75.0% | 300.0 | 1 |" in lines and "| copies | 25.0% | 100.0 | 1 |" in lines
    assert "| r50: slowest | share | ms a step | calls a step |" in lines
    assert "| loop_add_fusion | 75.0% | 300.0 | 1 |" in lines
    assert profile_step.times_of_kernels([], steps=2) == {}


def test_a_real_profile_has_every_call(tmp_path):
    @tf.function
    def cubes(x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("cube"):
            return x @ x @ x

    x = tf.random.normal([64, 64])
    cubes(x)
    calls = profile(lambda: [cubes(x).numpy() for _ in range(3)], tmp_path)
    products = [call for call in calls if call.type == "MatMul"]
    assert len(products) == 2 * 3
    assert all("cube" in call.name.split("/") and 0 < call.seconds < 1 for call in products)


CALLS = [
    OpCall("a/conv", "Conv2D", 0.3),
    OpCall("a/conv", "FusedConv2D", 0.1),
    OpCall("b/conv", "Conv2DBackpropFilter", 0.2),
    OpCall("b/conv", "Conv2DBackpropInput", 0.1),
    OpCall("StatefulPartitionedCall/lars/mul", "Mul", 0.25),
    OpCall("larson/mul", "Mul", 0.05),
]


def test_convolutions_are_split_by_what_they_compute():
    rows = profile_step.times_by_kind(CALLS, steps=2)
    assert [(row["op"], row["calls"]) for row in rows] == [
        ("convolution, forward", 1.0),
        ("Mul", 1.0),
        ("convolution, filter gradient", 0.5),
        ("convolution, input gradient", 0.5),
    ]
    assert [row["ms"] for row in rows] == pytest.approx([200, 150, 100, 50])
    assert [row["share"] for row in rows] == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_the_optimizer_is_found_by_its_scope():
    (row,) = profile_step.times_by_part(CALLS, steps=1)
    assert (row["op"], row["calls"]) == ("optimizer", 1) and row["share"] == pytest.approx(0.25)


def test_the_table_adds_up():
    kinds = profile_step.times_by_kind([OpCall("x", f"Type{i}", 1.0) for i in range(20)], steps=1)
    found = {"kinds": kinds, "parts": [], "step_s": [2.0], "profiled_step_s": [3.0]}
    lines = profile_step.table("r18", found).splitlines()
    assert "| the other 5 | 25.0% | 5000.0 | 5 |" in lines
    assert "| all | 100.0% | 20000.0 | 20 |" in lines
    assert "A step took 2.000 s, with the profiler 3.000 s." in lines


def test_a_step_is_profiled_with_its_optimizer_and_moving_average():
    found = profile_step.measure(pretraining_config(*TINY, ObjectiveConfig(memory_size=16)), steps=2)
    assert len(found["step_s"]) == len(found["profiled_step_s"]) == 2
    assert sum(row["share"] for row in found["kinds"]) == pytest.approx(1.0)
    calls = {row["op"]: row["calls"] for row in found["kinds"]}
    assert calls["convolution, filter gradient"] > 0
    # One update for each of the network's variables: 21 convolutions (stem, 16 in blocks, 4 shortcuts), 3
    # dense kernels, 24 gammas with 23 betas, and the classifier's kernel and bias.
    followed = 21 + 3 + 24 + 23
    assert calls["ResourceApplyMomentum"] == followed + 2
    optimizer, average = found["parts"]
    assert (optimizer["op"], average["op"]) == ("optimizer", "moving average")
    # Each average reads two variables and writes one.
    assert optimizer["calls"] > calls["ResourceApplyMomentum"] and average["calls"] > 3 * followed


def test_the_share_of_the_optimizer():
    seconds = optimizer_share.measure(*TINY, rounds=2, keys=16)
    assert all(len(found) == 2 and min(found) > 0 for found in seconds.values())
    given = {"step": [1.0, 3.0, 2.0], "step with memory": [4.0], "LARS": [0.2], "moving average": [0.1]}
    assert seconds.keys() == given.keys()
    both = optimizer_share.shares(given)["both"]
    assert both == pytest.approx({"s": 0.3, "step": 0.15, "step with memory": 0.075})
