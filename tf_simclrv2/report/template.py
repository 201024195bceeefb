"""Renders the templates of the pages."""

from __future__ import annotations

from typing import Any

import jinja2

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("tf_simclrv2.report"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render(name: str, **values: Any) -> str:
    """Renders a template; values are escaped unless they are `Markup`."""
    return _ENVIRONMENT.get_template(name).render(**values)
