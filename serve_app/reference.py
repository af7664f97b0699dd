"""`/docs`: the OpenAPI document as one page that loads nothing from anywhere."""

import json
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
h2 { border-top: 1px solid #8884; padding-top: 1rem } code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #8882; padding: .75rem; overflow-x: auto }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 }
"""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    routes = (
        _route(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    machine = "<p>The same for machines: <a href=openapi.json>openapi.json</a>.</p>"
    return f"{head}<h1>{escape(title)}</h1><p>{escape(info.get('summary', ''))}</p>{machine}{''.join(routes)}"


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><code>{method} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"]
    if "security" in operation:
        parts.append("<p>Needs a key: <code>Authorization: Bearer …</code></p>")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    rows = [_field(each["name"], each["in"], each["schema"], each) for each in operation.get("parameters", [])]
    required = body.get("schema", {}).get("required", [])
    for name, schema in body.get("schema", {}).get("properties", {}).items():
        rows.append(_field(name, "body", schema, {"required": name in required}))
    parts.append(_table(("field", "in", "value", ""), rows))
    if "example" in body:
        parts.append(f"<pre>{escape(json.dumps(body['example']))}</pre>")
    answers = [
        [f"<code>{escape(status)}</code>", escape(", ".join(said.get("content", {}))), escape(said["description"])]
        for status, said in sorted(operation["responses"].items())
    ]
    parts.append(_table(("answer", "as", ""), answers))
    return "".join(parts)


def _field(name: str, where: str, schema: dict[str, Any], said: dict[str, Any]) -> list[str]:
    description = said.get("description") or schema.get("description", "")
    needed = "required" if said.get("required") else ""
    notes = "; ".join(text for text in (needed, description) if text)
    return [f"<code>{escape(name)}</code>", where, f"<code>{escape(_kind(schema))}</code>", escape(notes)]


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "anyOf" in schema:
        return " | ".join(_kind(choice) for choice in schema["anyOf"] if choice != {"type": "null"})
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    limits = {
        "minimum": "≥ {}",
        "exclusiveMinimum": "> {}",
        "maximum": "≤ {}",
        "multipleOf": "multiple of {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
    }
    return ", ".join(
        [schema.get("type", "any"), *(text.format(schema[key]) for key, text in limits.items() if key in schema)]
    )


def _table(titles: tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{title}</th>" for title in titles)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"
