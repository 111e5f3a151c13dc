"""The house itself: what a plain import loads, what the wheel carries, and that docstring examples run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import tokstore

ROOT = Path(__file__).resolve().parents[1]


def run_python(code: str, cwd: Path) -> str:
    """Run code in a new interpreter, away from the source tree, and return what it prints."""
    path = str(Path(tokstore.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light(tmp_path: Path) -> None:
    """`import tokstore` loads no torch, no extras, no command line."""
    heavy = {"torch", "pyarrow", "tokenizers", "obstore", "click", "tokstore_tools"}
    code = f"import sys, tokstore; print(sorted({heavy!r} & set(sys.modules)))"
    assert run_python(code, tmp_path).strip() == "[]"


def test_stores_work_without_the_extras(tmp_path: Path) -> None:
    """Where only the hard dependencies are installed, stores are written, read and checked all the same."""
    code = (
        "import sys\nfor name in ('torch', 'tokenizers', 'pyarrow', 'obstore'):\n    sys.modules[name] = None\n"
        "import tokstore as ts\n"
        "with ts.create('s', ts.Schema(tokens=ts.Tokens(9)), metadata={'tokenizer': 'bytes'}) as w:\n"
        "    w.extend(tokens=[[1, 2], []])\n"
        "store = ts.open('s')\n"
        "assert store[0]['tokens'].tolist() == [1, 2] and ts.verify('s').ok and store.text(1) == ''\n"
        "assert 'tokens' in repr(store)"
    )
    run_python(code, tmp_path)


def test_command_line_is_light(tmp_path: Path) -> None:
    """The help of the command line comes without torch and the extras."""
    code = (
        "import sys\nfrom tokstore.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('loaded', sorted({'torch', 'pyarrow', 'tokenizers', 'tokstore_tools'} & set(sys.modules)))"
    )
    assert run_python(code, tmp_path).splitlines()[-1] == "loaded []"


def test_dir_names_torch_parts_without_loading_them(tmp_path: Path) -> None:
    """`dir` and completion show the loader before torch is loaded, and a wrong name is an AttributeError."""
    code = (
        "import sys, tokstore\nassert set(tokstore.__all__) <= set(dir(tokstore))\n"
        "assert 'StreamingDataset' in dir(tokstore)\nassert not hasattr(tokstore, 'no_such_name')\n"
        "assert 'torch' not in sys.modules\nassert tokstore.StreamingDataset and 'torch' in sys.modules"
    )
    run_python(code, tmp_path)


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is sorted, free of doubles, and every name in it resolves."""
    names = list(tokstore.__all__)
    assert names == sorted(set(names))
    assert all(getattr(tokstore, name) is not None for name in names)


def test_wheel_is_what_is_tested() -> None:
    """Under `make test`, `import tokstore` finds the installed wheel, not the source tree."""
    found = Path(tokstore.__file__).resolve()
    if os.environ.get("TOKSTORE_TEST_WHEEL") == "1":
        assert "site-packages" in found.parts
        assert (ROOT / "tokstore") not in found.parents
        carried = {str(path).replace(os.sep, "/") for path in metadata.files("tokstore") or []}
        assert {"tokstore/py.typed", "tokstore_tools/py.typed", "tokstore_tools/pack.py"} <= carried
        assert not any(name.startswith(("tests/", "tools/", "spec/", "benchmarks/")) for name in carried)
        entries = {(e.group, e.name) for e in metadata.distribution("tokstore").entry_points}
        assert {("console_scripts", "tokstore"), ("tokstore.tools", "pack"), ("tokstore.tools", "demo")} <= entries
    else:
        assert found.parent.name == "tokstore"


def test_version_is_one() -> None:
    """Package, installed metadata and changelog agree on the version."""
    assert f"\n## {tokstore.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert metadata.version("tokstore") == tokstore.__version__


def test_files_stay_small() -> None:
    """One job per file: none over 400 lines, none with a name that says nothing."""
    empty_words = {"utils", "util", "common", "helpers", "helper", "misc", "base", "core", "shared"}
    for folder in ("tokstore", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
            assert path.stem not in empty_words, path


def test_modules_begin_with_their_strategy() -> None:
    """Every module has a docstring and postponed annotations."""
    for folder in ("tokstore", "tools", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert text.startswith(('"""', 'r"""')), path
            assert "from __future__ import annotations" in text or len(text.splitlines()) < 8, path


def test_house_papers() -> None:
    """Licence, promises and changelog are there and say what they have to."""
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    promises = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "**The API.**" in promises
    assert "**The bytes.**" in promises
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_readme_links_lead_somewhere() -> None:
    """Relative links in the README and CONTRIBUTING point to files that exist."""
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
            assert "://" in target or (ROOT / target).exists(), f"{page} links to {target}"


def module_names() -> list[str]:
    """Name every module of the package and of the tools, as installed."""
    found = ["tokstore"]
    for package in ("tokstore", "tokstore_tools"):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or []) if spec else []
        found += [info.name for info in pkgutil.walk_packages(places, package + ".")]
    return found


@pytest.mark.parametrize("name", module_names())
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples in docstrings give what they show."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    public = {key: getattr(tokstore, key) for key in tokstore.__all__ if key != "open"}
    names = public | {"ts": tokstore} | vars(module)
    result = doctest.testmod(module, globs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
