"""SimCLRv2 for TensorFlow 2 and Keras 3 (Chen et al. 2020, arXiv 2006.10029)."""

from tf_simclrv2 import backend as _backend

_backend.prefer_onednn()
_backend.require_tensorflow()

from tf_simclrv2.config import (  # noqa: E402 - Keras must not be imported before its backend is checked.
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
from tf_simclrv2.errors import ConfigError  # noqa: E402
from tf_simclrv2.models import ProjectionHead, ResNet, SimCLR  # noqa: E402
from tf_simclrv2.modules.hub_layer import HubLayer  # noqa: E402
from tf_simclrv2.modules.saved_model import save_module  # noqa: E402
from tf_simclrv2.objectives import distillation_loss, nt_xent  # noqa: E402
from tf_simclrv2.optimization import LARS, WarmupCosine  # noqa: E402
from tf_simclrv2.tasks import Distillation, FineTuning, Pretraining  # noqa: E402
from tf_simclrv2.weights.published_names import published_names  # noqa: E402
from tf_simclrv2.weights.published_weights import load_published_weights, save_published_checkpoint  # noqa: E402

__all__ = [
    "HubLayer",
    "LARS",
    "ConfigError",
    "DataConfig",
    "Distillation",
    "DistillationConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "FineTuning",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Pretraining",
    "ProjectionHead",
    "ResNet",
    "RunConfig",
    "SimCLR",
    "TrainingConfig",
    "WarmupCosine",
    "distillation_loss",
    "load_published_weights",
    "nt_xent",
    "published_names",
    "save_module",
    "save_published_checkpoint",
]
