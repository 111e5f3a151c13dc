"""tokstore keeps tokenized training data small, and streams it to PyTorch shuffled and in an exact order.

    import tokstore as ts

    with ts.create("corpus", ts.Schema(tokens=ts.Tokens(50_257))) as w:
        w.extend(tokens=[[17, 4, 4711], [12]])
    store = ts.open("corpus")
    data = ts.StreamingDataset(store, seq_len=2048, batch_size=8)

The format is specified in ``spec/`` of the source; these names are all that is public.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokstore._version import __version__

if TYPE_CHECKING:
    from tokstore import dedup
    from tokstore.column_parts import ColumnWriter
    from tokstore.column_types import (
        Array,
        Bytes,
        Category,
        Codes,
        Label,
        Mask,
        Score,
        SoftLabel,
        Text,
        Tokens,
        Vector,
    )
    from tokstore.errors import (
        ChecksumError,
        ColumnError,
        ConflictError,
        CorruptError,
        ExistsError,
        MissingFileError,
        NotAStoreError,
        TokstoreError,
        TruncatedError,
        UnsupportedError,
        VersionError,
    )
    from tokstore.loader import Batch, StreamingDataset
    from tokstore.mixture import Mixture
    from tokstore.opening import create
    from tokstore.opening import open_store as open  # noqa: A004 - ts.open is the contract
    from tokstore.opening import part_writer as writer
    from tokstore.pruning import Pruned
    from tokstore.ragged import Ragged
    from tokstore.saved_views import ViewInfo
    from tokstore.schema import Schema
    from tokstore.soft_labels import SoftLabels
    from tokstore.store import Store, VersionInfo
    from tokstore.upkeep import Compacted
    from tokstore.verify_report import Report
    from tokstore.verify_store import verify
    from tokstore.view import View
    from tokstore.writing import Progress, Writer

__all__ = [
    "Array",
    "Batch",
    "Bytes",
    "Category",
    "ChecksumError",
    "Codes",
    "ColumnError",
    "ColumnWriter",
    "Compacted",
    "ConflictError",
    "CorruptError",
    "ExistsError",
    "Label",
    "Mask",
    "MissingFileError",
    "Mixture",
    "NotAStoreError",
    "Progress",
    "Pruned",
    "Ragged",
    "Report",
    "Schema",
    "Score",
    "SoftLabel",
    "SoftLabels",
    "Store",
    "StreamingDataset",
    "Text",
    "Tokens",
    "TokstoreError",
    "TruncatedError",
    "UnsupportedError",
    "Vector",
    "VersionError",
    "VersionInfo",
    "View",
    "ViewInfo",
    "Writer",
    "__version__",
    "copy",
    "create",
    "dedup",
    "open",
    "pack",
    "verify",
    "writer",
]

_MODULES = {
    "column_parts": ("ColumnWriter",),
    "column_types": (
        "Array", "Bytes", "Category", "Codes", "Label", "Mask", "Score", "SoftLabel", "Text", "Tokens", "Vector",
    ),
    "errors": (
        "ChecksumError", "ColumnError", "ConflictError", "CorruptError", "ExistsError", "MissingFileError",
        "NotAStoreError", "TokstoreError", "TruncatedError", "UnsupportedError", "VersionError",
    ),
    "loader": ("Batch", "StreamingDataset"),
    "mixture": ("Mixture",),
    "opening": ("create", "open", "writer"),
    "pruning": ("Pruned",),
    "ragged": ("Ragged",),
    "saved_views": ("ViewInfo",),
    "schema": ("Schema",),
    "soft_labels": ("SoftLabels",),
    "store": ("Store", "VersionInfo"),
    "upkeep": ("Compacted",),
    "verify_report": ("Report",),
    "verify_store": ("verify",),
    "view": ("View",),
    "writing": ("Progress", "Writer"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
"""Where each public name is defined. It is brought in when it is first asked for (PEP 562), so that a program, and
each verb of the command line, loads what it uses. No module may be called like a public name that stands here:
importing the module would put it in the place of the name."""
_OTHERWISE = {"open": "open_store", "writer": "part_writer"}
"""Names that are called otherwise where they are defined."""


def pack(source: Any, path: Any, **options: Any) -> Any:
    """Bring texts, ids and columns of any known format into a store.

    The work is done by the conversion tools that the wheel carries; see ``tokstore_tools.pack.pack`` for the options.

    Args:
        source: A file, a folder, an object in memory that gives Arrow data, or several.
        path: The store to create.
        **options: ``tokenizer="tok.json"``, ``text="text"`` (the column with text), ``messages=``, ``columns=``,
            ``rename=``, ``vocab_size=``, ``level=``, ``part=``, ``on_error="skip"``, …

    Example:
        >>> ts.pack("corpus.jsonl.zst", "corpus", tokenizer="tokenizer.json")  # doctest: +SKIP
        >>> ts.pack("fineweb/", "corpus", rename={"input_ids": "tokens"})  # doctest: +SKIP
    """
    from tokstore.tool import load_tool

    return load_tool("pack")(source, path, **options)


def copy(source: Any, path: Any, **options: Any) -> Any:
    """Copy a store as it is, merge several, or write a view as a store.

    Args:
        source: A store, a view, a path, or several of them.
        path: The store to create.
        **options: ``level=``, ``progress=``: see ``tokstore_tools.copy.copy``.

    Example:
        >>> ts.copy(["web", "books"], "both").samples  # doctest: +SKIP
    """
    from tokstore.tool import load_tool

    return load_tool("copy")(source, path, **options)


def __getattr__(name: str) -> Any:
    """Bring in a public name, and keep it: torch only for those who stream, the search only for those who search."""
    if name == "dedup":
        return import_module("tokstore.dedup")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'tokstore' has no attribute {name!r}")
    try:
        found = getattr(import_module(f"tokstore.{module}"), _OTHERWISE.get(name, name))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from tokstore.errors import UnsupportedError

        raise UnsupportedError("streaming needs PyTorch", hint="pip install 'tokstore[torch]'") from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the names that were not yet asked for too."""
    return sorted(set(globals()) | set(__all__))
