"""SimCLRv2 for TensorFlow 2 and Keras 3 (Chen et al. 2020, arXiv 2006.10029).

The public names are imported when they are first asked for, so that a command line can answer without waiting
for TensorFlow.
"""

import importlib
import sys
import typing
from typing import Any

from tf_simclrv2 import backend as _backend

_backend.prefer_onednn()
_backend.require_tensorflow()

if typing.TYPE_CHECKING:
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
    from tf_simclrv2.errors import CheckpointError, ConfigError, DataError, ExportError, RunError, UserError
    from tf_simclrv2.models import ProjectionHead, ResNet, SimCLR
    from tf_simclrv2.modules.hub_layer import HubLayer
    from tf_simclrv2.modules.saved_model import save_module
    from tf_simclrv2.objectives import distillation_loss, nt_xent
    from tf_simclrv2.optimization import LARS, WarmupCosine
    from tf_simclrv2.tasks import Distillation, FineTuning, Pretraining
    from tf_simclrv2.weights.published_names import published_names
    from tf_simclrv2.weights.published_weights import load_published_weights, save_published_checkpoint

_MODULES = {
    "tf_simclrv2.config": (
        "DataConfig",
        "DistillationConfig",
        "EvaluationConfig",
        "ExperimentConfig",
        "ModelConfig",
        "ObjectiveConfig",
        "OptimizerConfig",
        "RunConfig",
        "TrainingConfig",
    ),
    "tf_simclrv2.errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "ExportError",
        "RunError",
        "UserError",
    ),
    "tf_simclrv2.models": (
        "ProjectionHead",
        "ResNet",
        "SimCLR",
    ),
    "tf_simclrv2.modules.hub_layer": ("HubLayer",),
    "tf_simclrv2.modules.saved_model": ("save_module",),
    "tf_simclrv2.objectives": (
        "distillation_loss",
        "nt_xent",
    ),
    "tf_simclrv2.optimization": (
        "LARS",
        "WarmupCosine",
    ),
    "tf_simclrv2.tasks": (
        "Distillation",
        "FineTuning",
        "Pretraining",
    ),
    "tf_simclrv2.weights.published_names": ("published_names",),
    "tf_simclrv2.weights.published_weights": (
        "load_published_weights",
        "save_published_checkpoint",
    ),
}
_MODULE_OF_NAME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LARS",
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
    "RunConfig",
    "RunError",
    "SimCLR",
    "TrainingConfig",
    "UserError",
    "WarmupCosine",
    "distillation_loss",
    "load_published_weights",
    "nt_xent",
    "published_names",
    "save_module",
    "save_published_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Keras finds the classes of a saved model only after their modules were imported; whoever has imported Keras
# already expects `import tf_simclrv2` to do that.
if "keras" in sys.modules:
    for _name in __all__:
        __getattr__(_name)
