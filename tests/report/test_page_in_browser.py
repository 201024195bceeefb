"""The pages in a real Chromium, on a phone and on a desk, in light and in dark."""

import dataclasses
import pathlib

import pytest

from tests.report.browser import Browser
from tests.report.made_up_runs import made_up_run, observed
from tf_simclrv2.report.build import write_comparison, write_report

PHONE, DESK = 390, 1440

# Elements that stick out of the screen, unless what holds them scrolls.
STICKING_OUT = """
    [...document.body.querySelectorAll("*")].filter(element =>
        element.getBoundingClientRect().right > screen.width + 1 && !element.closest(".scroll")
    ).map(element => element.outerHTML.slice(0, 80))
"""
UNSEEN = """
    [...document.images].filter(image => !image.alt || !image.naturalWidth).length
    + [...document.querySelectorAll("svg")].filter(svg => !svg.getAttribute("aria-label")
        || svg.getBoundingClientRect().height < 100).length
"""
# Of text on what is behind it, as WCAG 2 computes it; 4.5 is its bar.
LEAST_CONTRAST = """
    (() => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const linear = value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
        const luminance = color => {
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(byte => linear(byte / 255));
            return .2126 * r + .7152 * g + .0722 * b;
        };
        const paper = element => {
            const color = getComputedStyle(element).backgroundColor;
            const clear = color === "rgba(0, 0, 0, 0)" && element.parentElement;
            return clear ? paper(element.parentElement) : color;
        };
        const texts = document.querySelectorAll("h1, h2, h3, p, dt, dd, a, li, summary, svg text, .mark");
        return Math.min(...[...texts].map(element => {
            const style = getComputedStyle(element);
            const ink = luminance(element.tagName === "text" ? style.fill : style.color);
            const back = luminance(paper(element));
            return (Math.max(ink, back) + .05) / (Math.min(ink, back) + .05);
        }));
    })()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, pathlib.Path]:
    """A report and a comparison."""
    root = tmp_path_factory.mktemp("pages")
    runs = [
        str(made_up_run(root / name, train_mode=mode, label_fraction=part))
        for name, mode, part in (
            ("pretrained", "pretrain", 1.0),
            ("supervised_with_a_very_long_name_that_does_not_wrap", "supervised", 0.1),
            ("supervised", "supervised", 1.0),
        )
    ]
    return {
        "report": pathlib.Path(write_report(runs[0])),
        "comparison": pathlib.Path(write_comparison(runs, str(root / "comparison.html"))),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", ["report", "comparison"])
def test_a_page_is_whole_and_fits(browser, pages, page, width, dark):
    browser.open(pages[page], width, dark)
    assert browser.complaints() == []
    assert browser.requests() == [pages[page].as_uri()]
    assert browser.evaluate("screen.width") == width
    assert browser.evaluate(STICKING_OUT) == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(UNSEEN) == 0
    assert browser.evaluate(LEAST_CONTRAST) >= 4.5
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark


WIDER_THAN_ITS_CARD = """
    [...document.querySelectorAll("#confusion .scroll")].some(card => card.scrollWidth > card.clientWidth)
"""


@pytest.mark.parametrize("name", ["short", "quite a long name of a class"])
def test_a_matrix_of_twenty_classes_fits_on_a_desk(browser, tmp_path, name):
    run = made_up_run(tmp_path / "run", images=12)
    triples = [[i, j, 100 if i == j else 1000 + j] for i in range(20) for j in range(20)]
    seen = dataclasses.replace(
        observed(12),
        class_names=tuple(f"{name} {i}" for i in range(20)),
        confusions={"linear/final_avg_pool": triples},
    )
    seen.save(str(run))
    browser.open(pathlib.Path(write_report(str(run))), DESK)
    assert browser.evaluate("document.querySelectorAll('#confusion .confusion tbody tr').length") == 20
    assert not browser.evaluate(WIDER_THAN_ITS_CARD)


def test_every_link_of_the_page_leads_somewhere(browser, pages):
    browser.open(pages["report"])
    missing = "[...document.links].filter(link => !document.querySelector(link.hash)).map(link => link.hash)"
    assert browser.evaluate("document.links.length") >= 10
    assert browser.evaluate(missing) == []
