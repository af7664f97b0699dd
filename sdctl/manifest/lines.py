"""Which line of a manifest's text a path is on."""

import yaml

from sdctl.manifest import Manifest

Path = tuple[str | int, ...]
_SERVE = ("spec", "serveConfigV2")


class Lines:
    """Lines, counted from 1, of the RayService (or another document) of a manifest; paths as keys and indices."""

    def __init__(self, manifest: Manifest) -> None:
        self._documents = [node for node in yaml.compose_all(manifest.text, Loader=yaml.SafeLoader) if node is not None]
        kinds = [_text(_child(node, "kind")) for node in self._documents]
        self._service = self._documents[kinds.index("RayService")] if "RayService" in kinds else None

    def of(self, *path: str | int) -> int | None:
        """The line of a path in the RayService, or of the nearest thing above it that is there."""
        if path[:2] == _SERVE and len(path) > 2:
            return self.of_serve(*path[2:])
        return _line(self._service, path)

    def of_serve(self, *path: str | int) -> int | None:
        """The line of a path inside serveConfigV2."""
        outer = _node(self._service, _SERVE)
        if not isinstance(outer, yaml.ScalarNode):
            return _line(self._service, _SERVE)
        first = outer.start_mark.line + 1
        if outer.style not in ("|", ">"):
            return first
        inner = yaml.compose(_padded(outer.value), Loader=yaml.SafeLoader)
        line = _line(inner, path)
        return first + line if line is not None else first

    def of_document(self, index: int, *path: str | int) -> int | None:
        """The line of a path in the document with this index."""
        return _line(self._documents[index], path) if index < len(self._documents) else None


def _padded(text: str) -> str:
    return text if text.strip() else "{}"


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if _text(key) == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    return None


def _node(node: yaml.Node | None, path: Path) -> yaml.Node | None:
    for step in path:
        node = _child(node, step)
    return node


def _line(node: yaml.Node | None, path: Path) -> int | None:
    """The line of the last step's key, or of the deepest step that exists."""
    if node is None:
        return None
    line: int = node.start_mark.line + 1
    for step in path:
        below = _child(node, step)
        if below is None:
            break
        line = _key_line(node, step, below)
        node = below
    return line


def _key_line(parent: yaml.Node, step: str | int, value: yaml.Node) -> int:
    if isinstance(parent, yaml.MappingNode):
        marks = [key.start_mark.line for key, _ in parent.value if _text(key) == str(step)]
        return int(marks[0]) + 1
    return int(value.start_mark.line) + 1


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
