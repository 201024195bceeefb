"""What the documents name is there: files, sections, flags, modules; and their Python compiles."""

import pathlib
import re

import pytest

from tests.configs import EVERY_CONFIG
from tf_simclrv2.setting import settings_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER_PAGES = [*ROOT.glob("tf_simclrv2/*/README.md")]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("flags/recipes/*.cfg"), *FOLDER_PAGES]
# Of TensorBoard, tf2onnx (--saved-model), TensorFlow Serving's client and server, saved_model_cli and absl.
OF_OTHERS = {"logdir", "model_config_file", "dir", "all", "help", "helpfull", "flagfile", "saved"}

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def _flags() -> set[str]:
    """Every flag that one of our programs takes: those of settings, other absl flags, and argparse's."""
    sources = [
        path
        for folder in ("flags", "export", "benchmarks", "tf_simclrv2")
        for path in (ROOT / folder).rglob("*.py")
    ]
    text = "\n".join(path.read_text() for path in (*sources, *ROOT.glob("docs/examples/*.py")))
    configs = EVERY_CONFIG.values()
    settings = {
        setting.flag for config in configs for setting in settings_of(config).values() if setting.flag
    }
    absl = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text)
    return {*settings, *absl, *re.findall(r'add_argument\(\s*"--([\w-]+)"', text)}


def _anchors(path: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_document
def test_every_flag_exists(path: pathlib.Path) -> None:
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9_]+)", path.read_text()))
    assert named - OF_OTHERS <= _flags()


@every_document
def test_every_link_leads_somewhere(path: pathlib.Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in _anchors(found), target


@every_document
def test_every_path_of_the_code_exists(path: pathlib.Path) -> None:
    """`folder/file.py` is from the root or, as the tables say, from the library."""
    for name in re.findall(r"`((?:\w+/)+\w+\.py)(?:::\w+)?`", path.read_text()):
        assert any((root / name).exists() for root in (ROOT, ROOT / "tf_simclrv2")), name


@pytest.mark.parametrize("path", FOLDER_PAGES, ids=lambda path: path.parent.name)
def test_a_folder_page_names_every_module_of_the_folder(path: pathlib.Path) -> None:
    named = set(re.findall(r"`(\w+\.py)`", path.read_text()))
    assert named == {module.name for module in path.parent.glob("*.py")} - {"__init__.py"}


@every_document
def test_python_compiles(path: pathlib.Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        compile(block, str(path), "exec")
