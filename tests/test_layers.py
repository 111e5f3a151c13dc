"""Imports point one way: every module of the package stands in one list and uses only what is below it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tokstore"
TOOLS = ROOT / "tools"

LAYERS = [
    "_version",
    "errors",
    "wire",
    "forking",
    "recycling",
    "order",
    "cache",
    "frames",
    "packed",
    "format",
    "user_metadata",
    "ragged",
    "column_types",
    "schema",
    "codecs",
    "bfloat16",
    "soft_labels",
    "decoders",
    "ranges",
    "block",
    "storage",
    "merging",
    "object_storage",
    "range_cache",
    "addresses",
    "objects",
    "places",
    "shard",
    "column_writer",
    "shard_writer",
    "placement",
    "pages",
    "plan",
    "deletions",
    "root",
    "manifest",
    "page_parts",
    "growth",
    "object_reading",
    "under_way",
    "version",
    "sample_ids",
    "deliver",
    "losses",
    "pieces",
    "touched",
    "vector_reading",
    "decoding",
    "reading",
    "lossy_rows",
    "buffers",
    "intake_arrays",
    "intake",
    "vector_encoding",
    "rounded",
    "encoders",
    "writing",
    "parts",
    "single",
    "locating",
    "attachments",
    "tokenizer",
    "describe",
    "describe_text",
    "creation",
    "selection",
    "weights",
    "draws",
    "duplicates",
    "where",
    "saved_view",
    "view_values",
    "view_spans",
    "view_reader",
    "view_tokens",
    "view_text",
    "view_state",
    "choosing",
    "saving",
    "materialize",
    "tool",
    "exporting",
    "view",
    "saved_views",
    "editing",
    "column_values",
    "column_files",
    "column_walk",
    "column_changes",
    "column_edits",
    "column_parts",
    "deleting",
    "compaction",
    "compaction_groups",
    "pruning",
    "upkeep",
    "store",
    "opening",
    "verify_report",
    "verify_columns",
    "verify_files",
    "verify_manifest",
    "verify_store",
    "dedup",
    "mixture",
    "stream",
    "loader",
    "cli",
    "__init__",
]
"""From bottom to top. A name is a module, or a folder of them. A new module takes its place here first."""

HARD = {"msgpack", "numpy", "rich", "xxhash", "zstandard"}
"""What any module may import; click belongs to the command line, torch to the loader, extras to function bodies."""
EXTRAS = {"obstore", "pyarrow", "tokenizers", "tokstore_tools"}


def modules(folder: Path = PACKAGE) -> list[Path]:
    """List the modules of a folder, without caches."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    """Return the dotted name below the package: ``codecs.ranked``, ``codecs``, ``store``, ``__init__``."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield every absolute dotted name that a module imports, and whether that happens inside a function."""
    inside: set[int] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside.update(id(child) for child in ast.walk(node))
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or TOOLS in path.parents, f"{path}:{node.lineno}: write the import in full"
            if node.level == 0 and node.module == "tokstore":
                yield from ((f"tokstore.{alias.name}", id(node) in inside) for alias in node.names)
            elif node.level == 0:
                yield node.module or "", id(node) in inside


def layer(name: str) -> int:
    """Return the place of a dotted name in the list."""
    first = name.split(".")[0]
    assert first in LAYERS, f"tokstore/{first} stands in no layer: give it a place in LAYERS of {Path(__file__).name}"
    return LAYERS.index(first)


def inner(path: Path) -> set[str]:
    """Return the modules of the package that a module imports, without ``tokstore.``."""
    return {name.removeprefix("tokstore.") for name, _ in imported(path) if name.startswith("tokstore.")}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """A module imports only from layers below its own, or from its own folder."""
    own = name_of(path)
    for name in inner(path):
        same_folder = name.split(".")[0] == own.split(".")[0]
        assert same_folder or layer(name) < layer(own), f"{own} imports {name}, which stands above it"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_imports_the_root(path: Path) -> None:
    """Inside the package, a name is imported from the module that defines it, never through the root."""
    for name, _ in imported(path):
        assert name != "tokstore", f"{name_of(path)} imports the package root"
        if name.startswith("tokstore."):
            target = PACKAGE.joinpath(*name.split(".")[1:])
            assert target.with_suffix(".py").is_file() or target.is_dir(), f"{name_of(path)}: {name} is no module"


def test_folders_have_no_cycles() -> None:
    """Modules of one folder have an order too."""
    graph = {name_of(path): inner(path) & {name_of(other) for other in modules()} for path in modules()}
    assert list(TopologicalSorter(graph).static_order())


def test_order_knows_only_integers() -> None:
    """The order is pure functions of integers: it imports itself, errors and wire, and numpy."""
    for path in modules(PACKAGE / "order"):
        for name in inner(path):
            assert name.split(".")[0] in {"order", "errors", "wire"}, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_foreign_packages(path: Path) -> None:
    """Hard dependencies only; torch in the loader alone, click in the CLI, extras where a function needs them."""
    own = name_of(path).split(".")[0]
    for name, in_function in imported(path):
        first = name.split(".")[0]
        allowed = first in sys.stdlib_module_names or first in HARD or first == "tokstore"
        allowed |= first == "torch" and own == "loader"
        allowed |= first == "click" and own == "cli"
        allowed |= first in EXTRAS and in_function
        assert allowed, f"{name_of(path)} imports {name}{' in a function' if in_function else ''}"


@pytest.mark.parametrize("path", modules(TOOLS), ids=lambda path: path.stem)
def test_tools_use_the_public_api(path: Path) -> None:
    """The tools are clients like any other: they see the package root and the exception classes."""
    for name, _ in imported(path):
        if name.split(".")[0] == "tokstore":
            assert name.count(".") == 0 or name == "tokstore.errors", f"{path.name} imports {name}"
