"""What the package expects of private names. A failure says what a new release asks for.

A name counts as private if it lies in `tensorflow.python`, `tensorflow.compiler` or `keras.src`, or is an
attribute that begins with an underscore and is not defined in the file that asks for it (or, of `self`, in a
class of a module of ours that it imports); so does a method with an underscore that replaces one of
TensorFlow's or Keras's. Messages of `tensorflow.core` are file formats and do not count.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import pkgutil
import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_simclrv2
from tests.source_code import ROOT, files_of, imported_names, module_name
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.private_api import (
    contents_of,
    core_number,
    devices_with_kernel,
    exact_dot,
    function_named,
    functions_of,
    layers_within,
    parts_of,
    register_python_function,
    run_for_all_replicas,
    sum_over_cores,
)
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager

ADVICE = {
    "layers": (
        "`keras.Layer._flatten_layers` has changed. Walk the layers another way in `layers_within` and "
        "`parts_of`, in tf_simclrv2/private_api.py: every layer that is an attribute, or in a list that is "
        "one."
    ),
    "replicas": (
        "`tf.__internal__.distribute.interim.maybe_merge_call` has changed. See how Keras applies an update "
        "(`_backend_update_step` in keras/src/backend/tensorflow/optimizer.py), and do the same in "
        "`run_for_all_replicas`, in tf_simclrv2/private_api.py."
    ),
    "dot": (
        "XLA's product with a precision has moved. Look for `def dot_general` in TensorFlow, for "
        "`exact_dot` in tf_simclrv2/private_api.py; without it, only the switch for TensorFloat-32 is left."
    ),
    "cores": (
        "XLA's operations `XlaReplicaId` and `XlaAllReduce` have moved or changed. Only `simclrv2 rehearse` "
        "needs them: `core_number` and `sum_over_cores` in tf_simclrv2/private_api.py."
    ),
    "kernels": (
        "TensorFlow's list of kernels has moved. Only `simclrv2 rehearse` needs it: let "
        "`devices_with_kernel`, in tf_simclrv2/private_api.py, ask for it where it is now."
    ),
    "functions": (
        "`tf.Graph._functions` or `_get_function` has changed. `functions_of` and `function_named`, in "
        "tf_simclrv2/private_api.py, must find the bodies of a graph's functions another way; the doctor's "
        "estimate of memory and `simclrv2 rehearse` need them."
    ),
    "contents": (
        "`get_resource_handle_data` has moved. Only the doctor's estimate of GPU memory needs it: let "
        "`contents_of`, in tf_simclrv2/private_api.py, ask for the shapes of captured variables another way."
    ),
    "python": (
        "`script_ops._py_funcs._funcs`, the functions that `PyFuncStateless` calls, has changed. See how "
        "`_internal_py_func` in tensorflow/python/ops/script_ops.py registers one, and do the same with a "
        "fixed name in `register_python_function`, in tf_simclrv2/private_api.py."
    ),
    "manager": (
        "`tf.train.CheckpointManager` has changed inside. Compare its `save` and `_sweep` with "
        "tf_simclrv2/training/model_dir/checkpoint_manager.py."
    ),
    "strategy": (
        "`StrategyExtended` asks its subclasses for other methods. Compare "
        "tensorflow/python/distribute/distribute_lib.py with tf_simclrv2/distribution/compile_only.py."
    ),
    "list": (
        "A private name of Keras or TensorFlow is used, or used no more. Is there a public one? If not, wrap "
        "it in tf_simclrv2/private_api.py with a test here; if it must stay where it is, list it here and in "
        "docs/architecture.md."
    ),
}

PRIVATE_MODULES = re.compile(r"(tensorflow\.(python|compiler)|keras\.src)\b")
HOME = "tf_simclrv2.private_api"
# What is private and not behind `HOME`, because a subclass needs it, by module: attributes that it reads ...
READ = {
    "tf_simclrv2.distribution.compile_only": {"_container_strategy"},
    "tf_simclrv2.training.model_dir.checkpoint_manager": {"_max_to_keep", "_maybe_delete", "_prefix"},
}
# ... and methods that it replaces. TFDS documents those of `Digits`.
REPLACED = {
    "tf_simclrv2.data.digits": {"_generate_examples", "_info", "_split_generators"},
    "tf_simclrv2.distribution.compile_only": {
        *("_call_for_each_replica", "_create_variable", "_in_multi_worker_mode", "_local_results"),
        *("_num_replicas_in_sync", "_reduce_to", "_replica_ctx_all_reduce", "_update", "_use_merge_call"),
    },
    "tf_simclrv2.training.model_dir.checkpoint_manager": {"_sweep"},
}
# Private names of Python itself that stay: the options of a parser, and an end without clean-up.
OF_PYTHON = {"_actions", "_exit"}


class _Nested(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__(name="nested")
        self.single = keras.layers.Dense(2, name="single")
        self.several = [keras.layers.Dense(2, name="first"), keras.layers.Dense(2, name="second")]
        self.again = self.single


def test_layers_are_found_at_any_depth_and_once() -> None:
    outer = keras.layers.Layer(name="outer")
    outer.inner = _Nested()
    try:
        names = sorted(layer.name for layer in layers_within(outer))
        parts = parts_of(outer.inner)
    except (AttributeError, TypeError) as error:
        pytest.fail(f"{ADVICE['layers']} ({error})")
    assert names == ["first", "nested", "outer", "second", "single"], ADVICE["layers"]
    assert layers_within(outer.inner.single) == [outer.inner.single], ADVICE["layers"]
    assert sorted(layer.name for layer in parts) == ["first", "second", "single"], ADVICE["layers"]
    assert parts_of(outer) == [outer.inner] and parts_of(outer.inner.single) == [], ADVICE["layers"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_variable_is_updated_once_for_all_replicas(replicas: Callable, count: int) -> None:
    spread = replicas(count)
    with spread.scope():
        variable = tf.Variable(1.0)
    calls = []

    def update(strategy: tf.distribute.Strategy) -> None:
        calls.append(strategy)
        strategy.extended.update(variable, lambda v: v.assign_add(1.0), group=False)

    def step(x: tf.Tensor) -> tf.Tensor:
        run_for_all_replicas(update)
        return x

    try:
        spread.run(step, np.zeros(4, np.float32))
    except AttributeError as error:
        pytest.fail(f"{ADVICE['replicas']} ({error})")
    assert calls == [spread.strategy], ADVICE["replicas"]
    values = spread.strategy.experimental_local_results(variable)
    assert [float(value) for value in values] == [2.0] * count, ADVICE["replicas"]


def test_a_product_has_full_precision() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3))
    try:
        product = tf.function(exact_dot, jit_compile=True)(a, b, True, False)
    except (AttributeError, TypeError) as error:
        pytest.fail(f"{ADVICE['dot']} ({error})")
    np.testing.assert_allclose(product, a.T @ b, rtol=1e-12, err_msg=ADVICE["dot"])


def test_a_program_knows_its_core_and_sums_over_all() -> None:
    program = tf.function(lambda x: (core_number(), sum_over_cores(x, 2)), jit_compile=True)
    try:
        text = program.experimental_get_compiler_ir(tf.TensorSpec([3]))(stage="stablehlo")
    except (AttributeError, TypeError) as error:
        pytest.fail(f"{ADVICE['cores']} ({error})")
    assert "stablehlo.replica_id" in text and "stablehlo.all_reduce" in text, ADVICE["cores"]


def test_kernels_are_listed_by_device() -> None:
    try:
        found = devices_with_kernel("MatMul"), devices_with_kernel("PyFunc")
    except AttributeError as error:
        pytest.fail(f"{ADVICE['kernels']} ({error})")
    assert {"CPU", "XLA_CPU_JIT"} <= found[0] and "XLA_CPU_JIT" not in found[1], ADVICE["kernels"]


def test_functions_of_a_graph_are_found_from_within_too() -> None:
    @tf.function(autograph=False)
    def inner(x: tf.Tensor) -> tf.Tensor:
        return x * 2.0

    graph = tf.function(lambda x: inner(x) + 1.0).get_concrete_function(tf.TensorSpec([])).graph
    (call,) = [op for op in graph.get_operations() if "Call" in op.type]
    name = call.get_attr("f").name
    try:
        found = [*functions_of(graph), function_named(graph, name)]
        absent = function_named(graph, "no such function")
    except AttributeError as error:
        pytest.fail(f"{ADVICE['functions']} ({error})")
    assert len(found) == 2 and absent is None, ADVICE["functions"]
    for function in found:
        assert "Mul" in {op.type for op in function.graph.get_operations()}, ADVICE["functions"]


def twice_of(x: np.ndarray) -> np.ndarray:
    return np.asarray(2 * x)


def test_what_a_captured_variable_holds_is_known() -> None:
    variable = tf.Variable(tf.zeros([3, 5], tf.bfloat16))
    graph = tf.function(lambda: variable + 1).get_concrete_function().graph
    [handle] = [handle for _, handle in graph.captures]
    assert contents_of(handle) == [((3, 5), tf.bfloat16)], ADVICE["contents"]


def test_a_python_function_is_called_by_its_name() -> None:
    try:
        register_python_function("tests/twice", twice_of)
        call = tf.function(
            lambda x: tf.raw_ops.PyFuncStateless(input=[x], token="tests/twice", Tout=[tf.int32])
        )
        (twice,) = call(21)
    except (AttributeError, tf.errors.OpError) as error:
        pytest.fail(f"{ADVICE['python']} ({error})")
    assert int(twice) == 42, ADVICE["python"]


def test_the_manager_has_what_ours_reads(tmp_path: pathlib.Path) -> None:
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(), str(tmp_path), max_to_keep=1)
    for name in READ[SafeCheckpointManager.__module__]:
        assert hasattr(manager, name), f"{ADVICE['manager']} ({name})"
    assert manager._prefix == str(tmp_path / "ckpt"), ADVICE["manager"]
    first, second = manager.save(), manager.save()
    assert list(manager._maybe_delete) == [second] and first != second, ADVICE["manager"]


def test_the_strategy_has_what_ours_reads() -> None:
    strategy = CompileOnlyStrategy(1)
    for name in READ["tf_simclrv2.distribution.compile_only"]:
        assert getattr(strategy.extended, name)() is strategy, f"{ADVICE['strategy']} ({name})"


def defined_in(tree: ast.AST) -> set[str]:
    """Every name that a file, or a class, defines: functions, classes, variables, attributes."""
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    own = {node.name for node in ast.walk(tree) if isinstance(node, definitions)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return own


def is_private(name: str) -> bool:
    return name == "__internal__" or (name.startswith("_") and not name.endswith("__"))


def private_names(source: str) -> Iterator[str]:
    """The private names of others that a file imports or reads."""
    imported = list(imported_names(source))
    yield from (name for name in imported if PRIVATE_MODULES.match(name))
    own = defined_in(ast.parse(source)) | OF_PYTHON
    trees = [ast.parse(path.read_text()) for path in ours(imported)]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    inherited = set().union(*map(defined_in, classes))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            if node.attr not in (own | inherited if of_self else own):
                yield node.attr


def ours(imported: list[str]) -> set[pathlib.Path]:
    """The files of this package among imported modules and names."""
    parts = [name.split(".") for name in imported if name.startswith("tf_simclrv2.")]
    paths = {ROOT.joinpath(*names[:length]).with_suffix(".py") for names in parts for length in (-1, None)}
    return {path for path in paths if path.is_file()}


def test_what_counts_as_private() -> None:
    source = (
        "import keras.src.layers\nfrom tensorflow.python.ops import script_ops\n"
        "import tensorflow.core.protobuf\nfrom tf_simclrv2.tasks.task import Task\n"
        "class A:\n    _b = 1\n    def f(self, x):\n        self._c = x._d, self._b, self._c, x.__class__\n"
        "        return self._e, self._loss_dtype, x._loss_dtype, tf.__internal__\n"
    )
    found = [
        "keras.src.layers",
        "tensorflow.python.ops.script_ops",
        "_d",
        "_e",
        "_loss_dtype",
        "__internal__",
    ]
    assert sorted(private_names(source)) == sorted(found)


def test_private_names_are_in_one_module_or_listed() -> None:
    found: dict[str, set[str]] = {}
    for path in (
        path for folder in ("tf_simclrv2", "flags", "export", "benchmarks") for path in files_of(folder)
    ):
        found.setdefault(module_name(path), set()).update(private_names(path.read_text()))
    wrapped = found.pop(HOME)
    assert {name for name in wrapped if name.startswith("_")} == {
        *("__internal__", "_flatten_layers", "_funcs", "_functions", "_get_function", "_py_funcs")
    }, ADVICE["list"]
    assert {module: names for module, names in found.items() if names} == READ, ADVICE["list"]


def replaced_in(module: str) -> set[str]:
    """Private methods of other packages' classes that classes of a module replace."""
    classes = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return {
        name
        for _, kind in classes
        if kind.__module__ == module
        for base in kind.__mro__[1:]
        if base.__module__.split(".")[0] in ("tensorflow", "keras", "tensorflow_datasets", "orbit")
        for name in vars(kind).keys() & vars(base).keys()
        if name.startswith("_") and not name.endswith("__") and not name.startswith("_abc_")
    }


def test_replaced_methods_are_listed_and_still_there() -> None:
    names = [module.name for module in pkgutil.walk_packages(tf_simclrv2.__path__, "tf_simclrv2.")]
    library = [name for name in names if not name.endswith("__main__") and ".checks." not in name]
    found = {name: replaced for name in library if (replaced := replaced_in(name))}
    assert found == REPLACED, f"{ADVICE['list']} {ADVICE['strategy']} {ADVICE['manager']}"
