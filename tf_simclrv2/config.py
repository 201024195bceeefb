"""Frozen dataclasses that describe a run; each checks itself when it is built.

A config is the only thing that steers the library: nothing below `cli/` reads flags or globals. Each field is
a `setting`, which holds its default, limits and help; flags, checks and the reference are made from it.
`ExperimentConfig` round-trips through JSON, and a run writes it to `model_dir/config.json`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from typing import Any, Literal, TypeVar

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, setting

# What the published commands restore from a checkpoint: all but the classifier, or all but both heads.
WITHOUT_CLASSIFIER = "(?!global_step|(?:.*/|^)Momentum|head_supervised)"
WITHOUT_HEADS = "(?!global_step|(?:.*/|^)Momentum|head)"
RESNET_DEPTHS = (18, 34, 50, 101, 152, 200)
# Settings of labeled images that are not the unlabeled ones.
LABELED_FIELDS = ("labeled_dataset", "labeled_data_dir", "labeled_image_key", "labeled_label_key")

_Config = TypeVar("_Config")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


_COLORS = {"white": "255,255,255", "black": "0,0,0"}


@documented
@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Describes the network: encoder, projection head and linear classifier."""

    resnet_depth: int = setting(50, "Depth of the ResNet encoder, in layers.", choices=RESNET_DEPTHS)
    width_multiplier: int = setting(1, "Factor on the number of channels of every encoder layer.", minimum=1)
    sk_ratio: float = setting(
        0.0,
        "Bottleneck ratio of selective kernels (the paper: 0.0625), which depths from 50 on have. Above 0, "
        "the shortcuts are those of ResNet-D at every depth, and so is the stem above 32 pixels.",
        minimum=0,
        maximum=1,
        zero_is_off=True,
    )
    se_ratio: float = setting(
        0.0, "Bottleneck ratio of squeeze-and-excitation.", minimum=0, maximum=1, zero_is_off=True
    )
    image_size: int = setting(
        224,
        "Side of the square input images, in pixels; 32 and below use the CIFAR stem. If not set, it is that "
        "of the checkpoint or the teacher, if there is one.",
        minimum=8,
    )
    num_classes: int = setting(
        1000,
        "Outputs of the linear classifier; 0 builds none. A run sets it from its dataset.",
        minimum=0,
        flag=None,
    )
    proj_head_mode: Literal["none", "linear", "nonlinear"] = setting(
        "nonlinear", "Projection head: linear has one layer, nonlinear has num_proj_layers."
    )
    num_proj_layers: int = setting(3, "Layers of the nonlinear projection head (SimCLRv2: 3).", minimum=1)
    proj_out_dim: int = setting(128, "Dimension of the projection head's output z.", minimum=1)
    ft_proj_selector: int = setting(
        0,
        "Projection-head layer that feeds the classifier: 0 is the encoder's output h, i is the output of "
        "layer i, -1 is that of the last layer.",
    )
    truncate_proj_head: bool = setting(
        False,
        "Build no projection-head layers after ft_proj_selector. A run sets it in every stage but "
        "pretraining.",
        flag=None,
    )
    fine_tune_after_block: int = setting(
        -1,
        "Freeze the encoder up to this block group: -1 freezes nothing, 0 the stem. 4 freezes the whole "
        "encoder and the projection head, so that only the classifier is trained.",
        choices=(-1, 0, 1, 2, 3, 4),
    )
    zero_init_logits_layer: bool = setting(False, "Initialize the linear classifier with zeros.")
    global_bn: bool = setting(
        True, "Compute batch-norm statistics over all replicas; if false, over each replica alone."
    )
    batch_norm_decay: float = setting(
        0.9, "Momentum of the moving averages of batch norm.", minimum=0, below=1
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _require(
            -1 <= self.ft_proj_selector <= self.num_head_layers,
            f"ft_proj_selector is {self.ft_proj_selector}, but the {self.proj_head_mode} projection head "
            f"has {self.num_head_layers} layer(s); choose 0 to {self.num_head_layers}, or -1 for the last.",
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
        """Returns the network that ends at an endpoint; nothing in it is frozen.

        Args:
            endpoint: `final_avg_pool`, `proj_head_i`, `proj_head_input`, `proj_head_output` or `logits_sup`.
            classify: Keep the classifier if that endpoint feeds it.

        Raises:
            ConfigError: There is no such endpoint, or the network cannot end there.

        Example:
            >>> ModelConfig(ft_proj_selector=1).truncated("proj_head_1").num_used_head_layers
            1
        """
        layers = {"final_avg_pool": 0, "proj_head_input": 0, "proj_head_output": self.num_used_head_layers}
        layers |= {f"proj_head_{i}": i for i in range(self.num_used_head_layers + 1)}
        if self.num_classes:
            layers["logits_sup"] = self.classifier_layer
        _require(endpoint in layers, f"endpoint is {endpoint!r}; choose one of {', '.join(layers)}.")
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


@documented
@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """Describes the contrastive loss and the memory bank."""

    temperature: float = setting(0.1, "Temperature τ of the contrastive loss.", above=0)
    hidden_norm: bool = setting(
        True, "L2-normalize the projections, so that they are compared by cosine similarity."
    )
    memory_size: int = setting(
        0,
        "Size of the memory bank: the number of momentum-encoder keys from past batches with which queries "
        "are contrasted (the paper: 65536).",
        minimum=0,
        zero_is_off=True,
    )
    memory_decay: float = setting(
        0.999,
        "Decay per step of the momentum encoder, which computes the keys of the memory bank.",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """Describes the transfer of a teacher's predictions to a student."""

    teacher: str | None = setting(
        None,
        "Teacher network, which distillation requires: a model_dir, a ckpt-N, a SavedModel or published "
        "weights.",
        is_path=True,
    )
    distill_temperature: float = setting(
        1.0,
        "Temperature τ of the teacher's and the student's softmax (the paper: 0.1 for self-distillation, 1.0 "
        "for a smaller student).",
        above=0,
    )
    distill_alpha: float = setting(
        1.0,
        "Weight α of the distillation loss; the loss of the labels has weight 1 - α. 1 needs no labels.",
        minimum=0,
        maximum=1,
    )
    labeled_batch_size: int = setting(
        0,
        "Labeled images per step if distill_alpha is below 1, over all replicas, in addition to "
        "train_batch_size images for the teacher. 0 uses train_batch_size.",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Describes the optimizer and its learning-rate schedule."""

    optimizer: Literal["momentum", "adam", "lars"] = setting(
        "lars", "Optimizer; momentum is SGD with Nesterov momentum."
    )
    learning_rate: float = setting(
        0.3, "Base learning rate, which learning_rate_scaling scales with the batch size.", minimum=0
    )
    learning_rate_scaling: Literal["linear", "sqrt"] = setting(
        "linear",
        "Learning rate at batch size B: linear is learning_rate · B / 256, sqrt is learning_rate · √B.",
    )
    warmup_epochs: float = setting(10.0, "Length of the linear warm-up, in epochs.", minimum=0)
    weight_decay: float = setting(
        1e-6,
        "Factor λ of the penalty ½‖w‖². Batch norm is exempt, and under LARS so are all biases.",
        minimum=0,
    )
    momentum: float = setting(0.9, "Momentum of LARS and SGD.", minimum=0, below=1)
    online_learning_rate: float = setting(
        0.2,
        "Learning rate of pretraining's online classifier, in units of 1/L, where L bounds the curvature of "
        "its loss on the batch, so that one rate suits features of every scale and dimension. It is "
        "constant. 0 trains the classifier at the network's learning rate, as the published program does. "
        "It applies to LARS and SGD without clipping; the steps of other optimizers do not depend on it.",
        minimum=0,
        absent=0.0,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Describes where images come from and how they are augmented."""

    dataset: str = setting("imagenet2012", "Name of a TFDS dataset, image_folder or digits.")
    data_dir: str | None = setting(
        None,
        "Directory of the image folder, or TFDS's data directory; by default TFDS chooses it.",
        is_path=True,
    )
    image_key: str | None = setting(
        None,
        "Feature of a TFDS dataset that holds the image; by default the dataset's own choice (its "
        "supervised_keys, else image, else its only image).",
    )
    label_key: str | None = setting(
        None,
        "Feature of a TFDS dataset that holds the class; by default the dataset's own choice (its "
        "supervised_keys, else label, else its first class).",
    )
    train_split: str = setting("train", "Split of the training images, for example train or train[:90%].")
    labeled_split: str = setting("train", "Split of the labeled images in distillation.")
    labeled_dataset: str | None = setting(
        None, "Dataset of distillation's labeled images and of its evaluation; by default dataset."
    )
    labeled_data_dir: str | None = setting(
        None,
        "Directory of labeled_dataset; by default data_dir, if both or neither of the datasets are image "
        "folders.",
        is_path=True,
    )
    labeled_image_key: str | None = setting(
        None, "The image_key of labeled_dataset; by default image_key, if both datasets are the same."
    )
    labeled_label_key: str | None = setting(
        None, "The label_key of labeled_dataset; by default label_key, if both datasets are the same."
    )
    eval_split: str = setting("validation", "Split of the evaluation images.")
    validation_split: str | None = setting(
        None,
        "Split of the images on which keep_best and patience select a checkpoint, which must be neither "
        "trained on nor evaluated: for example train[90%:] with train_split=train[:90%]. It comes from the "
        "same dataset as eval_split.",
    )
    ignore_empty_classes: bool = setting(
        False, "Ignore class folders without a readable image, instead of refusing them."
    )
    background: str = setting(
        "white",
        "Color onto which transparent images are composited: white, black, or red, green and blue from 0 to "
        "255, as in 200,200,200. If not set, it is that of the checkpoint or the teacher, if there is one.",
    )
    crop_min_area: float = setting(
        0.08,
        "Smallest fraction of an image's area that a random crop covers (the paper: 0.08); crops are never "
        "below 0.1, as in the published code. Objects that fill the image, such as digits, need more.",
        above=0,
        maximum=1,
    )
    color_jitter_strength: float = setting(
        1.0, "Strength s of the color jitter; 0 keeps the colors, and turns no view gray either.", minimum=0
    )
    use_blur: bool = setting(True, "Apply Gaussian blur to each pretraining view with probability ½.")
    blur_sigma: Literal["example", "batch"] = setting(
        "example",
        "Draw the sigma of the blur for each example, or, as the published program does, once for all images "
        "that a replica computes together: its part of a batch, or of a micro-batch.",
    )
    random_flip: bool = setting(
        True, "Mirror training images left to right with probability ½; turn it off for digits and text."
    )
    cache_dataset: bool = setting(False, "Keep the encoded images in memory.")
    tf_data_service: str | None = setting(
        None,
        "Addresses, grpc://host:port separated by commas, of the services that decode and augment training "
        "images. By default, this process does so itself.",
    )
    max_skipped_fraction: float = setting(
        0.01, "Fraction of unreadable images above which the run stops.", minimum=0, maximum=1
    )
    label_fraction: float = setting(
        1.0,
        "Fraction of the labels that supervised stages use, balanced over the classes. 1 uses all.",
        above=0,
        maximum=1,
    )
    labels_from: str | None = setting(
        None,
        "CSV file with the columns path and label, which assigns classes to the images that it names, or a "
        ".txt file with one image name per line; these images keep their labels. Other images of the same "
        "split have no label, and supervised stages leave them out.",
        is_path=True,
    )
    labels_per_class: int = setting(
        0, "Labels per class that supervised stages use; 0 uses label_fraction instead.", minimum=0
    )
    labels_per_class_at_most: bool = setting(
        False,
        "Use all images of a class that has fewer than labels_per_class (or label_fraction) asks for, "
        "instead of refusing it.",
    )
    label_seed: int = setting(
        0, "Seed that chooses the labels of label_fraction or labels_per_class.", minimum=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _require(bool(self.dataset), "dataset is empty; name a TFDS dataset, 'image_folder' or 'digits'.")
        self.background_color  # noqa: B018  It is checked by being read.
        _require(bool(self.train_split), "train_split is empty; name a split, for example 'train'.")
        _require(
            not (self.labels_per_class and self.label_fraction < 1.0),
            f"label_fraction is {self.label_fraction} and labels_per_class {self.labels_per_class}; "
            "set one of them.",
        )
        _require(
            self.dataset != "image_folder" or bool(self.data_dir),
            "dataset is 'image_folder' but data_dir is not set; pass --data_dir=DIR, the folder of images.",
        )
        self._refuse_features_of_folders()
        _require(
            self.labeled_dataset != "image_folder" or bool(self._labeled_dir),
            "labeled_dataset is 'image_folder' but labeled_data_dir is not set; pass "
            "--labeled_data_dir=DIR, the folder of labeled images.",
        )
        _require(
            all(re.fullmatch(r"[^/\s]+:\d{1,5}", address) for address in self.service_addresses),
            f"tf_data_service is {self.tf_data_service!r}; write grpc://host:port, or several with commas.",
        )

    def _refuse_features_of_folders(self) -> None:
        labeled_dataset = self.labeled_dataset or self.dataset
        for name, dataset in {
            "image_key": self.dataset,
            "label_key": self.dataset,
            "labeled_image_key": labeled_dataset,
            "labeled_label_key": labeled_dataset,
        }.items():
            key = getattr(self, name)
            _require(
                dataset != "image_folder" or not key,
                f"{name} is {key!r}, but an image folder has no features; leave it out.",
            )

    @property
    def background_color(self) -> tuple[float, float, float]:
        """Red, green and blue of `background`, in [0, 1].

        Raises:
            ConfigError: It is neither a name nor three numbers from 0 to 255.
        """
        written = _COLORS.get(self.background, self.background)
        numbers = re.fullmatch(r"(\d{1,3}),(\d{1,3}),(\d{1,3})", written)
        color = [int(number) for number in numbers.groups()] if numbers else []
        _require(
            bool(color) and max(color) <= 255,
            f"background is {self.background!r}; write white, black, or three numbers from 0 to 255 with "
            "commas, as in 200,200,200.",
        )
        red, green, blue = (number / 255 for number in color)
        return red, green, blue

    @property
    def labeled(self) -> DataConfig:
        """Where the labeled images of a distillation come from: another dataset if one is named."""
        dataset = self.labeled_dataset or self.dataset
        same = dataset == self.dataset
        return dataclasses.replace(
            self,
            dataset=dataset,
            data_dir=self._labeled_dir,
            image_key=self.labeled_image_key or (self.image_key if same else None),
            label_key=self.labeled_label_key or (self.label_key if same else None),
            **dict.fromkeys(LABELED_FIELDS),
        )

    @property
    def _labeled_dir(self) -> str | None:
        dataset = self.labeled_dataset or self.dataset
        # TFDS would write what it prepares among the images of a folder.
        same_kind = (dataset == "image_folder") == (self.dataset == "image_folder")
        return self.labeled_data_dir or (self.data_dir if same_kind else None)

    @property
    def service_addresses(self) -> tuple[str, ...]:
        """`host:port` of every service that preprocesses."""
        services = self.tf_data_service.split(",") if self.tf_data_service else []
        return tuple(service.strip().removeprefix("grpc://") for service in services)


@documented
@dataclasses.dataclass(frozen=True)
class DataServiceConfig:
    """Where a data service answers; each option of `simclrv2 data-service` is a field."""

    port: int = setting(5050, "Port to listen at; this one and the next are used, and 0 takes any.")
    host: str | None = setting(None, "The name by which trainings reach this host; by default its own.")


@documented
@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Describes the stage, its length and its reproducibility."""

    train_mode: Literal["pretrain", "finetune", "supervised", "distill"] = setting(
        "pretrain", "Stage of the method; supervised is the baseline with random initial weights."
    )
    train_batch_size: int = setting(512, "Images per training step, over all replicas.", minimum=1)
    microbatch_size: int = setting(
        0,
        "Compute each batch in parts of this many images, over all replicas, to save memory.",
        minimum=0,
        zero_is_off=True,
    )
    rematerialize: bool = setting(
        False, "Recompute residual blocks in the backward pass, which saves memory and costs time."
    )
    train_epochs: int = setting(100, "Epochs of training; train_steps overrides them.", minimum=0)
    train_steps: int = setting(0, "Steps of training; 0 uses train_epochs.", minimum=0)
    patience: int = setting(
        0,
        "Stop training early after this many consecutive measurements of keep_best without a new best.",
        minimum=0,
        zero_is_off=True,
    )
    lineareval_while_pretraining: bool = setting(
        True, "While pretraining, train a linear classifier on stop_gradient(h)."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"] = setting(
        "float32", "Keras dtype policy, the precision in which layers compute."
    )
    tf32: Literal["default", "on", "off"] = setting(
        "default",
        "Whether layers may round the factors of float32 products to TensorFloat-32 on GPUs that support it, "
        "which is several times as fast; default leaves it to TensorFlow, which allows it. Losses, "
        "similarities and statistics are exact float32 in any case.",
    )
    seed: int = setting(0, "Seed of all random numbers.", minimum=0, below=2**31)
    deterministic: bool = setting(False, "Use only deterministic TensorFlow kernels, which may be slower.")
    compile: Literal["auto", "none", "xla", "cluster"] = setting(
        "auto",
        "What XLA compiles: a replica's whole step (xla), the clusters that TensorFlow picks (cluster) or "
        "nothing. auto is xla on one GPU, cluster on several and none on a CPU; a TPU always compiles.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _require(
            self.train_mode != "pretrain" or self.train_batch_size >= 2,
            f"train_batch_size is {self.train_batch_size}, but pretraining contrasts images with each other; "
            "use at least 2.",
        )
        _require(
            not self.microbatch_size or self.train_batch_size % self.microbatch_size == 0,
            f"microbatch_size is {self.microbatch_size}, which does not divide train_batch_size "
            f"{self.train_batch_size}; choose one of its divisors.",
        )
        _require(
            self.train_epochs > 0 or self.train_steps > 0,
            "train_epochs and train_steps are both 0; set one of them.",
        )

    @property
    def parts(self) -> int:
        """Micro-batches that a step computes one after the other; 1 if it computes its batch as a whole."""
        return self.train_batch_size // (self.microbatch_size or self.train_batch_size)


@documented
@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Describes what to measure of a checkpoint."""

    eval_batch_size: int = setting(256, "Images per evaluation batch, over all replicas.", minimum=1)
    eval_steps: int = setting(0, "Batches of the protocol online; 0 uses the whole split.", minimum=0)
    protocols: tuple[str, ...] = setting(
        ("online",),
        "Evaluation protocols: the online classifier, a linear classifier fitted to frozen features, "
        "weighted nearest neighbors.",
        choices=("online", "linear", "knn"),
        flag="eval_protocols",
    )
    probe_endpoints: tuple[str, ...] = setting(
        ("final_avg_pool",), "Endpoints whose features the protocols linear and knn use."
    )
    probe_labels_per_class: int = setting(
        0,
        "Also fit the linear protocol with this many labels per class: those that fine-tuning uses with "
        "the same labels_per_class and label_seed, if every image can be read.",
        minimum=0,
        zero_is_off=True,
    )
    probe_baselines: bool = setting(
        False, "Also evaluate a random encoder's features and raw pixels, by the linear and the knn protocol."
    )
    knn_epochs: int = setting(
        0,
        "Evaluate nearest neighbors on some evaluation images after every this many epochs of training.",
        minimum=0,
        zero_is_off=True,
    )
    validation_images: int = setting(
        2000,
        "Maximum number of validation_split images that a measurement of keep_best uses; knn and linear use "
        "as many training images.",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_settings(self)


# Of logs in metrics.jsonl, and of folders.
_NAMES_OF_THE_RUN = ("train", "validation", "best", "saved_model")


@documented
@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Describes how a run is carried out: what it starts from, what it keeps, and on which devices."""

    mode: Literal["train", "eval", "train_then_eval"] = setting(
        "train", "What to do; eval follows the checkpoints of a training run."
    )
    model_dir: str | None = setting(
        None, "Directory to which the run writes its files; required.", is_path=True
    )
    checkpoint: str | None = setting(
        None,
        "Weights to start from: a model_dir, a ckpt-N, a SavedModel, published weights, or a ResNet of "
        "keras.applications in a .keras or .h5 file. By default, training starts from random weights.",
        is_path=True,
    )
    allow_other_data: bool = setting(
        False,
        "Resume a run even if the number or names of its training images have changed.",
    )
    variable_schema: str | None = setting(
        None,
        "What to load from checkpoint, as in the published commands: all but the classifier "
        "('…|head_supervised)'), or all but both heads ('…|head)'). By default, everything that this run may "
        "use.",
    )
    checkpoint_epochs: int = setting(
        1, "Epochs between checkpoints; checkpoint_steps overrides them.", minimum=0
    )
    checkpoint_steps: int = setting(0, "Steps between checkpoints; 0 uses checkpoint_epochs.", minimum=0)
    keep_checkpoint_max: int = setting(5, "How many checkpoints to keep.", minimum=1)
    keep_best: Literal["none", "knn", "linear", "online"] = setting(
        "none",
        "Also keep the best checkpoint, in model_dir/best, chosen by the top-1 accuracy on validation_split "
        "at each checkpoint: of 20 nearest neighbors, of a linear classifier fitted to frozen features, or "
        "of the network's own classifier (online, in every stage).",
    )
    keep_hub_module_max: int = setting(1, "How many exported SavedModels to keep; 0 exports none.", minimum=0)
    eval_name: str | None = setting(
        None, "Name of this evaluation in results and summaries; by default eval."
    )
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = setting(
        "auto", "tf.distribute strategy; auto chooses one for the available devices."
    )
    virtual_devices: int = setting(
        0,
        "Split the CPU into this many logical devices, to try several replicas on one.",
        minimum=0,
        zero_is_off=True,
    )
    tpu_name: str | None = setting(None, "Name of the TPU; by default, no TPU is used.")
    tpu_zone: str | None = setting(None, "Google Cloud zone of the TPU; by default TensorFlow looks it up.")
    gcp_project: str | None = setting(
        None, "Google Cloud project of the TPU; by default TensorFlow looks it up."
    )
    master: str | None = setting(None, "Address of a TPU worker, used instead of tpu_name.")
    cluster_timeout: float = setting(
        600.0, "Seconds to wait for the other workers of TF_CONFIG, the TPU or data services.", above=0
    )
    steps_per_loop: int = setting(
        0, "Steps between summaries and progress updates; 0 chooses a number for the device.", minimum=0
    )
    report_images: int = setting(
        2000, "Evaluation images that report.html shows; 0 writes no report.", minimum=0
    )
    compile_cache: str = setting(
        "~/.cache/tf_simclrv2/xla",
        "Directory that caches the programs compiled for a GPU, for later runs; empty caches nothing.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _require(
            self.variable_schema in (None, WITHOUT_CLASSIFIER, WITHOUT_HEADS),
            f"variable_schema is {self.variable_schema!r}; weights are matched by name here, so choose "
            f"{WITHOUT_CLASSIFIER!r}, which leaves the classifier as initialized, or {WITHOUT_HEADS!r}, "
            "which leaves the projection head as initialized too, or omit it.",
        )
        _require(
            self.checkpoint_epochs > 0 or self.checkpoint_steps > 0,
            "checkpoint_epochs and checkpoint_steps are both 0; set one of them.",
        )

        name = self.eval_name
        _require(
            name is None or ("/" not in name and name not in (".", "..")),
            f"eval_name is {name!r}; it becomes part of file names in model_dir, so leave out slashes.",
        )
        _require(
            name not in _NAMES_OF_THE_RUN,
            f"eval_name is {name!r}, a name under which the run itself keeps things; choose another.",
        )

    def require_model_dir(self) -> str:
        """Returns the directory to which the run writes.

        Raises:
            ConfigError: It is not set.
        """
        if not self.model_dir:
            raise ConfigError("model_dir is not set; pass --model_dir=DIR, where the run writes its files.")
        return self.model_dir


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Describes a whole run, by area; every area has defaults.

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
                f"memory_size is {self.objective.memory_size}, but only pretraining has a memory bank; "
                "leave it at 0.",
            )
        # An evaluation takes its stage from its model_dir later.
        distills = self.training.train_mode == "distill" or self.run.mode == "eval"
        own = [name for name in LABELED_FIELDS if getattr(self.data, name)]
        _require(
            distills or self.data.labeled == self.data,
            f"{' and '.join(f'{name} is {getattr(self.data, name)!r}' for name in own)}, but only "
            "distillation reads labeled images separately; use "
            f"{' and '.join('--' + name.removeprefix('labeled_') for name in own)}.",
        )
        pretraining = self.training.train_mode == "pretrain"
        layers = self.model.num_head_layers if pretraining else self.model.classifier_layer
        _require(
            self.run.variable_schema != WITHOUT_HEADS or layers == 0,
            f"variable_schema is {self.run.variable_schema!r}, which leaves the projection head as "
            f"initialized, but this run uses {layers} layer(s) of it; use {WITHOUT_CLASSIFIER!r}, or "
            "--ft_proj_selector=0 in fine-tuning.",
        )
        _require(
            self.training.train_mode != "supervised" or self.run.mode == "eval" or not self.run.checkpoint,
            f"checkpoint is {self.run.checkpoint!r}, but a supervised run starts from random weights, as the "
            "baseline that it is; leave it out, or use --train_mode=finetune.",
        )
        self._refuse_unmeasured_choice()
        keys = 2 * self.training.train_batch_size
        _require(
            self.objective.memory_size == 0 or self.objective.memory_size >= keys,
            f"memory_size is {self.objective.memory_size}, but one step of batch "
            f"{self.training.train_batch_size} makes {keys} keys; use at least {keys}, or 0 for no memory "
            "bank.",
        )
        _require(
            self.training.train_mode != "distill" or bool(self.distillation.teacher),
            "teacher is not set; pass --teacher=PATH, the model_dir or SavedModel of a fine-tuned network.",
        )

    def _refuse_unmeasured_choice(self) -> None:
        if self.run.mode == "eval":  # It adopts the settings of the training, and chooses nothing.
            return
        chooses, training = self.run.keep_best != "none", self.training
        _require(
            chooses or not training.patience,
            f"patience is {training.patience}, but keep_best is 'none', so nothing is measured that could "
            "improve; choose --keep_best=knn, linear or online.",
        )
        _require(
            not chooses or bool(self.data.validation_split),
            f"keep_best is {self.run.keep_best!r}, but validation_split is not set; hold out a part of the "
            'training images, for example "--train_split=train[:90%]" "--validation_split=train[90%:]".',
        )
        pretrains = training.train_mode == "pretrain"
        _require(
            self.run.keep_best != "online" or not pretrains or training.lineareval_while_pretraining,
            "keep_best is 'online', but lineareval_while_pretraining is off, so there is no classifier; use "
            "--keep_best=knn or linear.",
        )

    @property
    def labeled_batch_size(self) -> int:
        """Labeled images per step in addition to those of `train_split`; 0 if there are none."""
        if self.training.train_mode != "distill" or self.distillation.distill_alpha == 1.0:
            return 0
        return self.distillation.labeled_batch_size or self.training.train_batch_size

    @property
    def images_per_step(self) -> int:
        """All images per step, over all replicas; an image counts once, although it is seen in two views."""
        return self.training.train_batch_size + self.labeled_batch_size

    def to_json(self) -> str:
        """Returns the config as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ExperimentConfig:
        """Builds a config from `to_json`'s text.

        Raises:
            ConfigError: A field is unknown, or a value is outside its limits.
        """
        return config_from_dict(cls, json.loads(text))


# The config dataclass of each area of an experiment.
AREAS: dict[str, type] = typing.get_type_hints(ExperimentConfig)


def config_from_dict(cls: type[_Config], values: dict[str, Any]) -> _Config:
    """Builds the dataclass `cls`, and the dataclasses within it, from plain values.

    A setting that `values` lacks gets its default, or the value that stands for the behavior before the
    setting existed (`Setting.absent`).

    Raises:
        ConfigError: `values` has a field that `cls` does not have, or a value outside its limits.
    """
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    _require(
        not unknown, f"{cls.__name__} has no field {', '.join(unknown)}; was it written by a newer version?"
    )
    fields = dataclasses.fields(typing.cast(Any, cls))
    absent = {field.name: field.metadata["absent"] for field in fields if "absent" in field.metadata}
    return cls(**{name: _from_plain(types[name], value) for name, value in {**absent, **values}.items()})


def _from_plain(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return config_from_dict(typing.cast(type, hint), value)
    return tuple(value) if typing.get_origin(hint) is tuple else value
