"""Names of slices, against what Google's documentation and the TPU's compiler say of them."""

from __future__ import annotations

import pytest

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal.tpu_slice import parse_slice


@pytest.mark.parametrize(
    "name, topology, replicas",
    [
        ("v2-8", "v2:2x2", 8),
        ("v3-8", "v3:2x2", 8),
        ("v3-32", "v3:4x4", 32),
        ("v3-64", "v3:4x8", 64),
        ("v3-128", "v3:8x8", 128),
        ("v4-8", "v4:2x2x1", 8),
        ("v4-16", "v4:2x2x2", 16),
        ("v4-32", "v4:2x2x4", 32),
        ("v4-128", "v4:4x4x4", 128),
        ("v5p-16", "v5p:2x2x2", 8),
        ("v5e-1", "v5e:1x1", 1),
        ("v5e-4", "v5e:2x2", 4),
        ("v5e-8", "v5e:2x4", 8),
        ("v5e-64", "v5e:8x8", 64),
        ("v5e:4x8", "v5e:4x8", 32),
        ("v5litepod-16", "v5e:4x4", 16),
        ("v6e-8", "v6e:2x4", 8),
        ("v3-2048", "v3:32x32", 2048),
        ("v4:2x2x4", "v4:2x2x4", 32),
    ],
)
def test_names(name: str, topology: str, replicas: int) -> None:
    tpu = parse_slice(name)
    assert (tpu.topology, tpu.replicas) == (topology, replicas)


@pytest.mark.parametrize(
    "name, cure",
    [
        ("", "v3-8 or v5e-8"),
        ("v9-8", "use one of v2, v3, v4"),
        ("h100", "use one of v2"),
        ("v5e", "v5e:4x8"),
        ("v5e-6", "use one of v5e-1, v5e-4, v5e-8, v5e-16, v5e-32, v5e-64, v5e-128, v5e-256, or"),
        ("v5e-0", "use one of v5e-1"),
        ("v5e-512", "use one of v5e-1"),
        ("v3-4", "use one of v3-8, "),
        ("v5e:16x32", "at most 256 chips"),
        ("v4:2x2", "use, for example, v4:2x2x2"),
        ("v5e:2x2x2", "use, for example, v5e:2x2"),
        ("v5e:0x4", "at least one chip"),
    ],
)
def test_what_is_no_slice_is_refused(name: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=f"tpu is '{name}'.*{cure}"):
        parse_slice(name)
