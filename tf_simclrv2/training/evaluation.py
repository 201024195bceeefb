"""Evaluation of a run's network at its current step: results, a SavedModel and the report."""

from __future__ import annotations

from typing import Any

import orbit

from tf_simclrv2.data import Share, SkippedImages, evaluation_batches, num_evaluation_batches
from tf_simclrv2.distribution.device_errors import cures_of_evaluation, device_errors_explained
from tf_simclrv2.evaluation.class_accuracy import ClassAccuracy
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.frozen_protocols import (
    FROZEN_PROTOCOLS,
    NOTHING,
    FrozenResult,
    run_frozen_protocols,
)
from tf_simclrv2.modules.saved_model import in_float32, save_module
from tf_simclrv2.progress import Progress, Say, phase
from tf_simclrv2.training.model_dir.metrics_log import MetricsLog
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.orbit_output import orbit_to_log, past_the_log
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.run_report import RunReport
from tf_simclrv2.training.summaries import write_scalars
from tf_simclrv2.training.validation import result_of_validation

Result = dict[str, Any]
TOP_1, TOP_5 = "eval/label_top_1_accuracy", "eval/label_top_5_accuracy"
IMAGES_PER_CLASS = "eval/images_per_class"


class RunEvaluation:
    """Evaluates a run's network at its current step, and writes what was found.

    Args:
        prepared: The run.
        model_dir: Where results go.
        say: Where lines for the user go.
    """

    def __init__(self, prepared: PreparedRun, model_dir: ModelDir, say: Say) -> None:
        self.prepared = prepared
        self.task = prepared.task
        self.plan = prepared.plan
        self.config = prepared.config
        self.strategy = prepared.strategy
        self.chief = prepared.chief
        self.model_dir = model_dir
        self.say = say

    def evaluate(self) -> Result:
        """Evaluates the network; writes result files and, unless it is named, a SavedModel and the report."""
        with device_errors_explained(cures_of_evaluation(self.config.evaluation)):
            return self._evaluate()

    def _evaluate(self) -> Result:
        assert self.plan.eval_source is not None
        step = self._step
        result: Result = {"global_step": step}
        if "online" in self.config.evaluation.protocols:
            result |= self._classify()
        frozen = self._evaluate_frozen()
        result |= frozen.scores
        self._log(result)
        result |= result_of_validation(self.model_dir.path, step)
        if len(frozen.labels):
            counts = ClassAccuracy.of(frozen.labels, frozen.labels)
            result[IMAGES_PER_CLASS] = counts.images_by_class(self.plan.eval_source.class_names)
        path = self.model_dir.write_result(result, step, self.config.run.eval_name)
        if not self.config.run.eval_name:  # Both tell of the split that the run itself is evaluated on.
            if self.config.run.keep_hub_module_max and self.chief:
                self._export(result)
            self.report(result, frozen)
        self._say_result(result, path)
        return result

    def _log(self, result: Result) -> None:
        """Adds the numbers that TensorBoard is shown to `metrics.jsonl`."""
        numbers = {tag: value for tag, value in result.items() if isinstance(value, float)}
        if numbers:
            log = MetricsLog(self.model_dir.path, self.plan.epoch, self.chief)
            log.write(self.config.run.eval_name or "eval", self._step, numbers)

    def _export(self, result: Result) -> None:
        """Writes a SavedModel in float32, completely or not at all."""
        path = self.model_dir.saved_model(self._step)
        with phase("writing the SavedModel", self.say):
            save_module(
                in_float32(self.task.network),
                f"{path}.part",
                self.model_dir.trained_with(self.config),
                class_names=self.plan.class_names,
                training={tag: value for tag, value in result.items() if not isinstance(value, dict)},
            )
        self.model_dir.replace(f"{path}.part", path)
        self.model_dir.prune_saved_models(self.config.run.keep_hub_module_max)

    def report(self, result: Result | None = None, frozen: FrozenResult = NOTHING) -> None:
        """Writes the report of the network at its current step."""
        RunReport(self.prepared, self.model_dir, self.say).write(result or {}, frozen)

    def _evaluate_frozen(self) -> FrozenResult:
        source = self.plan.eval_source
        if not set(self.config.evaluation.protocols) & set(FROZEN_PROTOCOLS) or source is None:
            return NOTHING
        # All workers extract features; the chief alone has the result.
        frozen = run_frozen_protocols(
            self.task.network,
            self.plan.fitted_source,
            source,
            self.config,
            self.say,
            self.strategy,
            pool=self.plan.train_source,
        )
        if self.chief:
            numbers = {tag: value for tag, value in frozen.scores.items() if isinstance(value, float)}
            write_scalars(self._summary_dir, numbers, self._step)
        return frozen

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
        total = num_evaluation_batches(source, batch_size, steps)
        progress = Progress(
            "evaluation, batch", total, past_the_log(self.say), unit="images", per_item=batch_size
        )
        with progress, orbit_to_log():
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
            evaluator = ClassificationEvaluator(self.task, dataset, self.strategy, progress)
            controller = orbit.Controller(
                global_step=self.task.global_step,
                evaluator=evaluator,
                strategy=self.strategy,
                eval_summary_dir=self._summary_dir if self.chief else None,
            )
            with skipped.explained():
                output = controller.evaluate(steps=-1)
        if skipped.count:
            self.say(skipped.summary(source.name))
        result: Result = {tag: float(value) for tag, value in (output or {}).items()}
        accuracy = evaluator.class_accuracy
        if accuracy is None:
            self.say(f"accuracy is not evaluated: no image of {source.name} has a label")
            return result
        return {
            **result,
            **accuracy.results("eval", source.class_names),
            IMAGES_PER_CLASS: accuracy.images_by_class(source.class_names),
        }

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
        where = f" ({path})" if self.chief else ""  # The others do not write it.
        self.say("result: " + ", ".join(parts) + where)
