"""Objects as YAML that a person can read: texts of several lines as blocks, secret values masked."""

from typing import Any

import yaml

from sdctl.manifest import Object

MASK = "*** masked ***"


class _Dumper(yaml.SafeDumper):
    """Long texts as literal blocks, no anchors."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(*documents: Object) -> str:
    """The documents as one YAML stream, keys in their order; a Secret as a comment, lest its mask be applied."""
    return "---\n".join(_dumped(document) for document in documents)


def _dumped(document: Object) -> str:
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)
    if document.get("kind") == "Secret":
        return "".join(f"# {line}\n" for line in text.splitlines())
    return text


def masked(document: Object) -> Object:
    """The object without secret values, and without the text of mounted code, of which only sizes are told."""
    hidden = dict(document)
    if document.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if document.get(field):
                hidden[field] = dict.fromkeys(document[field], MASK)
    if document.get("kind") == "ConfigMap" and document.get("immutable"):
        hidden["data"] = {key: f"({len(value)} characters)" for key, value in (document.get("data") or {}).items()}
    return hidden
