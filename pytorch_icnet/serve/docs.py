"""A page that shows the OpenAPI description, without scripts of anybody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

_TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>icnet-serve: paths</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
code { background: #eef; padding: .1em .3em; border-radius: 3px } h2 { margin-top: 2rem; font-size: 1.1rem }
td, th { text-align: left; padding: .1rem .8rem .1rem 0; vertical-align: top; font-weight: normal }
</style></head><body>
<h1>icnet-serve {{ info.version }}</h1>
<p>The same for programs: <a href="openapi.json">openapi.json</a>. A page to drop images on: <a href=".">here</a>.</p>
{% for path, methods in paths.items() %}{% for method, operation in methods.items() %}
<h2><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ operation.summary }}. {{ operation.description or "" }}</p>
<table>
{% for kind, content in ((operation.requestBody or {}).content or {}).items() %}
<tr><th>body</th><td><code>{{ kind }}</code>
{% for name in (content.schema or {}).properties or {} %} part <code>{{ name }}</code>{% endfor %}</td></tr>
{% endfor %}
{% for parameter in operation.parameters or [] %}
<tr><th>{{ parameter.in }}</th><td><code>{{ parameter.name }}</code></td></tr>
{% endfor %}
{% for status, response in (operation.responses or {}).items() %}
<tr><th>{{ status }}</th><td>{{ response.description }}</td></tr>
{% endfor %}
</table>
{% endfor %}{% endfor %}
</body></html>
"""
)


def document(description: Mapping[str, Any]) -> str:
    """An HTML page of an OpenAPI description."""
    return _TEMPLATE.render(info=description.get("info", {}), paths=description.get("paths", {}))
