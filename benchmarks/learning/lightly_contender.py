"""lightly's SimCLR as a contender of `learning_with_peers.py`; a program without TensorFlow.

    python benchmarks/learning/lightly_contender.py FOLDER SEED OUTPUT [--zero_init_residual]
        [--no_last_bias] [--views]

Its transform, loss, head, LARS and schedule, put together as its benchmark of SimCLR does, with the
ResNet of torchvision. With `--zero_init_residual`, its residual blocks begin with a last scale of zero, and
with `--no_last_bias`, the last batch norm of its head has no bias, as those of the other contenders. With
`--views`, it trains nothing, and writes the views that it would train on to the standard output.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock
import torchvision  # pyright: ignore[reportMissingImports]
from lightly.loss import NTXentLoss  # pyright: ignore[reportMissingImports]
from lightly.models.modules import SimCLRProjectionHead  # pyright: ignore[reportMissingImports]
from lightly.models.utils import (  # pyright: ignore[reportMissingImports]
    get_weight_decay_parameters,
)
from lightly.transforms import SimCLRTransform  # pyright: ignore[reportMissingImports]
from lightly.utils.lars import LARS  # pyright: ignore[reportMissingImports]
from lightly.utils.scheduler import CosineWarmupScheduler  # pyright: ignore[reportMissingImports]
from PIL import Image
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.learning.recording import run, write_views
from benchmarks.learning.settings import Settings


class Pictures(Dataset):
    """Pairs of views of images in memory."""

    def __init__(self, images: np.ndarray, transform: SimCLRTransform) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list:
        return self.transform(Image.fromarray(self.images[index]).convert("RGB"))


class Lightly:
    """A loop in PyTorch.

    Args:
        settings: What to train.
        folder: Holds `images.npz`.
        seed: Of weights and views.
        zero_init_residual: Whether the last scale of each residual block begins at zero.
        last_bias: Whether the last batch norm of the head has a bias.
    """

    def __init__(
        self,
        settings: Settings,
        folder: pathlib.Path,
        seed: int,
        zero_init_residual: bool = False,
        last_bias: bool = True,
    ) -> None:
        torch.manual_seed(seed)
        self._settings = settings
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._backbone = self._placed(backbone(settings, zero_init_residual))
        head = SimCLRProjectionHead(512, 512, settings.out_dim, num_layers=settings.head_layers)
        *_, last_norm = (module for module in head.modules() if isinstance(module, nn.BatchNorm1d))
        last_norm.bias.requires_grad_(last_bias)  # It begins at zero.
        self._head = self._placed(head)
        self._loss = NTXentLoss(temperature=settings.temperature)
        decayed, plain = get_weight_decay_parameters([self._backbone, self._head])
        self._optimizer = LARS(
            [{"params": decayed}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        steps = settings.steps_per_epoch
        self._schedule = CosineWarmupScheduler(
            self._optimizer, settings.warmup_epochs * steps, settings.epochs * steps, end_value=0.0
        )
        with np.load(folder / "images.npz") as file:
            images = file["train_images"]
        transform = SimCLRTransform(
            input_size=settings.image_size,
            min_scale=0.1,  # The others cover a tenth of the image at least.
            cj_strength=settings.color_jitter_strength,
            gaussian_blur=0.0,
            normalize=None,
        )
        # Next to a GPU a worker for each core; one core has nothing to gain from another process.
        cores = len(os.sched_getaffinity(0))
        loader = DataLoader(
            Pictures(images, transform),
            settings.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=cores if cores > 1 else 0,
            persistent_workers=cores > 1,
            pin_memory=self._device.type == "cuda",
        )
        self._views = itertools.chain.from_iterable(itertools.repeat(loader))

    def train(self, steps: int) -> None:
        """Goes on for some steps."""
        self._backbone.train()
        for _ in range(steps):
            self._step(torch.cat(next(self._views)).to(self._device, memory_format=torch.channels_last))
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def views(self) -> Iterator[np.ndarray]:
        """Both views of each batch, one after the other, uint8 [2, B, S, S, 3]."""
        for views in self._views:
            pixels = torch.stack(views).permute(0, 1, 3, 4, 2).mul(255.0).round()
            yield pixels.to(torch.uint8).numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's output."""
        self._backbone.eval()
        with torch.inference_mode():
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._device)
            return self._backbone(batch.float() / 255.0).float().cpu().numpy()

    def _step(self, views: torch.Tensor) -> None:
        with self._arithmetic():
            z = self._head(self._backbone(views))
        first, second = z.float().chunk(2)
        loss = self._loss(first, second)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()

    def _arithmetic(self) -> contextlib.AbstractContextManager:
        if self._settings.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _placed(self, module: nn.Module) -> nn.Module:
        return module.to(self._device, memory_format=torch.channels_last)


def backbone(settings: Settings, zero_init_residual: bool) -> nn.Module:
    """ResNet-18 of torchvision without its classifier; up to 32 pixels, with a stem for small images."""
    if settings.depth != 18:
        raise ValueError(f"depth is {settings.depth}; only 18 is set up for lightly.")
    network = torchvision.models.resnet18(zero_init_residual=zero_init_residual)
    network.fc = nn.Identity()
    if settings.image_size <= 32:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network


if __name__ == "__main__":
    contender = functools.partial(
        Lightly,
        zero_init_residual="--zero_init_residual" in sys.argv,
        last_bias="--no_last_bias" not in sys.argv,
    )
    if "--views" in sys.argv:
        write_views(contender)
    else:
        run(contender)
