"""Describes a module in its own files: `simclr.json` for programs, `README.md` for people."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tf_simclrv2.config import DataConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.data.augmentation import EVALUATION_PROPORTION
from tf_simclrv2.data.request_images import MAX_PIXELS, MIN_SIDE
from tf_simclrv2.files import CLASS_NAMES_FILE, DESCRIPTION_FILE, write_atomically
from tf_simclrv2.version import VERSION
from tf_simclrv2.versions import versions
from tf_simclrv2.weights.classes import write_class_names

CARD_FILE = "README.md"

_CARD = """# {title}

{task}, trained with SimCLRv2 (Chen et al. 2020, arXiv 2006.10029) by tf_simclrv2 {version}.

## Use

```python
import tensorflow as tf

module = tf.saved_model.load("THIS_DIRECTORY")
{call}
features = module.signatures["image_bytes"](image_bytes=tf.constant([open("a.jpg", "rb").read()]))
```

To fine-tune, differentiate `module(images, training=True)`, which updates the batch-norm statistics, with
respect to `module.trainable_variables`. `saved_model_cli show --all --dir THIS_DIRECTORY`
lists the signatures.

## Input

`images`: {dtype} [N, height, width, 3], values from 0 to 1; trained at {size} pixels.
`image_bytes`: string [N], JPEG or PNG files, each side at least {min_side} pixels, at most {max_megapixels}
megapixels.
The module preprocesses them: {preprocessing}.

## Output

| endpoint | channels |
|---|---|
{endpoints}

## Training

{training}

## Versions

{versions}
"""


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a module says about itself, in addition to its graph and weights.

    Attributes:
        model: The network as exported.
        run: The run that trained it; None if it is not known.
        api: What a call of the module returns; see `save_module`.
        endpoint_widths: Channels by endpoint.
        class_names: Class names by label; () if they are not known.
        training: `global_step` and evaluation results.
        dtype: The dtype of the images.
    """

    model: ModelConfig
    run: ExperimentConfig | None
    api: str
    endpoint_widths: Mapping[str, int]
    class_names: Sequence[str]
    training: Mapping[str, Any]
    dtype: str

    def write_description(self, directory: str) -> None:
        """Writes `simclr.json`, from which a program learns the architecture and the preprocessing."""
        _write(directory, DESCRIPTION_FILE, self.to_json())

    def to_json(self) -> str:
        """Returns the text of `simclr.json`."""
        return json.dumps(self._description(), indent=2) + "\n"

    def write_readme(self, directory: str) -> None:
        """Writes `README.md`, which shows how to call a SavedModel."""
        _write(directory, CARD_FILE, self._readme())

    def write_class_names(self, directory: str) -> None:
        """Writes `labels.txt`, one class name per line."""
        write_class_names(os.path.join(directory, CLASS_NAMES_FILE), self.class_names)

    def _description(self) -> dict[str, Any]:
        size = self.model.image_size
        return {
            "api": self.api,
            "model": dataclasses.asdict(self.model),
            "run": dataclasses.asdict(self.run) if self.run else None,
            "preprocessing": {
                "image_size": size,
                "central_crop": EVALUATION_PROPORTION if size > 32 else None,
                "resize": "bicubic",
                "background": list(self.data.background_color),
                "range": [0.0, 1.0],
                "dtype": self.dtype,
                "min_side": MIN_SIDE,
                "max_pixels": MAX_PIXELS,
            },
            "endpoints": dict(self.endpoint_widths),
            "class_names": list(self.class_names),
            "training": dict(self.training),
            "versions": versions(),
        }

    def _readme(self) -> str:
        task = (
            f"A classifier of {self.model.num_classes} classes"
            if self.model.num_classes
            else "An image encoder"
        )
        return _CARD.format(
            title=self._title(),
            task=task,
            version=VERSION,
            call=_CALLS[self.api],
            dtype=self.dtype,
            size=self.model.image_size,
            min_side=MIN_SIDE,
            max_megapixels=MAX_PIXELS // 1_000_000,
            preprocessing=self._preprocessing(),
            endpoints="\n".join(f"| `{name}` | {width} |" for name, width in self.endpoint_widths.items()),
            training="\n".join(f"- {name}: {value}" for name, value in self._history().items()),
            versions=", ".join(f"{name} {version}" for name, version in versions().items()),
        )

    @property
    def data(self) -> DataConfig:
        """How the run read its images; the defaults if the run is not known."""
        return self.run.data if self.run else DataConfig()

    def _preprocessing(self) -> str:
        size = self.model.image_size
        crop = f"the central {EVALUATION_PROPORTION:.1%}, " if size > 32 else ""
        steps = f"{crop}a bicubic resize to {size} x {size}"
        return f"oriented according to EXIF, transparency composited onto {self.data.background}, {steps}"

    def _title(self) -> str:
        extras = {"selective kernels": self.model.sk_ratio, "squeeze-and-excitation": self.model.se_ratio}
        used = [name for name, ratio in extras.items() if ratio]
        return ", ".join([f"ResNet-{self.model.resnet_depth} ({self.model.width_multiplier}x)", *used])

    def _history(self) -> dict[str, Any]:
        if self.run is None:
            return {"stage": "not recorded", **self.training}
        stage = f"{self.run.training.train_mode} on {self.run.data.dataset}"
        return {"stage": stage, "batch": self.run.training.train_batch_size, **self.training}


_CALLS = {
    "endpoints": 'h = module(images, training=False)["final_avg_pool"]',
    "feature_vector": "features = module(images, training=False)",
    "classification": "logits = module(images, training=False)",
}


def _write(directory: str, name: str, text: str) -> None:
    write_atomically(os.path.join(directory, name), text)
