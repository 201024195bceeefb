"""Finds weights in any of their forms, and loads them into a network by variable path.

A training checkpoint is a `tf.train.Checkpoint` of nested dicts: the kernel `resnet/stem/conv_1/kernel`
is saved under `model/resnet/stem/conv_1/kernel`. An exported SavedModel holds the same tree.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import keras
from absl import logging

from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.progress import Say, track
from tf_simclrv2.weights.checkpoint_reader import KEY_SUFFIX, CheckpointReader, find_prefix
from tf_simclrv2.weights.classes import class_names_of
from tf_simclrv2.weights.classifier_origin import ClassifierOrigin
from tf_simclrv2.weights.differences import ARCHITECTURE, ENCODER, differing_fields
from tf_simclrv2.weights.keras_resnet import OTHER_FUNCTION, KerasResNet
from tf_simclrv2.weights.keras_weights_file import is_keras_weights_file
from tf_simclrv2.weights.published_weights import PublishedWeights, describe_architecture, recognize
from tf_simclrv2.weights.run_config import directory_of, read_config, read_model

_CLASSIFIER = "supervised_head/"
_HEAD = "projection_head/"
_ENCODER = "resnet/"


@dataclasses.dataclass(frozen=True)
class SavedWeights:
    """Weights on disk: ours, published ones, or those of a Keras application.

    Attributes:
        path: The path that the user gave.
        reader: The checkpoint.
        keys: The checkpoint key of every model variable by path.
        model: The network that they belong to; None if it is not known.
        published: What was recognized in Google's published weights; None for others.
    """

    path: str
    reader: CheckpointReader | KerasResNet
    keys: dict[str, str]
    model: ModelConfig | None
    published: PublishedWeights | None = None

    @property
    def doubt(self) -> str:
        """A sentence on what a published checkpoint leaves open about `model`; or empty."""
        return self.published.doubt if self.published else ""

    @property
    def is_keras(self) -> bool:
        """Whether they are of a Keras application: a start, but not a network of this package."""
        return isinstance(self.reader, KerasResNet)

    @property
    def architecture(self) -> tuple[str, ...]:
        """The fields of `model` that the weights decide: a Keras application has an encoder only."""
        return ENCODER if self.is_keras else ARCHITECTURE

    @property
    def classifier_origin(self) -> ClassifierOrigin:
        """The origin of the classifier, which decides whether another run may use it."""
        if self.published:
            layers, stage = self.published.classifier_layers, self.published.stage
            return ClassifierOrigin(self.path, None, layers, published_stage=stage)
        if self.is_keras:  # The files next to it did not make it.
            return ClassifierOrigin(self.path, None, ())
        directory = directory_of(self.path)
        layers = (self.model.classifier_layer,) if self.model else ()
        names = class_names_of(self.path) or ()
        return ClassifierOrigin(self.path, read_config(directory), layers, names)

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every model variable by path."""
        return {path: self.reader.shapes[key] for path, key in self.keys.items()}


def find_weights(path: str, setting: str = "checkpoint", ft_proj_selector: int | None = None) -> SavedWeights:
    """Finds the weights in a model_dir (its newest checkpoint), a `ckpt-N` prefix or a SavedModel.

    Google's published weights are recognized in any of the forms that `load_published_weights` takes, and
    the ResNets of `keras.applications` in any file of Keras; see `KerasResNet`. Only the names and shapes of
    the variables are read.

    Args:
        path: One of these.
        setting: The name of the setting that holds the path, for error messages.
        ft_proj_selector: The classifier's head layer in published weights; see `load_published_weights`.

    Raises:
        CheckpointError: There are no weights, or they are damaged.
    """
    if is_keras_weights_file(path):
        keras_resnet = KerasResNet(path)
        return SavedWeights(path, keras_resnet, {key: key for key in keras_resnet.shapes}, keras_resnet.model)
    reader = CheckpointReader(find_prefix(path, setting))
    published = recognize(reader, ft_proj_selector)
    if published is not None:
        return SavedWeights(path, reader, published.keys, published.model, published)
    return SavedWeights(path, reader, reader.keys_by_path("model"), read_model(directory_of(path)))


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What was loaded, and what was not.

    Attributes:
        checkpoint: The prefix of the checkpoint, or the directory of the SavedModel.
        loaded: Paths of the variables that were loaded.
        left: Paths of the variables left as initialized, with the reason.
        unused: Paths in the checkpoint that the network does not have.
        doubt: What sets the network apart from the one that had these weights, in a sentence; or empty.
    """

    checkpoint: str
    loaded: tuple[str, ...]
    left: dict[str, str]
    unused: tuple[str, ...]
    doubt: str = ""

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} variables loaded from {self.checkpoint}"]
        lines += [f"  {self.doubt}"] if self.doubt else []
        lines += [f"  left as initialized: {path} ({reason})" for path, reason in self._left().items()]
        if self.unused:
            scopes = sorted({"/".join(path.split("/")[:2]) for path in self.unused})
            lines.append(f"  not used by this network: {', '.join(scopes)}")
        return "\n".join(lines)

    def _left(self) -> dict[str, str]:
        """The reasons, with the variables of a head in one line: all of them are left, or none."""
        return {
            _HEAD.rstrip("/") if path.startswith(_HEAD) else path: reason
            for path, reason in self.left.items()
        }


def load_weights(
    network: SimCLR,
    path: str,
    run: ExperimentConfig | None = None,
    class_names: Sequence[str] = (),
) -> LoadReport:
    """Loads the weights that a run starts from into its network, by path.

    The encoder and the projection layers in use must be in the checkpoint and have the same shapes; a Keras
    application has no projection head, which is then left as initialized. The
    classifier is loaded only if it was fine-tuned, trained with supervision or distilled, has the same input
    layer and the same classes, and has seen no label that the run may not use. The online classifier of
    pretraining has seen all labels, so it is never loaded. Nor is a classifier that is to start from zeros,
    that `variable_schema` excludes, that is missing, or that has another shape.

    Args:
        network: A built network; unchanged if this raises.
        path: See `find_weights`.
        run: The run that the network is for; None leaves the classifier as initialized.
        class_names: Class names of that run's data, by label.

    Returns:
        What was loaded, what was left as initialized and why, and what was not used.

    Raises:
        CheckpointError: There is no checkpoint, or its architecture is another.

    Example:
        >>> print(load_weights(network, "runs/digits", config, source.class_names))
        120 variables loaded from runs/digits/ckpt-2425
          left as initialized: supervised_head/kernel (is the online classifier of pretraining, …)
    """
    weights = find_weights(path)
    if run is not None and run.run.variable_schema is not None:
        return _load(network, weights, "--variable_schema excludes it")
    return _load(network, weights, weights.classifier_origin.why_not_for(run, class_names))


def load_network(weights: SavedWeights, precision: str = "float32", say: Say | None = None) -> SimCLR:
    """Builds the network that weights belong to, and loads all of its variables.

    Args:
        weights: What `find_weights` found.
        precision: Keras dtype policy: `float32` (the default), `mixed_bfloat16`, `mixed_float16` or
            `float64`.
        say: Receives progress lines; None reports nothing.

    Returns:
        The built network.

    Raises:
        CheckpointError: The architecture is not known, or variables are missing or have another shape.
    """
    if weights.model is None:
        raise CheckpointError(
            f"checkpoint {weights.reader.name} has no config.json next to it and is not a published one, "
            "so its architecture is not known; pass the model_dir of a run."
        )
    if weights.is_keras:
        raise CheckpointError(
            f"{weights.path} is of a Keras application, from which a run can only start: {OTHER_FUNCTION}; "
            "pass it to --checkpoint of a pretraining or a fine-tuning."
        )
    model = dataclasses.replace(weights.model, zero_init_logits_layer=False)
    network = SimCLR(model, name="simclr", dtype=precision)
    network.build((None, model.image_size, model.image_size, 3))
    left = _load(network, weights, say=say).left
    if left:
        name, reason = next(iter(left.items()))
        if weights.published:
            raise _distorted(weights, name, tuple(named_variables(network)[name].shape))
        raise CheckpointError(
            f"checkpoint {weights.reader.name} does not hold the whole network: {name}, {reason}; "
            "set num_classes in its config.json to the number that it was trained with."
        )
    return network


def load_published_weights(
    path: str, precision: str = "float32", ft_proj_selector: int | None = None
) -> SimCLR:
    """Builds the network of a published checkpoint and loads its weights.

    Tensors are read one at a time, so memory holds the weights only once.

    Args:
        path: A SavedModel of the TF2 program, a directory of its checkpoints or of the TF1 program's, or
            the prefix of one, such as `model.ckpt-250228`.
        precision: Keras dtype policy: `float32` (the default), `mixed_bfloat16`, `mixed_float16` or
            `float64`.
        ft_proj_selector: The head layer that feeds the classifier of a fine-tuned checkpoint, counted from
            0 = h. The middle layers are as wide as h, so a classifier fits all of them. None takes the layer
            that the optimizer's variables show, or else the first that fits, with a warning in the log if
            several do.

    Returns:
        The built network; its `config` has the architecture.

    Raises:
        CheckpointError: There is no published checkpoint, or a variable is missing, unexpected or of
            another shape.
        ConfigError: `ft_proj_selector` is a layer that does not fit the classifier.

    Example:
        >>> network = load_published_weights("r50_1x_sk0/saved_model")
        >>> network(images, training=False)["final_avg_pool"].shape
        TensorShape([8, 2048])
    """
    weights = find_weights(path, ft_proj_selector=ft_proj_selector)
    if weights.published is None:
        raise CheckpointError(
            f"checkpoint {weights.reader.name} is in none of the published forms (a TF2 SavedModel or "
            "checkpoint, a TF1 checkpoint); for a run of this package pass its model_dir to --checkpoint."
        )
    if weights.doubt:
        logging.warning("%s: %s", path, weights.doubt)
    return load_network(weights, precision)


def _load(network: SimCLR, weights: SavedWeights, why_left: str = "", say: Say | None = None) -> LoadReport:
    shapes, variables = weights.shapes, named_variables(network)
    left = _why_classifier_left(network, shapes, why_left)
    if weights.is_keras:
        head = [name for name in variables if name.startswith(_HEAD)]
        left |= dict.fromkeys(head, "not in a Keras application")
    wanted = {name: variable for name, variable in variables.items() if name not in left}
    _refuse_mismatch(weights, shapes, wanted, network.config)
    for name in wanted:  # A damaged file is noticed before anything is changed.
        weights.reader.tensor(weights.keys[name])
    for name, variable in track(wanted.items(), "weights, variable", say):
        variable.assign(weights.reader.tensor(weights.keys[name]))
    unused = tuple(sorted(set(shapes) - set(variables)))
    doubt = OTHER_FUNCTION if weights.is_keras else ""
    return LoadReport(weights.reader.name, tuple(wanted), left, unused, doubt)


def _why_classifier_left(
    network: SimCLR, shapes: Mapping[str, tuple[int, ...]], why_left: str
) -> dict[str, str]:
    """Returns why each variable of the classifier is left as initialized; all of them are, or none."""
    reasons = {
        name: _why_unfit(network, shapes.get(name), tuple(variable.shape))
        for name, variable in named_variables(network).items()
        if name.startswith(_CLASSIFIER)
    }
    common = next(filter(None, reasons.values()), why_left)
    return {name: reason or common for name, reason in reasons.items()} if common else {}


def _why_unfit(network: SimCLR, saved: tuple[int, ...] | None, shape: tuple[int, ...]) -> str:
    if network.config.zero_init_logits_layer:
        return "zero_init_logits_layer"
    if saved is None:
        return "not in the checkpoint"
    return "" if saved == shape else f"shape {saved} in the checkpoint, {shape} here"


def _refuse_mismatch(
    weights: SavedWeights,
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, keras.Variable],
    config: ModelConfig,
) -> None:
    missing = [name for name in wanted if name not in shapes]
    misshapen = [name for name in wanted if name in shapes and shapes[name] != tuple(wanted[name].shape)]
    # A deeper encoder has all variables of a shallower one.
    more = sorted(name for name in shapes if name.startswith(_ENCODER) and name not in wanted)
    fields = differing_fields(weights.model, config, weights.architecture) if weights.model else []
    if misshapen:
        name = misshapen[0]
        if weights.published and not fields:
            raise _distorted(weights, name, tuple(wanted[name].shape))
        problem = f"{name} has shape {shapes[name]} there and {tuple(wanted[name].shape)} here"
    elif missing:
        problem = f"it lacks {len(missing)} variable(s), the first {missing[0]}"
    elif more:
        problem = f"its encoder has {len(more)} further variable(s), the first {more[0]}"
    else:
        return
    cure = f"set {'; '.join(fields)}" if fields else "build the architecture that it was trained with"
    if not fields and config.truncate_proj_head and missing and all(n.startswith(_HEAD) for n in missing):
        cure = f"its head ends before layer {config.classifier_layer}; lower --ft_proj_selector"
    raise CheckpointError(f"checkpoint {weights.reader.name} is of another architecture: {problem}; {cure}.")


def _distorted(weights: SavedWeights, name: str, shape: tuple[int, ...]) -> CheckpointError:
    """A published checkpoint does not even fit the architecture that it was taken for."""
    return CheckpointError(
        f"checkpoint {weights.reader.name} looks like {describe_architecture(weights.model)}, but "
        f"{weights.keys[name].removesuffix(KEY_SUFFIX)} ({name} here) has shape {weights.shapes[name]}, not "
        f"{shape}; fetch it again, or build its network by hand."
    )
