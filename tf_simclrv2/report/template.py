"""Renders the templates of the pages."""

from __future__ import annotations

import functools
from typing import Any

import jinja2


def render(name: str, package: str = "tf_simclrv2.report", **values: Any) -> str:
    """Renders a template of a package; values are escaped unless they are `Markup`."""
    return _environment(package).get_template(name).render(**values)


@functools.cache
def _environment(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
