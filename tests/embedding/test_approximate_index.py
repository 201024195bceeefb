"""What the index finds is compared with what comparing everything finds; it follows its embedding file."""

import json
import os
import pathlib

import numpy as np
import pytest

from tests.embedding.made_up import embeddings_of, written
from tests.training.small_runs import Lines
from tf_simclrv2.embedding.search import Hits, search
from tf_simclrv2.embedding.search_config import SearchConfig

pytest.importorskip("faiss", reason="the extra search is not installed")
from tf_simclrv2.embedding.approximate_index import RECALL, SUFFIX

COUNT, WIDTH, KINDS = 6000, 64, 60


def clustered(rng: np.random.Generator, count: int) -> np.ndarray:
    """Embeddings of images of 60 kinds, each with eight ways to differ from its kind."""
    kinds = np.random.default_rng(0).standard_normal([KINDS, 8])
    mixing = np.random.default_rng(1).standard_normal([8, WIDTH])
    inner = kinds[rng.integers(KINDS, size=count)] + 0.5 * rng.standard_normal([count, 8])
    return np.maximum(inner @ mixing + 0.05 * rng.standard_normal([count, WIDTH]), 0)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> tuple[str, str]:
    """A file of images, and one of queries."""
    folder, rng = tmp_path_factory.mktemp("clustered"), np.random.default_rng(2)
    return written(embeddings_of(clustered(rng, COUNT)), folder / "all.npz"), written(
        embeddings_of(clustered(rng, 300), "query"), folder / "queries.parquet"
    )


def hits_of(file: str, *queries: str, index: str = "approximate", k: int = 10) -> tuple[Hits, Lines]:
    said = Lines()
    return search(SearchConfig(file, queries, k=k, index=index), said.append), said


def recall(found: Hits, exact: Hits) -> float:
    rows = zip(found.neighbors.index, exact.neighbors.index, strict=True)
    return float(np.mean([np.isin(right, got).mean() for got, right in rows]))


def test_it_finds_most_of_the_nearest_in_a_part_of_the_lists(made_up):
    found, _ = hits_of(*made_up)
    exact, _ = hits_of(*made_up, index="exact")
    known = json.loads(pathlib.Path(f"{made_up[0]}{SUFFIX}.json").read_text())
    assert recall(found, exact) >= 0.95
    assert known["recall"] >= RECALL and known["lists"] <= 40
    for (_, got), (_, right) in zip(found, exact, strict=True):
        cosines = {name: cosine for name, cosine, _ in right}
        assert len(got) == 10
        for name, cosine, _ in got:
            assert name not in cosines or abs(cosine - cosines[name]) < 1e-5


def test_an_image_is_not_its_own_neighbor(made_up):
    found = dict(hits_of(made_up[0], "image 7", "image 90")[0])
    exact = dict(hits_of(made_up[0], "image 7", "image 90", index="exact")[0])
    for name, got in found.items():
        assert len(got) == 10 and name not in [hit for hit, _, _ in got]
        assert got[0][0] == exact[name][0][0]


def test_as_many_are_found_as_are_wanted(made_up):
    """Those of a few lists do not suffice, and of all images the query itself does not count."""
    found, _ = hits_of(made_up[0], "image 7", k=COUNT + 1)
    exact, _ = hits_of(made_up[0], "image 7", k=COUNT + 1, index="exact")
    ((_, got),), ((_, right),) = found, exact
    assert len(got) == len(right) == COUNT - 1
    assert {name for name, _, _ in got} == {name for name, _, _ in right}


def test_a_file_of_a_few_images_has_an_index_too(tmp_path):
    for count in (1, 5):
        file = written(embeddings_of(np.eye(8)[:count] + 0.1), tmp_path / f"{count}.npz")
        ((_, found),), _ = hits_of(file, "image 0")
        assert len(found) == count - 1


def is_built(said: Lines) -> bool:
    return any(line.startswith("index of ") for line in said)


def test_the_index_is_kept_until_the_embeddings_change(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "all.npz"
    file = written(embeddings_of(clustered(rng, 2000)), path)
    first, said = hits_of(file, "image 3")
    assert is_built(said)
    again, said = hits_of(file, "image 3")
    assert not is_built(said)
    np.testing.assert_array_equal(again.neighbors.index, first.neighbors.index)
    before = os.stat(file)
    written(embeddings_of(clustered(rng, 2000)), path)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # However fast it was written.
    assert os.stat(file).st_size == before.st_size
    other, said = hits_of(file, "image 3")
    assert is_built(said) and any("is of an earlier" in line for line in said)
    assert recall(other, hits_of(file, "image 3", index="exact")[0]) >= 0.9


@pytest.mark.parametrize("ending", [SUFFIX, f"{SUFFIX}.json"])
@pytest.mark.parametrize("lost", [0.5, 0.01])
def test_a_damaged_index_is_built_again(tmp_path, ending, lost):
    file = written(embeddings_of(clustered(np.random.default_rng(4), 1000)), tmp_path / "all.npz")
    expected, _ = hits_of(file, "image 3")
    whole = pathlib.Path(f"{file}{ending}").read_bytes()
    pathlib.Path(f"{file}{ending}").write_bytes(whole[: -int(lost * len(whole)) - 1])
    found, said = hits_of(file, "image 3")
    assert is_built(said) and any("is damaged and is rebuilt" in line for line in said)
    np.testing.assert_array_equal(found.neighbors.index, expected.neighbors.index)


def test_where_it_cannot_be_kept_a_line_says_so(tmp_path):
    file = written(embeddings_of(clustered(np.random.default_rng(5), 1000)), tmp_path / "all.npz")
    pathlib.Path(f"{file}{SUFFIX}.part").mkdir()
    found, said = hits_of(file, "image 3")
    assert any("the index cannot be saved in" in line for line in said)
    assert recall(found, hits_of(file, "image 3", index="exact")[0]) >= 0.9
