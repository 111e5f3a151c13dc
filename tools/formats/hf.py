"""Folders that Hugging Face `datasets` saves. Both ways, through `datasets` itself."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

from tokstore.errors import CorruptError, UnsupportedError

from .arrow_types import NOTE, arrow_schema, exact_types, need_pyarrow
from .arrow_values import record_batch
from .contract import Export, ReadOptions
from .memory import MemorySource, dataset_source, refuse_splits

_NOTE = "tokstore.schema.json"

__all__ = ["HF", "HuggingFace", "need_datasets"]


def need_datasets() -> Any:
    """Return `datasets`.

    Raises:
        UnsupportedError: It is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UnsupportedError("this needs the datasets library", hint="pip install 'tokstore[hf]'") from error
    return datasets


class HuggingFace:
    """Saved folders."""

    name = "hf"
    endings = (".hf",)
    writes = True
    options = ("shard_rows",)
    survives = "all columns, and their exact types through a note beside them; not the sample ids"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is a folder that `datasets` saved."""
        return os.path.isfile(os.path.join(path, "dataset_dict.json")) or (
            os.path.isfile(os.path.join(path, "dataset_info.json")) and os.path.isfile(os.path.join(path, "state.json"))
        )

    def open(self, path: str, options: ReadOptions) -> MemorySource:
        """Open a folder."""
        datasets = need_datasets()
        try:
            found = datasets.load_from_disk(path)
        except (ValueError, KeyError, OSError, need_pyarrow().ArrowInvalid) as error:
            raise CorruptError(f"datasets cannot load it: {error}", path=path) from error
        refuse_splits(found, path)
        note = os.path.join(path, _NOTE)
        if os.path.isfile(note):
            with open(note, "rb") as file:
                options = replace(options, types=exact_types(file.read()) | dict(options.types))
        return dataset_source(found, path, options)

    def write(self, path: str, export: Export) -> None:
        """Write a folder: the samples as an Arrow stream first, which `datasets` maps and saves in its shards."""
        datasets, pa = need_datasets(), need_pyarrow()
        schema = arrow_schema(export)
        kinds = {name: export.schema[name] for name in schema.names}
        fields = [pa.field(f.name, pa.string(), f.nullable) if pa.types.is_dictionary(f.type) else f for f in schema]
        plain = pa.schema(fields, metadata=schema.metadata)
        aside = path + ".arrows"
        try:
            with pa.OSFile(aside, "wb") as sink, pa.ipc.new_stream(sink, plain) as writer:
                for batch in export.batches():
                    writer.write_batch(record_batch(batch, plain, kinds))
            found = datasets.Dataset.from_file(aside)
            rows = export.shard_rows
            count = None if rows is None else max(1, -(-export.rows // rows))
            found.save_to_disk(path, num_shards=count)
            del found
            with open(os.path.join(path, _NOTE), "wb") as file:
                file.write(schema.metadata[NOTE])
        finally:
            if os.path.isfile(aside):
                os.unlink(aside)
            if os.path.isdir(path) and not os.listdir(path):
                shutil.rmtree(path)


HF = HuggingFace()
