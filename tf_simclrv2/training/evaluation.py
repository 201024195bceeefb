"""Evaluation of a run's network at its current step: results, a SavedModel and the report."""

from __future__ import annotations

from typing import Any

import orbit

from tf_simclrv2.data import Share, SkippedImages, evaluation_batches, num_evaluation_batches
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.frozen_protocols import FROZEN_PROTOCOLS, run_frozen_protocols
from tf_simclrv2.modules.saved_model import in_float32, save_module
from tf_simclrv2.progress import Progress, Say
from tf_simclrv2.report.build import write_report
from tf_simclrv2.report.observe import BATCH, observe
from tf_simclrv2.report.projector import write_projector
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.orbit_output import orbit_to_log, to_present_stdout
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.summaries import write_scalars

Result = dict[str, Any]
TOP_1, TOP_5 = "eval/label_top_1_accuracy", "eval/label_top_5_accuracy"


class RunEvaluation:
    """Evaluates a run's network at its current step, and writes what was found.

    Args:
        prepared: The run.
        model_dir: Where results go.
        say: Where lines for the user go.
    """

    def __init__(self, prepared: PreparedRun, model_dir: ModelDir, say: Say) -> None:
        self.task = prepared.task
        self.plan = prepared.plan
        self.config = prepared.config
        self.strategy = prepared.strategy
        self.chief = prepared.chief
        self.model_dir = model_dir
        self.batches = prepared.batches
        self.say = say

    def evaluate(self) -> Result:
        """Evaluates the network, and writes result files, a SavedModel and the report."""
        assert self.plan.eval_source is not None
        step = self._step
        result: Result = {"global_step": step}
        if "online" in self.config.evaluation.protocols:
            result |= self._classify()
        frozen = any(protocol in FROZEN_PROTOCOLS for protocol in self.config.evaluation.protocols)
        if frozen and self.chief:
            found = run_frozen_protocols(
                self.task.network, self.plan.train_source, self.plan.eval_source, self.config, self.say
            )
            write_scalars(self._summary_dir, found, step)
            result |= found
        path = self.model_dir.write_result(result, step, self.config.run.eval_name)
        if self.config.run.keep_hub_module_max and self.chief:
            self._export(result)
        self.report()
        self._say_result(result, path)
        return result

    def _export(self, result: Result) -> None:
        """Writes a SavedModel in float32, completely or not at all."""
        path = self.model_dir.saved_model(self._step)
        save_module(
            in_float32(self.task.network),
            f"{path}.part",
            self.config,
            class_names=self.plan.class_names,
            training=result,
        )
        self.model_dir.replace(f"{path}.part", path)
        self.model_dir.prune_saved_models(self.config.run.keep_hub_module_max)

    def report(self) -> None:
        """Writes `report.html` and TensorBoard's projector; if that fails, the run still succeeds."""
        most = self.config.run.report_images
        if not (most and self.chief):
            return
        try:
            trained_on = self.plan.train_source
            seen = observe(
                self.task,
                self.plan.eval_source or trained_on,
                self.batches.first(BATCH),
                train_examples=trained_on.num_examples,
                most=most,
                say=self.say,
            )
            seen.save(self.model_dir.path)
            write_projector(self.model_dir.path, seen)
            self.say(f"report: {write_report(self.model_dir.path)}")
        except Exception as error:
            self.say(
                f"the report could not be written ({type(error).__name__}: {error}); the run is complete"
            )

    def _classify(self) -> Result:
        source = self.plan.eval_source
        assert source is not None
        if not (self.config.model.num_classes and source.has_labels):
            self.say(
                "accuracy is not evaluated: there is no classifier, or the evaluation split has no labels"
            )
            return {"eval/regularization_loss": float(self.task.weight_decay())}
        batch_size, steps = self.config.evaluation.eval_batch_size, self.config.evaluation.eval_steps
        skipped = SkippedImages(source.num_examples, self.config.data.max_skipped_fraction)
        dataset = self.strategy.distribute_datasets_from_function(
            lambda context: evaluation_batches(
                source,
                image_size=self.config.model.image_size,
                batch_size=batch_size,
                skipped=skipped,
                share=Share.of_context(context),
                steps=steps,
            )
        )
        total = num_evaluation_batches(source, batch_size, steps)
        progress = Progress(
            "evaluation, batch", total, to_present_stdout(self.say), unit="images", per_item=batch_size
        )
        evaluator = ClassificationEvaluator(self.task, dataset, self.strategy, progress)
        with progress, orbit_to_log():
            controller = orbit.Controller(
                global_step=self.task.global_step,
                evaluator=evaluator,
                strategy=self.strategy,
                eval_summary_dir=self._summary_dir if self.chief else None,
            )
            with skipped.explained():
                output = controller.evaluate(steps=-1)
        result = {tag: float(value) for tag, value in (output or {}).items()}
        if TOP_1 not in result:
            self.say(f"accuracy is not evaluated: no image of {source.name} has a label")
        return result

    @property
    def _summary_dir(self) -> str:
        return f"{self.model_dir.path}/{self.config.run.eval_name or 'eval'}"

    @property
    def _step(self) -> int:
        return int(self.task.global_step.numpy())

    def _say_result(self, result: Result, path: str) -> None:
        parts = [f"step {result['global_step']:,}"]
        for tag, name in ((TOP_1, "top-1"), (TOP_5, "top-5")):
            if tag in result:
                parts.append(f"{name} {result[tag]:.4f}")
        self.say("result: " + ", ".join(parts) + f" ({path})")
