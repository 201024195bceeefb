"""Exports the network of a run in one of five formats, and checks the export before it is published."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable

from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.export.staging import stage
from tf_simclrv2.export.tflite import write_tflite
from tf_simclrv2.export.trained_network import TrainedNetwork, load_trained_network
from tf_simclrv2.export.verification import verify_module, verify_onnx, verify_tflite
from tf_simclrv2.models import SimCLR
from tf_simclrv2.modules.call_results import RESULTS
from tf_simclrv2.modules.model_card import ModelCard
from tf_simclrv2.modules.module_archive import pack_module, unpack_module
from tf_simclrv2.modules.saved_model import describe, exported_network, save_module
from tf_simclrv2.progress import Progress, say_at_once


def export(config: ExportConfig) -> str:
    """Exports a network and checks the export in a fresh process without this package.

    Args:
        config: What to export, and where to.

    Returns:
        A line with the path of the export and its largest difference from the network.

    Raises:
        CheckpointError: There are no weights to export.
        ConfigError: The network has no such endpoint.
        ExportError: The output exists or cannot be written, or the check failed. Nothing is written then.
    """
    steps = Progress("export, step", 3, say_at_once, unit="steps")
    with steps, stage(config.target, config.overwrite) as part:
        trained = load_trained_network(config.model_dir)
        network = exported_network(trained.network, config.api, config.endpoint)
        steps.advance({"now": "writing"})
        found = _WRITERS[config.format](_Job(network, trained, config, steps), part)
    if config.format == "serving":
        from tf_simclrv2.export.serving_bundle import write_models_config

        write_models_config(config.output)
    return f"exported to {config.target} (checked in a fresh process: {found})"


@dataclasses.dataclass(frozen=True)
class _Job:
    """The arguments of a writer."""

    network: SimCLR
    trained: TrainedNetwork
    config: ExportConfig
    steps: Progress


def _write_saved_model(job: _Job, path: str) -> str:
    _save(job, path)
    return _verify(job, path)


def _write_hub(job: _Job, path: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        module, unpacked = os.path.join(folder, "module"), os.path.join(folder, "unpacked")
        _save(job, module)
        pack_module(module, path)
        unpack_module(path, unpacked)
        return _verify(job, unpacked)


def _write_serving(job: _Job, path: str) -> str:
    from tf_simclrv2.export.serving_bundle import write_warmup

    found = _write_saved_model(job, path)
    write_warmup(job.network, path, job.config.name)
    return found


def _write_tflite(job: _Job, path: str) -> str:
    network, trained = job.network, job.trained
    os.makedirs(path)
    write_tflite(network, path)
    card = describe(network, trained.config, job.config.api, trained.class_names, trained.training)
    _write_card(card, path)
    job.steps.advance({"now": "checking in a fresh process"})
    found = verify_tflite(network, path)
    job.steps.advance()
    return found


def _write_onnx(job: _Job, path: str) -> str:
    from tf_simclrv2.export.onnx_file import ONNX_FILE, ONNX_SUFFIX, write_onnx

    network, trained = job.network, job.trained
    card = describe(network, trained.config, job.config.api, trained.class_names, trained.training)
    file = path
    if not job.config.output.endswith(ONNX_SUFFIX):
        os.makedirs(path)
        file = os.path.join(path, ONNX_FILE)
        _write_card(card, path)
    write_onnx(network, file, card.to_json())
    job.steps.advance({"now": "checking in a fresh process"})
    difference = verify_onnx(network, file)
    job.steps.advance()
    return f"largest difference {difference:.1e}"


def _write_card(card: ModelCard, directory: str) -> None:
    card.write_description(directory)
    if card.class_names:
        card.write_class_names(directory)


def _save(job: _Job, path: str) -> None:
    save_module(
        job.network,
        path,
        job.trained.config,
        api=job.config.api,
        endpoint=job.config.endpoint,
        class_names=job.trained.class_names,
        training=job.trained.training,
    )


def _verify(job: _Job, path: str) -> str:
    job.steps.advance({"now": "checking in a fresh process"})
    difference = verify_module(job.network, path, RESULTS.get(job.config.api))
    job.steps.advance()
    return f"largest difference {difference:.1e}"


_WRITERS: dict[str, Callable[[_Job, str], str]] = {
    "saved_model": _write_saved_model,
    "hub": _write_hub,
    "serving": _write_serving,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}
