"""The public names: what `from tf_simclrv2 import …` gives. Each is documented in docs/reference.md."""

from tf_simclrv2.config import (
    DataConfig,
    DistillationConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.data import (
    BatchOptions,
    evaluation_batches,
    finetuning_batches,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.errors import CheckpointError, ConfigError, DataError, ExportError, RunError, UserError
from tf_simclrv2.models import ProjectionHead, ResNet, SimCLR
from tf_simclrv2.modules.hub_layer import HubLayer
from tf_simclrv2.modules.saved_model import save_module
from tf_simclrv2.objectives import distillation_loss, nt_xent
from tf_simclrv2.optimization import LARS, WarmupCosine
from tf_simclrv2.tasks import Distillation, FineTuning, Pretraining
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.run import Run
from tf_simclrv2.weights.loading import load_published_weights
from tf_simclrv2.weights.published_names import published_names
from tf_simclrv2.weights.published_weights import save_published_checkpoint

__all__ = [
    "LARS",
    "BatchOptions",
    "CheckpointError",
    "ConfigError",
    "DataConfig",
    "DataError",
    "Distillation",
    "DistillationConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "ExportError",
    "FineTuning",
    "HubLayer",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Pretraining",
    "ProjectionHead",
    "ResNet",
    "Run",
    "RunConfig",
    "RunError",
    "SimCLR",
    "TrainingConfig",
    "UserError",
    "WarmupCosine",
    "adopt",
    "distillation_loss",
    "evaluation_batches",
    "finetuning_batches",
    "load_published_weights",
    "load_source",
    "nt_xent",
    "pretraining_batches",
    "published_names",
    "save_module",
    "save_published_checkpoint",
]
