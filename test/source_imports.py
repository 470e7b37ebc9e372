"""What each module of the package imports, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "aqr_perception"


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` is a.b.c, which may be a module or an attribute."""

    name: str
    line: int
    at_module_level: bool

    @property
    def top(self) -> str:
        return self.name.split(".")[0]


def modules() -> dict[str, Path]:
    """Dotted name of each module of the package, and its file."""
    found = {}
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """All imports of a file, those for type checkers alone left out."""
    return tuple(_walk(ast.parse(path.read_text(), str(path)).body, at_module_level=True))


def _walk(body: list[ast.stmt], at_module_level: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_module_level)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, at_module_level)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _walk(node.orelse, at_module_level)
        else:
            inner = at_module_level and not isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody"):
                yield from _walk(getattr(node, field, []), inner)
            for handler in getattr(node, "handlers", []):
                yield from _walk(handler.body, inner)
