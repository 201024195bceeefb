"""MkDocs hook: makes a page of each folder's README, which lies outside `docs/`, and points links at it.

In a checkout the links lead from file to file. On the site, the README of `tf_simclrv2/data` is
`folders/data.md`.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for readme in sorted(ROOT.glob("tf_simclrv2/*/README.md")):
        text = re.sub(r"\]\(\.\./\.\./docs/", "](../", readme.read_text(encoding="utf-8"))
        text = re.sub(r"\]\(\.\./(\w+)/README\.md", r"](\1.md", text)
        files.append(File.generated(config, f"folders/{readme.parent.name}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Points a page's links to a README at the folder's page."""
    return re.sub(r"\]\(\.\./tf_simclrv2/(\w+)/README\.md", r"](folders/\1.md", markdown)
