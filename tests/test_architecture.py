"""Who may import whom: ruff bans the outside packages, this the directions between our own."""

import ast
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", modules("sdctl"), ids=lambda path: str(path.relative_to(ROOT)))
def test_sdctl_takes_only_the_schemas_of_the_service(path: Path) -> None:
    foreign = {name for name in imports(path) if name.split(".")[0] in ("serve_app", "loadtests", "tests")}
    allowed = ("serve_app.schemas",)
    assert {name for name in foreign if not name.startswith(allowed)} <= {"serve_app"}


@pytest.mark.parametrize("folder", ["serve_app", "loadtests"])
def test_the_service_and_the_load_know_nothing_of_sdctl(folder: str) -> None:
    for path in modules(folder):
        if "benchmarks" not in path.parts:  # benchmarks measure sdctl
            assert not {name for name in imports(path) if name.split(".")[0] == "sdctl"}, path


def test_commands_are_never_imported_by_what_they_use() -> None:
    for path in modules("sdctl"):
        if path.parent.name != "commands" and path.name != "cli.py":
            assert not {name for name in imports(path) if name.startswith("sdctl.commands")}, path


def test_there_is_no_import_cycle_in_sdctl() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules("sdctl")}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    edges = {name: top_level(path, names.keys()) & names.keys() - {name} for name, path in names.items()}
    seen: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert seen.get(name) != 1, " → ".join((*trail, name))
        if seen.get(name) == 2:
            return
        seen[name] = 1
        for following in sorted(edges[name]):
            visit(following, (*trail, name))
        seen[name] = 2

    for name in sorted(edges):
        visit(name, ())


def top_level(path: Path, known: Collection[str]) -> set[str]:
    """Imports that run when the module is imported; those in functions and under TYPE_CHECKING do not.

    `from package import module` needs the module, not the package's own names.
    """
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner if inner <= set(known) else inner | {node.module}
    return found
