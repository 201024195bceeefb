import numpy as np
import pytest

from tf_simclrv2.evaluation import similar_pairs as module
from tf_simclrv2.evaluation.similar_pairs import similar_pairs


@pytest.mark.parametrize("rows", [7, 4096])
@pytest.mark.parametrize("within", [True, False])
def test_all_pairs_and_no_other(monkeypatch, rows, within):
    monkeypatch.setattr(module, "_ROWS", rows)
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal([30, 4]), rng.standard_normal([20, 4])
    other = a if within else b
    cosines = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (
        other / np.linalg.norm(other, axis=1, keepdims=True)
    ).T
    expected = {(i, j): cosines[i, j] for i, j in np.argwhere(cosines > 0.7).tolist() if not within or i < j}
    found = [
        ((int(i), int(j)), float(cosine))
        for pairs in similar_pairs(a, None if within else b, 0.7)
        for i, j, cosine in zip(*pairs, strict=True)
    ]
    assert len(found) == len(expected) > 10
    assert dict(found) == pytest.approx(expected, abs=1e-6)
