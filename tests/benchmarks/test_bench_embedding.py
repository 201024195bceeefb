"""The benchmark of embedding: what it times, and the shares that it prints."""

import functools

import pytest

from benchmarks import embedding_speed
from benchmarks.measuring.pictures import write_pictures
from tf_simclrv2.embedding.embed import Embedder
from tf_simclrv2.embedding.images import find_images


def test_shares_of_the_slower_and_of_both_in_turn():
    # 100 and 50 images a second take 10 + 20 ms an image one after the other.
    slower, both = embedding_speed.shares({"pipeline": 100.0, "network": 50.0, "embed": 40.0})
    assert (slower, both) == (pytest.approx(0.8), pytest.approx(1.2))


def test_every_pass_sees_all_images(tmp_path, monkeypatch):
    write_pictures(tmp_path / "pictures", 4)
    path = embedding_speed.saved_network(str(tmp_path), 18, 8)
    embedder = Embedder(path, "final_avg_pool", lambda line: None, "one_device")
    images = find_images(str(tmp_path / "pictures" / "train"))
    seen = []

    def batches_seen(*arguments, batches, **options):
        for batch in batches(*arguments, **options):
            seen.append(len(batch["image"]) if isinstance(batch, dict) else len(batch))
            yield batch

    for owner, name in ((embedding_speed, "evaluation_batches"), (embedder, "batches")):
        real = functools.partial(batches_seen, batches=getattr(owner, name))
        monkeypatch.setattr(owner, name, real)
    timed = embedding_speed.passes(embedder, images, 2)
    for name in ("pipeline", "embed"):
        seen.clear()
        timed[name]()
        assert sum(seen) == 4
    found = embedding_speed.rates(timed, 4, rounds=1)
    assert set(found) == {"pipeline", "network", "embed"} and min(found.values()) > 0
