"""Frozen dataclasses that describe a run; each checks itself when it is built.

A config is the only thing that the library is steered by: nothing below reads
flags or globals. `ExperimentConfig` round-trips through JSON and is what a run
leaves in `model_dir/config.json`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from typing import Any, Literal, TypeVar

from tf_simclrv2.errors import ConfigError

# Fields that are called otherwise on the command line.
FLAG_OF_FIELD = {"protocols": "eval_protocols"}
# Fields that no flag sets, since they follow from the data and the stage.
DERIVED_FIELDS = ("num_classes", "truncate_proj_head")
# What the published commands restore from a checkpoint: all but the classifier, or but both heads.
WITHOUT_CLASSIFIER = "(?!global_step|(?:.*/|^)Momentum|head_supervised)"
WITHOUT_HEADS = "(?!global_step|(?:.*/|^)Momentum|head)"
RESNET_DEPTHS = (18, 34, 50, 101, 152, 200)
TRAIN_MODES = ("pretrain", "finetune", "supervised", "distill")
EVALUATION_PROTOCOLS = ("online", "linear", "knn")
COMPILE_MODES = ("auto", "none", "xla", "cluster")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "float64")

_Config = TypeVar("_Config")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_one_of(name: str, value: Any, allowed: tuple) -> None:
    _require(value in allowed, f"{name} is {value!r}; choose one of {', '.join(map(str, allowed))}.")


def _require_at_least(name: str, value: float, least: float) -> None:
    _require(
        math.isfinite(value) and value >= least,
        f"{name} is {value!r}; it must be a finite number of at least {least}.",
    )


def _require_above(name: str, value: float, limit: float) -> None:
    _require(
        math.isfinite(value) and value > limit,
        f"{name} is {value!r}; it must be a finite number above {limit}.",
    )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network: encoder, projection head and linear classifier.

    Attributes:
        resnet_depth: 18, 34, 50, 101, 152 or 200.
        width_multiplier: Factor on every channel count of the encoder.
        sk_ratio: Above 0, selective kernels with this bottleneck ratio (the paper: 0.0625) and
            the ResNet-D stem and shortcuts.
        se_ratio: Above 0, squeeze-and-excitation with this bottleneck ratio.
        image_size: Side of the square input in pixels; 32 and below take the CIFAR stem.
        num_classes: Outputs of the linear classifier; 0 builds none.
        proj_head_mode: `none`, `linear` (one layer) or `nonlinear` (`num_proj_layers` layers).
        num_proj_layers: Layers of the nonlinear projection head (SimCLRv2: 3).
        proj_out_dim: Width of the head's output z.
        ft_proj_selector: Which head layer feeds the classifier: 0 is h, i the output of layer i,
            -1 the whole head.
        truncate_proj_head: Drop the head layers behind `ft_proj_selector`, as fine-tuning does.
        fine_tune_after_block: Freeze the encoder up to this block group; -1 freezes nothing, 0 the stem,
            4 the whole encoder and the projection-head layers in use: the classifier alone is trained.
        zero_init_logits_layer: Start the classifier from zeros.
        global_bn: Batch-norm statistics over all replicas rather than each one's own.
        batch_norm_decay: Momentum of the moving statistics.
    """

    resnet_depth: int = 50
    width_multiplier: int = 1
    sk_ratio: float = 0.0
    se_ratio: float = 0.0
    image_size: int = 224
    num_classes: int = 1000
    proj_head_mode: Literal["none", "linear", "nonlinear"] = "nonlinear"
    num_proj_layers: int = 3
    proj_out_dim: int = 128
    ft_proj_selector: int = 0
    truncate_proj_head: bool = False
    fine_tune_after_block: int = -1
    zero_init_logits_layer: bool = False
    global_bn: bool = True
    batch_norm_decay: float = 0.9

    def __post_init__(self) -> None:
        _require_one_of("resnet_depth", self.resnet_depth, RESNET_DEPTHS)
        _require_at_least("width_multiplier", self.width_multiplier, 1)
        _require(
            0.0 <= self.sk_ratio <= 1.0, f"sk_ratio is {self.sk_ratio}; it must be between 0 (off) and 1."
        )
        _require(
            0.0 <= self.se_ratio <= 1.0, f"se_ratio is {self.se_ratio}; it must be between 0 (off) and 1."
        )
        _require_at_least("image_size", self.image_size, 8)
        _require_at_least("num_classes", self.num_classes, 0)
        _require_one_of("proj_head_mode", self.proj_head_mode, ("none", "linear", "nonlinear"))
        _require_at_least("num_proj_layers", self.num_proj_layers, 1)
        _require_at_least("proj_out_dim", self.proj_out_dim, 1)
        _require(
            -1 <= self.ft_proj_selector <= self.num_head_layers,
            f"ft_proj_selector is {self.ft_proj_selector}, but the {self.proj_head_mode} projection head "
            f"has {self.num_head_layers} layer(s); choose 0 to {self.num_head_layers}, or -1 for the last.",
        )
        _require_one_of("fine_tune_after_block", self.fine_tune_after_block, (-1, 0, 1, 2, 3, 4))
        _require(
            0.0 <= self.batch_norm_decay < 1.0,
            f"batch_norm_decay is {self.batch_norm_decay}; it must be at least 0 and below 1.",
        )

    @property
    def num_head_layers(self) -> int:
        """Layers that the whole projection head has."""
        return {"none": 0, "linear": 1, "nonlinear": self.num_proj_layers}[self.proj_head_mode]

    @property
    def classifier_layer(self) -> int:
        """The head layer that feeds the classifier, counted from 0 = h."""
        return self.num_head_layers if self.ft_proj_selector == -1 else self.ft_proj_selector

    @property
    def num_used_head_layers(self) -> int:
        """Layers of the projection head that are built and run."""
        return self.classifier_layer if self.truncate_proj_head else self.num_head_layers

    def truncated(self, endpoint: str, classify: bool = True) -> ModelConfig:
        """The network that ends at an endpoint; nothing in it is frozen.

        Args:
            endpoint: `final_avg_pool`, `proj_head_i`, `proj_head_input`, `proj_head_output` or `logits_sup`.
            classify: Keep the classifier if that endpoint feeds it.

        Raises:
            ConfigError: There is no such endpoint, or it is no end to cut at.

        Example:
            >>> ModelConfig(ft_proj_selector=1).truncated("proj_head_1").num_used_head_layers
            1
        """
        layers = {"final_avg_pool": 0, "proj_head_input": 0, "proj_head_output": self.num_used_head_layers}
        layers |= {f"proj_head_{i}": i for i in range(self.num_used_head_layers + 1)}
        if self.num_classes:
            layers["logits_sup"] = self.classifier_layer
        _require_one_of("endpoint", endpoint, tuple(layers))
        layer = layers[endpoint]
        keep_classifier = classify and layer == self.classifier_layer
        return dataclasses.replace(
            self,
            ft_proj_selector=layer,
            truncate_proj_head=True,
            num_classes=self.num_classes if keep_classifier else 0,
            fine_tune_after_block=-1,
        )

    @property
    def freezes_encoder(self) -> bool:
        """Whether the whole encoder is frozen, and with it the projection head."""
        return self.fine_tune_after_block == 4

    @property
    def cifar_stem(self) -> bool:
        """Whether images are small enough for the stem without striding."""
        return self.image_size <= 32


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The contrastive loss.

    Attributes:
        temperature: The softmax temperature τ.
        hidden_norm: Compare L2-normalised projections (cosine similarity).
        memory_size: Keys of past batches that queries are contrasted with; 0 is off (the paper: 65536).
        memory_decay: Decay of the momentum encoder that makes the keys.
    """

    temperature: float = 0.1
    hidden_norm: bool = True
    memory_size: int = 0
    memory_decay: float = 0.999

    def __post_init__(self) -> None:
        _require_above("temperature", self.temperature, 0.0)
        _require_at_least("memory_size", self.memory_size, 0)
        _require(
            0.0 <= self.memory_decay <= 1.0,
            f"memory_decay is {self.memory_decay}; it must be between 0 and 1.",
        )


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """The transfer of a teacher's predictions to a student.

    Attributes:
        teacher: The teacher's model_dir, `ckpt-N` or SavedModel, or published weights.
        distill_temperature: Temperature τ of both softmaxes (the paper: 0.1 self, 1.0 big to small).
        distill_alpha: Weight α of the distillation term against the label term; 1 needs no labels.
        labelled_batch_size: Labelled images of a step where α is below 1, over all replicas, beside the
            `train_batch_size` that the teacher looks at; 0 takes as many as these.
    """

    teacher: str | None = None
    distill_temperature: float = 1.0
    distill_alpha: float = 1.0
    labelled_batch_size: int = 0

    def __post_init__(self) -> None:
        _require_above("distill_temperature", self.distill_temperature, 0.0)
        _require(
            0.0 <= self.distill_alpha <= 1.0,
            f"distill_alpha is {self.distill_alpha}; it must be between 0 and 1.",
        )
        _require_at_least("labelled_batch_size", self.labelled_batch_size, 0)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule.

    Attributes:
        optimizer: `lars`, `momentum` (Nesterov SGD) or `adam`.
        learning_rate: Base rate, per 256 examples under linear scaling.
        learning_rate_scaling: `linear` (rate · batch / 256) or `sqrt` (rate · √batch).
        warmup_epochs: Epochs of linear warm-up.
        weight_decay: Factor λ of ½‖w‖²; where it applies is `optimization.weight_decay`'s subject.
        momentum: Momentum of LARS and SGD.
    """

    optimizer: Literal["momentum", "adam", "lars"] = "lars"
    learning_rate: float = 0.3
    learning_rate_scaling: Literal["linear", "sqrt"] = "linear"
    warmup_epochs: float = 10.0
    weight_decay: float = 1e-6
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _require_one_of("optimizer", self.optimizer, ("momentum", "adam", "lars"))
        _require_at_least("learning_rate", self.learning_rate, 0.0)
        _require_one_of("learning_rate_scaling", self.learning_rate_scaling, ("linear", "sqrt"))
        _require_at_least("warmup_epochs", self.warmup_epochs, 0.0)
        _require_at_least("weight_decay", self.weight_decay, 0.0)
        _require(
            0.0 <= self.momentum < 1.0, f"momentum is {self.momentum}; it must be at least 0 and below 1."
        )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where images come from and how they are augmented.

    Attributes:
        dataset: A TFDS name, `image_folder` or `digits`.
        data_dir: TFDS's data directory, or the image folder.
        train_split: Split expression of the training images.
        labelled_split: Split expression of distillation's labelled images.
        labelled_dataset: Dataset of distillation's labelled images and of the evaluation's; None: `dataset`.
        labelled_data_dir: Its directory; None: `data_dir`, if that is of the same kind (both image folders,
            or neither).
        eval_split: Split expression of the evaluation images.
        crop_min_area: Least share of an image that a random crop covers (the paper: 0.08). Objects that
            fill the image, such as digits, want more.
        color_jitter_strength: Strength s of the colour jitter.
        use_blur: Gaussian blur on half of the views.
        blur_sigma: `example` draws a sigma for each image, `batch` one for all (as published).
        random_flip: Mirror left to right with probability ½.
        cache_dataset: Keep the encoded examples in memory.
        tf_data_service: `grpc://host:port` of the services that decode and augment training images, separated
            by commas; None leaves it to this process.
        max_skipped_fraction: Share of unreadable images above which the run stops.
        label_fraction: Share of the labelled images that supervised stages may use, the same number of
            every class; 1 uses all.
        labels_per_class: The same as a number of images a class; 0 leaves it to `label_fraction`.
        label_seed: Chooses which.
    """

    dataset: str = "imagenet2012"
    data_dir: str | None = None
    train_split: str = "train"
    labelled_split: str = "train"
    labelled_dataset: str | None = None
    labelled_data_dir: str | None = None
    eval_split: str = "validation"
    crop_min_area: float = 0.08
    color_jitter_strength: float = 1.0
    use_blur: bool = True
    blur_sigma: Literal["example", "batch"] = "example"
    random_flip: bool = True
    cache_dataset: bool = False
    tf_data_service: str | None = None
    max_skipped_fraction: float = 0.01
    label_fraction: float = 1.0
    labels_per_class: int = 0
    label_seed: int = 0

    def __post_init__(self) -> None:
        _require(bool(self.dataset), "dataset is empty; name a TFDS dataset, 'image_folder' or 'digits'.")
        _require(bool(self.train_split), "train_split is empty; name a split, for example 'train'.")
        _require(
            0.0 < self.crop_min_area <= 1.0,
            f"crop_min_area is {self.crop_min_area}; it must be above 0, at most 1.",
        )
        _require_at_least("color_jitter_strength", self.color_jitter_strength, 0.0)
        _require_one_of("blur_sigma", self.blur_sigma, ("example", "batch"))
        _require(
            0.0 <= self.max_skipped_fraction <= 1.0,
            f"max_skipped_fraction is {self.max_skipped_fraction}; it must be between 0 and 1.",
        )
        _require(
            0.0 < self.label_fraction <= 1.0,
            f"label_fraction is {self.label_fraction}; it must be above 0, at most 1.",
        )
        _require_at_least("labels_per_class", self.labels_per_class, 0)
        _require(
            not (self.labels_per_class and self.label_fraction < 1.0),
            f"label_fraction is {self.label_fraction} and labels_per_class {self.labels_per_class}; "
            "set one of them.",
        )
        _require_at_least("label_seed", self.label_seed, 0)
        _require(
            self.dataset != "image_folder" or bool(self.data_dir),
            "dataset is 'image_folder' but data_dir is not set; pass --data_dir=DIR, the folder of images.",
        )
        _require(
            self.labelled_dataset != "image_folder" or bool(self._labelled_dir),
            "labelled_dataset is 'image_folder' but labelled_data_dir is not set; pass "
            "--labelled_data_dir=DIR, the folder of labelled images.",
        )
        _require(
            all(re.fullmatch(r"[^/\s]+:\d{1,5}", address) for address in self.service_addresses),
            f"tf_data_service is {self.tf_data_service!r}; write grpc://host:port, or several with commas.",
        )

    @property
    def labelled(self) -> DataConfig:
        """Where the labelled images of a distillation are: another dataset if one is named."""
        return dataclasses.replace(
            self,
            dataset=self.labelled_dataset or self.dataset,
            data_dir=self._labelled_dir,
            labelled_dataset=None,
            labelled_data_dir=None,
        )

    @property
    def _labelled_dir(self) -> str | None:
        dataset = self.labelled_dataset or self.dataset
        # TFDS would write what it prepares among the images of a folder.
        same_kind = (dataset == "image_folder") == (self.dataset == "image_folder")
        return self.labelled_data_dir or (self.data_dir if same_kind else None)

    @property
    def service_addresses(self) -> tuple[str, ...]:
        """`host:port` of every service that preprocesses."""
        services = self.tf_data_service.split(",") if self.tf_data_service else []
        return tuple(service.strip().removeprefix("grpc://") for service in services)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The stage, its length and its reproducibility.

    Attributes:
        train_mode: `pretrain`, `finetune`, `supervised` (the baseline, from random weights) or `distill`.
        train_batch_size: Global batch, over all replicas.
        microbatch_size: Compute a batch in parts of this many images over all replicas, which makes the
            memory of a step that of a part; 0 computes it whole.
        rematerialize: Compute residual blocks again in the backward pass instead of keeping them in memory.
        train_epochs: Epochs, used where `train_steps` is 0.
        train_steps: Steps; 0 derives them from the epochs.
        lineareval_while_pretraining: Train a linear classifier on stop_gradient(h) meanwhile.
        precision: Keras dtype policy: `float32`, `mixed_bfloat16`, `mixed_float16` or `float64`.
        seed: Root of all randomness.
        deterministic: Ask TensorFlow for deterministic kernels.
        compile: `none`, `xla` (the replica's whole step), `cluster` (the parts that TensorFlow picks), or
            `auto`: whole on one GPU, clusters on several, none on a CPU; a TPU compiles by itself.
    """

    train_mode: Literal["pretrain", "finetune", "supervised", "distill"] = "pretrain"
    train_batch_size: int = 512
    microbatch_size: int = 0
    rematerialize: bool = False
    train_epochs: int = 100
    train_steps: int = 0
    lineareval_while_pretraining: bool = True
    precision: str = "float32"
    seed: int = 0
    deterministic: bool = False
    compile: Literal["auto", "none", "xla", "cluster"] = "auto"

    def __post_init__(self) -> None:
        _require_one_of("train_mode", self.train_mode, TRAIN_MODES)
        _require_at_least(
            "train_batch_size", self.train_batch_size, 2 if self.train_mode == "pretrain" else 1
        )
        _require_at_least("microbatch_size", self.microbatch_size, 0)
        _require(
            not self.microbatch_size or self.train_batch_size % self.microbatch_size == 0,
            f"microbatch_size is {self.microbatch_size}, which does not divide train_batch_size "
            f"{self.train_batch_size}; choose one of its divisors.",
        )
        _require_at_least("train_epochs", self.train_epochs, 0)
        _require_at_least("train_steps", self.train_steps, 0)
        _require(
            self.train_epochs > 0 or self.train_steps > 0,
            "train_epochs and train_steps are both 0; set one of them.",
        )
        _require_one_of("precision", self.precision, PRECISIONS)
        _require_one_of("compile", self.compile, COMPILE_MODES)
        _require(0 <= self.seed < 2**31, f"seed is {self.seed}; it must be at least 0 and below 2147483648.")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured of a checkpoint.

    Attributes:
        eval_batch_size: Global batch of evaluation.
        eval_steps: Batches; 0 takes the whole split.
        protocols: `online` (the classifier trained along), `linear` (one fitted to frozen features) and
            `knn` (weighted nearest neighbours).
        probe_endpoints: Endpoints that the linear and nearest-neighbour protocols look at.
        probe_labels_per_class: Fit the linear classifier once more with this many labels a class, those that
            fine-tuning with `labels_per_class` and the same `label_seed` takes; 0 does not.
        probe_baselines: Fit it to a random encoder's features and to raw pixels too.
        knn_epochs: While training, look at nearest neighbours after every so many epochs; 0 never does.
    """

    eval_batch_size: int = 256
    eval_steps: int = 0
    protocols: tuple[str, ...] = ("online",)
    probe_endpoints: tuple[str, ...] = ("final_avg_pool",)
    probe_labels_per_class: int = 0
    probe_baselines: bool = False
    knn_epochs: int = 0

    def __post_init__(self) -> None:
        _require_at_least("eval_batch_size", self.eval_batch_size, 1)
        _require_at_least("eval_steps", self.eval_steps, 0)
        for protocol in self.protocols:
            _require_one_of("eval_protocols", protocol, EVALUATION_PROTOCOLS)
        _require_at_least("probe_labels_per_class", self.probe_labels_per_class, 0)
        _require_at_least("knn_epochs", self.knn_epochs, 0)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How a run is carried out; nothing here changes what is computed.

    Attributes:
        mode: `train`, `eval` (follows the checkpoints of a training) or `train_then_eval`.
        model_dir: Where the run leaves its files.
        checkpoint: Weights to start from: a model_dir, a `ckpt-N`, an exported SavedModel or published
            weights.
        variable_schema: Which variables to take from `checkpoint`, as the published commands say it: all but
            the classifier (`…|head_supervised)`) or but both heads (`…|head)`). None takes all that belong
            here; see `load_weights` for the classifier.
        checkpoint_epochs: Epochs between checkpoints, used where `checkpoint_steps` is 0.
        checkpoint_steps: Steps between checkpoints.
        keep_checkpoint_max: Checkpoints to keep.
        keep_hub_module_max: Exported SavedModels to keep; 0 exports none.
        eval_name: Name of the evaluation's summaries and results; None for plain `eval`.
        strategy: `auto`, `one_device`, `mirrored`, `multi_worker` or `tpu`.
        virtual_devices: Split the CPU into this many logical devices; 0 does not.
        tpu_name: TPU to connect to.
        tpu_zone: Its zone.
        gcp_project: Its project.
        master: Address of a TPU worker, instead of a name.
        cluster_timeout: Seconds to wait for the other workers of TF_CONFIG, the TPU or data services.
        steps_per_loop: Steps between summaries and updates of the progress; 0 chooses by device.
        report_images: Evaluation images that `report.html` shows; 0 makes no report.
        compile_cache: Directory that keeps what was compiled for a GPU, for later starts; empty keeps none.
    """

    mode: Literal["train", "eval", "train_then_eval"] = "train"
    model_dir: str | None = None
    checkpoint: str | None = None
    variable_schema: str | None = None
    checkpoint_epochs: int = 1
    checkpoint_steps: int = 0
    keep_checkpoint_max: int = 5
    keep_hub_module_max: int = 1
    eval_name: str | None = None
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = "auto"
    virtual_devices: int = 0
    tpu_name: str | None = None
    tpu_zone: str | None = None
    gcp_project: str | None = None
    master: str | None = None
    cluster_timeout: float = 600.0
    steps_per_loop: int = 0
    report_images: int = 2000
    compile_cache: str = "~/.cache/tf_simclrv2/xla"

    def __post_init__(self) -> None:
        _require_one_of("mode", self.mode, ("train", "eval", "train_then_eval"))
        _require_one_of("strategy", self.strategy, ("auto", "one_device", "mirrored", "multi_worker", "tpu"))
        _require(
            self.variable_schema in (None, WITHOUT_CLASSIFIER, WITHOUT_HEADS),
            f"variable_schema is {self.variable_schema!r}; weights are matched by name here, so choose "
            f"{WITHOUT_CLASSIFIER!r}, which leaves the classifier as initialised, {WITHOUT_HEADS!r}, which "
            "leaves the projection head too, or leave it out.",
        )
        _require_at_least("checkpoint_epochs", self.checkpoint_epochs, 0)
        _require_at_least("checkpoint_steps", self.checkpoint_steps, 0)
        _require(
            self.checkpoint_epochs > 0 or self.checkpoint_steps > 0,
            "checkpoint_epochs and checkpoint_steps are both 0; set one of them.",
        )
        _require_at_least("keep_checkpoint_max", self.keep_checkpoint_max, 1)
        _require_at_least("keep_hub_module_max", self.keep_hub_module_max, 0)
        _require_at_least("virtual_devices", self.virtual_devices, 0)
        _require_above("cluster_timeout", self.cluster_timeout, 0.0)
        _require_at_least("steps_per_loop", self.steps_per_loop, 0)
        _require_at_least("report_images", self.report_images, 0)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A whole run.

    Example:
        >>> config = ExperimentConfig(model=ModelConfig(resnet_depth=18, image_size=32))
        >>> ExperimentConfig.from_json(config.to_json()) == config
        True
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    distillation: DistillationConfig = dataclasses.field(default_factory=DistillationConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.training.train_mode == "pretrain":
            _require(
                self.model.fine_tune_after_block == -1,
                f"fine_tune_after_block is {self.model.fine_tune_after_block}, but pretraining trains the "
                "whole network; leave it at -1 or use --train_mode=finetune.",
            )
            _require(
                not self.model.truncate_proj_head,
                "truncate_proj_head is set, but pretraining needs the whole projection head; leave it off.",
            )
        else:
            _require(
                self.objective.memory_size == 0,
                f"memory_size is {self.objective.memory_size}, but only pretraining has a memory; "
                "leave it at 0.",
            )
        # An evaluation takes its stage from its model_dir later.
        distills = self.training.train_mode == "distill" or self.run.mode == "eval"
        _require(
            distills or self.data.labelled == self.data,
            f"labelled_dataset is {self.data.labelled_dataset!r} and labelled_data_dir is "
            f"{self.data.labelled_data_dir!r}, but only distillation reads labelled images of their own; "
            "use --dataset and --data_dir.",
        )
        pretraining = self.training.train_mode == "pretrain"
        layers = self.model.num_head_layers if pretraining else self.model.classifier_layer
        _require(
            self.run.variable_schema != WITHOUT_HEADS or layers == 0,
            f"variable_schema is {self.run.variable_schema!r}, which leaves the projection head as "
            f"initialised, but this run uses {layers} layer(s) of it; use {WITHOUT_CLASSIFIER!r}, or "
            "--ft_proj_selector=0 in fine-tuning.",
        )
        keys = 2 * self.training.train_batch_size
        _require(
            self.objective.memory_size == 0 or self.objective.memory_size >= keys,
            f"memory_size is {self.objective.memory_size}, but one step of batch "
            f"{self.training.train_batch_size} makes {keys} keys; use at least {keys}, or 0 for no memory.",
        )
        _require(
            self.training.train_mode != "distill" or bool(self.distillation.teacher),
            "teacher is not set; pass --teacher=PATH, the model_dir or SavedModel of a fine-tuned network.",
        )

    @property
    def labelled_batch_size(self) -> int:
        """Labelled images of a step beside those of `train_split`; 0 where there are none."""
        if self.training.train_mode != "distill" or self.distillation.distill_alpha == 1.0:
            return 0
        return self.distillation.labelled_batch_size or self.training.train_batch_size

    @property
    def images_per_step(self) -> int:
        """All images of a step, over all replicas; an image counts once, though it is seen in two views."""
        return self.training.train_batch_size + self.labelled_batch_size

    def to_json(self) -> str:
        """The config as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ExperimentConfig:
        """Builds a config from `to_json`'s text.

        Raises:
            ConfigError: A field is unknown or a value impossible.
        """
        return config_from_dict(cls, json.loads(text))


def config_from_dict(cls: type[_Config], values: dict[str, Any]) -> _Config:
    """Builds the dataclass `cls`, and the dataclasses within it, from plain values.

    Raises:
        ConfigError: `values` has a field that `cls` has not, or an impossible value.
    """
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    _require(
        not unknown, f"{cls.__name__} has no field {', '.join(unknown)}; was it written by a newer version?"
    )
    return cls(**{name: _from_plain(types[name], value) for name, value in values.items()})


def _from_plain(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return config_from_dict(typing.cast(type, hint), value)
    return tuple(value) if typing.get_origin(hint) is tuple else value
