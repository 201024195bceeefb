"""What the report keeps of a split's images."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from tests.training.small_runs import config_for
from tf_simclrv2 import SimCLR
from tf_simclrv2.data import load_source
from tf_simclrv2.distribution import compilation
from tf_simclrv2.evaluation import features
from tf_simclrv2.report.split_sample import SplitSample, SplitSampler


def test_networks_are_compiled_as_the_run_says(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(tmp_path)
    network = SimCLR(dataclasses.replace(config.model, num_classes=10))
    network.build((None, 8, 8, 3))
    source = load_source(config.data, "train[:20]")

    def sample(compile: str) -> SplitSample:
        chosen = dataclasses.replace(config.training, compile=compile)
        of_run = dataclasses.replace(config, training=chosen)
        return SplitSampler(network, {"random": network}, of_run, 20, lambda line: None)(source)

    plain = sample("none")
    modes = []

    def noted(function, mode):
        modes.append(mode)
        return compilation.compiled(function, mode)

    monkeypatch.setattr(features, "compiled", noted)
    found = sample("xla")
    assert modes == ["xla", "xla"]
    np.testing.assert_allclose(found.h, plain.h, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.baselines["random"], plain.h, rtol=1e-4, atol=1e-5)
