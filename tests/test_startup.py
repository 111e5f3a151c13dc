"""What is imported for what: short programs and short verbs load what they use, and nothing else.

Nothing is timed here. Each test asks a fresh interpreter which modules it has loaded.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tokstore as ts

PACKAGE = Path(ts.__file__).parent
HEAVY = {"asyncio", "concurrent.futures", "importlib.metadata", "logging", "numpy", "pyarrow", "rich", "torch"}
MARK = "loaded modules:"


def loaded_by(code: str, **environment: str) -> tuple[set[str], str]:
    """Return the modules that a fresh interpreter has loaded behind some code, and what the code printed."""
    whole = f"try:\n    import sys\n    {code}\nexcept SystemExit:\n    pass\nprint({MARK!r}, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    printed, _, names = done.stdout.rpartition(MARK)
    return set(names.split()), printed


def run_by(*words: str, **environment: str) -> tuple[set[str], str]:
    """Return the modules that the command line loads for some words, and what it printed."""
    code = f"sys.argv = ['tokstore', *{list(words)!r}]; from tokstore.cli import main; main()"
    return loaded_by(code, **environment)


def ours(names: set[str]) -> set[str]:
    """Return the modules of the package among others."""
    return {name for name in names if name.split(".")[0] == "tokstore"}


def test_importing_the_package_loads_nothing() -> None:
    """`import tokstore` brings in none of its modules, and so no third party, before a name is used."""
    names, _ = loaded_by("import tokstore")
    assert ours(names) == {"tokstore", "tokstore._version"}
    assert not names & (HEAVY | {"click", "msgpack", "xxhash", "zstandard"})


def test_a_name_loads_what_it_needs() -> None:
    """A schema is made without what reads and writes stores; opening a store loads neither torch nor the extras."""
    names, _ = loaded_by("import tokstore as ts; ts.Schema(tokens=ts.Tokens(256))")
    assert not ours(names) & {"tokstore.store", "tokstore.format", "tokstore.storage"}
    names, _ = loaded_by("import tokstore as ts; ts.open, ts.create, ts.verify, ts.View")
    assert "tokstore.store" in names
    assert not names & {"asyncio", "click", "importlib.metadata", "obstore", "pyarrow", "rich", "torch"}
    assert not {"tokstore.loader", "tokstore.dedup", "tokstore.object_storage"} & names


@pytest.mark.parametrize("words", [["--help"], ["info", "--help"], ["pack", "-h"], ["plan", "corpus", "--no-such"]])
def test_help_loads_no_numpy(words: list[str]) -> None:
    """Help of the whole and of a verb, and a wrong option, are answered by click alone."""
    names, _ = run_by(*words)
    assert "click" in names
    assert not names & HEAVY


def test_completion_loads_no_numpy() -> None:
    """A shell that completes a verb, and an option of one, has its answer from click alone."""
    names, printed = run_by(_TOKSTORE_COMPLETE="bash_complete", COMP_WORDS="tokstore ver", COMP_CWORD="1")
    assert printed.split() == ["plain,verify", "plain,versions"]
    assert not names & HEAVY
    names, printed = run_by(_TOKSTORE_COMPLETE="bash_complete", COMP_WORDS="tokstore plan --pack", COMP_CWORD="2")
    assert printed.split() == ["plain,--packing"]
    assert not names & HEAVY


def test_only_the_verb_that_runs_is_imported() -> None:
    """A verb does not import the others."""
    names, _ = run_by("tag", "--help")
    assert {name for name in names if name.startswith("tokstore.cli.")} == {
        f"tokstore.cli.{name}" for name in ("main", "output", "store_path", "tag")
    }


def test_info_loads_what_describes_a_version(tmp_path: Path) -> None:
    """`tokstore info` has no use for codecs, encoders, views and threads, nor for rich."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(256), quality=ts.Score())) as w:
        w.extend(tokens=[[1, 2, 3], [4]], quality=[0.5, 0.25])
    names, printed = run_by("info", str(tmp_path / "s"))
    assert "2 samples" in printed
    assert not names & (HEAVY - {"numpy"})
    unused = {"codecs.ranked", "decoders", "encoders", "reading", "saved_view", "store", "view", "where", "writing"}
    assert not ours(names) & {f"tokstore.{name}" for name in unused}


def test_lazy_names_are_those_that_types_are_checked_with() -> None:
    """What a name resolves to when it runs is what mypy and editors are told, and `dir` has it before it is used."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told.pop("dedup") == ("tokstore", "dedup")
    assert told == {
        name: (f"tokstore.{module}", ts._OTHERWISE.get(name, name)) for name, module in ts._MODULE_OF.items()
    }
    assert {*told, "dedup", "__version__", "copy", "pack"} == set(ts.__all__)
    _, printed = loaded_by("import tokstore; print(*dir(tokstore))")
    assert set(ts.__all__) <= set(printed.split())


def test_no_module_takes_the_place_of_a_name() -> None:
    """Importing a module sets it as an attribute of the package, so none may be called like a lazy name."""
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & (set(ts.__all__) - {"dedup"})


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is told as Python does."""
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        ts.opne  # noqa: B018
