"""What is found is what comparing everything with everything finds."""

import csv
import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.embedding.made_up import embeddings_of, written
from tf_simclrv2 import ConfigError, DataError, RunError
from tf_simclrv2.embedding import search as search_module
from tf_simclrv2.embedding.embedding_file import read_embeddings
from tf_simclrv2.embedding.search import search
from tf_simclrv2.embedding.search_config import SearchConfig

RNG = np.random.default_rng(3)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A file of 300 images, and one of 20 others, of the same network."""
    folder = tmp_path_factory.mktemp("made_up")
    searched, asked = RNG.standard_normal([300, 16]), RNG.standard_normal([20, 16])
    return written(embeddings_of(searched), folder / "all.npz"), written(
        embeddings_of(asked, "query"), folder / "queries.parquet"
    )


def test_the_nearest_are_found(made_up):
    all_file, query_file = made_up
    hits = search(SearchConfig(all_file, (query_file,), k=5), print)
    searched, asked = read_embeddings(all_file), read_embeddings(query_file)
    expected = cosines(asked.vectors, searched.vectors)
    for row, (name, found) in enumerate(hits):
        order = np.argsort(-expected[row])[:5]
        assert name == asked.names[row]
        assert [hit for hit, _, _ in found] == searched.names[order].tolist()
        np.testing.assert_allclose([cosine for _, cosine, _ in found], expected[row][order], atol=1e-6)


def test_memory_that_runs_out_is_a_sentence(made_up, monkeypatch):
    all_file, query_file = made_up
    monkeypatch.setattr(search_module, "nearest_rows", lambda *_: tf.zeros([2**45]))
    with pytest.raises(RunError, match=r"out of memory \(OOM .*; compute on the CPU \(CUDA_VISIBLE_DEVICES"):
        search(SearchConfig(all_file, (query_file,)), print)


def test_an_image_is_not_its_own_neighbor(made_up):
    all_file, _ = made_up
    hits = dict(search(SearchConfig(all_file, ("image 7", "image 9"), k=400), print))
    for name, found in hits.items():
        assert len(found) == 299 and name not in [hit for hit, _, _ in found]


def test_files_and_folders_are_embedded_by_the_network_that_made_the_file(file, pictures):
    everything = read_embeddings(str(file))
    query = "test/red/5.png"
    hits = dict(search(SearchConfig(str(file), (str(pictures / query), query), k=3), print))
    as_file, as_row = hits[str(pictures / query)], hits[query]
    assert [hit for hit, _, _ in as_file] == [hit for hit, _, _ in as_row]
    np.testing.assert_allclose([c for _, c, _ in as_file], [c for _, c, _ in as_row], atol=1e-5)
    folder = dict(search(SearchConfig(str(file), (str(pictures / "test" / "red"),), k=3), print))
    assert len(folder) == sum(name.startswith("test/red/") for name in everything.names)


def test_page_table_and_json_say_the_same(file, pictures, tmp_path):
    outputs = tuple(str(tmp_path / f"hits.{kind}") for kind in ("html", "csv", "json"))
    hits = list(search(SearchConfig(str(file), ("test/red/5.png",), k=4, outputs=outputs), print))
    page = (tmp_path / "hits.html").read_text()
    with (tmp_path / "hits.csv").open() as table:
        rows = list(csv.DictReader(table))
    values = json.loads((tmp_path / "hits.json").read_text())
    ((query, found),) = hits
    assert [row["path"] for row in rows] == [hit for hit, _, _ in found]
    assert [each["path"] for each in values[0]["found"]] == [hit for hit, _, _ in found]
    assert values[0]["query"] == rows[0]["query"] == query
    sources = re.findall(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]*)"', page)
    assert [alt.split(",")[0] for alt in sources] == [query, *(hit for hit, _, _ in found)]
    assert 'href="' in page and "http" not in page.split("</style>")[1]


def test_embeddings_of_another_network_are_refused(made_up, tmp_path):
    all_file, _ = made_up
    other = written(embeddings_of(RNG.standard_normal([2, 16]), network="b" * 16), tmp_path / "b.npz")
    with pytest.raises(DataError, match=rf"weights {'b' * 16}, .*embed both with the same network"):
        search(SearchConfig(all_file, (other,)), print)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": ()}, "there is no query"),
        ({"k": 0}, "k is 0; it must be a finite number of at least 1"),
        ({"index": "fast"}, "index is 'fast'; choose one of exact, approximate"),
        ({"outputs": ("hits.txt",)}, "ends in .html, .csv, .json"),
        ({"outputs": ("/nowhere/hits.csv",)}, "the folder '/nowhere' does not exist"),
        ({"queries": ("./hits.csv",), "outputs": ("hits.csv",)}, "output is 'hits.csv', which is read too"),
    ],
)
def test_settings_that_cannot_be_used(made_up, changes, message):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**{"embeddings": made_up[0], "queries": ("image 1",), **changes})


def test_an_exact_search_among_many_names_the_faster_one(made_up, monkeypatch):
    said = []
    search(SearchConfig(made_up[0], ("image 7",)), said.append)
    assert not any("--index=approximate" in line for line in said)
    monkeypatch.setattr("tf_simclrv2.embedding.search._MANY", 10)
    search(SearchConfig(made_up[0], ("image 7",)), said.append)
    assert [line for line in said if "--index=approximate finds most of them faster" in line]


def test_the_approximate_search_says_which_package_it_lacks(made_up, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'needs faiss; install with pip install "tf_simclrv2\[search\]"'):
        SearchConfig(made_up[0], ("image 1",), index="approximate")


def test_what_is_not_there(made_up, tmp_path):
    with pytest.raises(DataError, match=r"'nobody\.png' is neither an image of the embedding file, such as"):
        search(SearchConfig(made_up[0], ("nobody.png",)), print)
    with pytest.raises(DataError, match="does not exist; simclrv2 embed writes one"):
        search(SearchConfig(str(tmp_path / "none.npz"), ("image 1",)), print)
    (tmp_path / "notes.txt").write_text("image 1\n")
    with pytest.raises(DataError, match=r"notes\.txt' is not an embedding file, which ends in \.parquet"):
        search(SearchConfig(str(tmp_path / "notes.txt"), ("image 1",)), print)


def test_another_file_of_a_dataset_has_the_same_images(made_up, tmp_path):
    """They have names, but no folder."""
    all_file, _ = made_up
    for query, found in search(SearchConfig(all_file, (all_file,), k=2), print):
        assert query not in [hit for hit, _, _ in found]


@pytest.mark.parametrize(
    ("name", "contents"),
    [("empty.npz", b""), ("array.npz", None), ("quote.csv", b'path,class\n"' + b"x" * 200_000)],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, name, contents):
    if contents is None:
        with (tmp_path / name).open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError, match=f"{name}' is not a complete embedding file"):
        read_embeddings(str(tmp_path / name))


@pytest.mark.parametrize("extension", [".parquet", ".npz", ".csv"])
def test_a_damaged_file_is_refused_by_name(made_up, tmp_path, extension):
    whole = written(read_embeddings(made_up[0]), tmp_path / f"whole{extension}")
    contents = pathlib.Path(whole).read_bytes()
    for name, damaged in {"short": contents[: len(contents) // 2 - 3], "text": b"no embeddings"}.items():
        path = tmp_path / f"{name}{extension}"
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name}{extension}' is not a complete embedding file"):
            read_embeddings(str(path))
