"""A page has as many pictures as a browser shows quickly."""

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.embedding import contact_sheet as sheets
from tf_simclrv2.embedding.contact_sheet import Card, Row, contact_sheet
from tf_simclrv2.embedding.embeddings import Origin


@pytest.fixture
def cards(tmp_path) -> list[Card]:
    origin = Origin(folder=str(tmp_path))
    for number in range(8):
        pixels = np.full([4, 4, 3], 30 * number, np.uint8)
        (tmp_path / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return [Card(f"{number}.png", origin) for number in range(8)]


def test_a_long_row_ends_where_the_page_is_full(cards, monkeypatch):
    monkeypatch.setattr(sheets, "MOST", 5)
    page = contact_sheet("Similar", [], [Row("a", cards), Row("b", cards[:2])], "")
    assert page.count("data:image/webp") == 5
    assert "3 images of the last row are left out" in page and "1 further rows are left out" in page


def test_a_page_that_is_not_full_says_nothing(cards):
    page = contact_sheet("Similar", [], [Row("a", cards, first=cards[0]), Row("b", cards[:2])], "")
    assert page.count("data:image/webp") == 11 and "left out" not in page
