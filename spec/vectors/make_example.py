"""Write `spec/example.md`, a small store in annotated hex, or compare it with what would be written.

python spec/vectors/make_example.py            writes the page
python spec/vectors/make_example.py --verify   writes nothing; exit status 1 if the page differs
"""

from __future__ import annotations

import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "example.md"
sys.path.insert(0, str(PAGE.parents[1]))

from spec.vectors.generator.annotate import Walker, hexdump  # noqa: E402  (the script runs without an installation)
from spec.vectors.generator.columns import tokens  # noqa: E402
from spec.vectors.generator.datafile_writer import Written, write_file  # noqa: E402
from spec.vectors.generator.store_writer import Files, Page, Shard, Version, root_name, write_store  # noqa: E402

SAMPLES: list[list[int] | None] = [[72, 105], [], [33, 33, 33]]
TEXT = """# A store in annotated hex

The smallest useful store: version 1 of a store with one shard, which has one column `tokens` with a vocabulary of 256
and three samples, {samples}. `spec/vectors/make_example.py` writes this page and a test compares
it, so every byte below is true. Offsets are decimal; a number such as 4.2 before a part is the section of
[format.md](format.md) that explains it.

The folder:

{folder}

## `tokstore.json` and `latest` (2.6, 3)

```json
{head}
```

```json
{latest}
```

The checksum of the first is XXH64 of `format=tokstore\\nstore={store}\\nversion=1.0\\n`.

## `{data_name}`

{data_bytes} bytes. The nonce of its checksums is the u64 {nonce:#018x} (2.2).

```text
{data}
```

## `{root_name}`

{root_bytes} bytes. Page and plan ride along, so this one file tells all about the version (8.1 to 8.4).

```text
{root}
```
"""


def store() -> tuple[Written, Files]:
    """Make the store."""
    column = tokens(0, "tokens", 256, SAMPLES, level="plain")
    file = write_file([column])
    page = Page([Shard(len(SAMPLES), [(0, len(SAMPLES))], {0: (file, 0)})])
    return file, write_store([Version(1, [column], [page], len(SAMPLES), "create", len(SAMPLES))])


def data_file(file: Written) -> str:
    """Annotate the data file."""
    w = Walker(file.data)
    w.take(8, lambda b: f'4.2 header: magic "{b.decode()}"')
    w.number(2, "major")
    w.number(2, "minor")
    for name in ("features_ignorable", "features_read_only", "features_required"):
        w.number(4, name)
    w.take(16, "file_id")
    w.take(16, "reserved")
    w.take(8, "checksum of bytes 0 to 55, seed 0")
    values = [v for s in SAMPLES for v in s or []]
    block = file.columns[0].blocks[0]
    w.take(len(block.stored), f"4.3 block 0 of column 0: {', '.join(map(str, values))} as u16, not compressed")
    first_table = file.tail_offset
    size = len(file.data) - 64 - first_table
    shift = file.index_offset + (len(file.data) - 64 - file.index_offset) - file.tail_offset
    w.take(size, f"4.10 copy of bytes {first_table} to {first_table + size - 1}, each {shift} before the original")
    w.packed(1, "4.5 table of column 0: offset")
    for name in ("stored_bytes", "values", "first_row", "form"):
        w.packed(1, name)
    w.take(8, "checksum of block 0, seed nonce + 0 * 2^32 + 0")
    w.packed(len(SAMPLES), "4.4 rows section of column 0: lengths")
    w.number(8, "4.6 index: rows")
    w.number(4, "columns")
    w.number(4, "objects")
    m = w.number(4, "metadata_bytes")
    w.take(12, "reserved")
    _entry(w)
    w.metadata(
        w.at + m,
        {
            (): "4.9 metadata",
            (1,): "column records",
            (1, 0): "record",
            (1, 0, 1): "column id",
            (1, 0, 2): "name",
            (1, 0, 3): "type",
            (1, 0, 4): "parameters",
            (1, 0, 4, 1): "vocab_size",
            (1, 0, 5): "optional",
            (1, 0, 6): "level",
            (2,): "writer",
        },
    )
    w.number(8, "4.11 footer: copy_offset")
    w.number(8, "tail_offset")
    w.number(8, "index_offset")
    w.number(8, "index_bytes")
    w.take(8, "index_checksum, seed nonce + (2^32 - 1) * 2^32 + 2^32 - 1")
    w.number(8, "file_bytes")
    w.take(8, lambda b: f'magic "{b.decode()}"')
    w.take(8, "checksum of the 56 bytes before, seed 0")
    return hexdump(w.pieces)


def _entry(w: Walker) -> None:
    """Annotate a column entry (4.7)."""
    w.number(4, "4.7 column entry: column_id")
    w.number(2, "type", " (Tokens)")
    w.number(2, "codec", " (tokens)")
    w.number(4, "flags", " (ragged)")
    for name in ("features_ignorable", "features_read_only", "features_required"):
        w.number(4, name)
    w.number(8, "rows")
    w.number(8, "values")
    w.number(4, "blocks")
    w.number(4, "object")
    for part, block in (("table", "2^32 - 1"), ("rows", "2^32 - 2")):
        w.number(8, f"{part}_offset")
        w.number(8, f"{part}_bytes")
        w.number(8, f"{part}_content_bytes")
        w.take(8, f"{part}_checksum, seed nonce + 0 * 2^32 + {block}")
    w.number(8, "stored_bytes")
    w.take(32, "values_digest (10)")
    w.number(1, "dtype", " (u16)")
    w.take(7, "reserved")


def root(data: bytes) -> str:
    """Annotate the root."""
    w = Walker(data)
    w.take(8, lambda b: f'8.1 root: magic "{b.decode()}"')
    w.number(2, "major")
    w.number(2, "minor")
    for name in ("features_ignorable", "features_read_only", "features_required"):
        w.number(4, name)
    body = w.number(4, "body_bytes")
    w.number(4, "inline_bytes")
    schema = {1: "column id", 2: "name", 3: "type", 4: "parameters", 5: "optional", 6: "level"}
    totals = ("samples", "shards", "values", "bytes of data files", "bytes of objects")
    w.metadata(
        w.at + body,
        {
            (): "body",
            (1,): "store id",
            (2,): "version",
            (4,): "commit nonce",
            (5,): "milliseconds since 1970",
            (6,): "schema",
            (6, 0): "record",
            **{(6, 0, key): name for key, name in schema.items()},
            (6, 0, 4, 1): "vocab_size",
            (7,): "next_sample_id",
            (8,): "next_column_id",
            (9,): "totals",
            **{(9, i): name for i, name in enumerate(totals)},
            (10,): "page records",
            (11,): "totals per column",
            (11, 0): "column 0",
            (11, 0, 1): "values",
            (11, 0, 2): "stored bytes",
            (11, 0, 4): "missing",
            (11, 0, 5): "NaN",
            (16,): "made by",
            (16, 0): "verb",
            (16, 1): "samples added",
        },
    )
    record = [(32, "page_digest"), (32, "plan_digest"), (32, "deletion_digest")]
    record += [(4, name) for name in ("page_bytes", "plan_bytes", "deletion_bytes", "flags")]
    record += [(8, name) for name in ("samples", "deleted", "values", "first_sample_id", "last_sample_id")]
    w.split("page records", [*record, (4, "shards"), (4, "spans")])
    placement = {1: "where (2 + file)", 2: "row", 3: "values", 4: "stored bytes"}
    _wrapped(
        w,
        "8.3 page",
        {
            (1,): "files",
            (2,): "file ids",
            (3,): "digests of files",
            (4,): "index checksums",
            (5,): "file bytes",
            (6,): "tail offsets",
            (7,): "index offsets",
            (10,): "shards",
            (11,): "samples",
            (12,): "id runs",
            (13,): "first ids",
            (14,): "samples of runs",
            (20,): "object digests",
            (21,): "their bytes",
            (22,): "objects per file",
            (23,): "which ones",
            (30,): "placement",
            (30, 0): "column 0",
            **{(30, 0, key): name for key, name in placement.items()},
        },
    )
    plan = {1: "primary column", 2: "spans per shard", 3: "blocks", 4: "samples", 5: "values", 6: "lead"}
    _wrapped(w, "8.4 plan", {(key,): name for key, name in plan.items()})
    w.take(8, "checksum of everything before, seed 0")
    return hexdump(w.pieces)


def _wrapped(w: Walker, name: str, names: dict[tuple[int, ...], str]) -> None:
    """Annotate a page or a plan (8.3)."""
    w.take(8, lambda b: f'{name}: magic "{b.decode()}"')
    w.number(2, "major")
    w.number(2, "minor")
    w.number(1, "encoding", " (raw)")
    w.take(3, "reserved")
    size = w.number(8, "content_bytes")
    w.metadata(w.at + size, {(): "content", **names})


def page() -> str:
    """Write the whole page."""
    file, files = store()
    name = root_name(1)
    folder = "\n".join(f"- `{path}`, {len(data)} bytes" for path, data in files.items())
    return TEXT.format(
        samples=", ".join(f"`{sample}`" for sample in SAMPLES),
        folder=folder,
        head=files["tokstore.json"].decode().strip(),
        latest=files["latest"].decode().strip(),
        store=bytes(range(0x10, 0x20)).hex(),
        data_name=file.name,
        data_bytes=len(file.data),
        nonce=int.from_bytes(file.file_id[:8], "little"),
        data=data_file(file),
        root_name=name,
        root_bytes=len(files[name]),
        root=root(files[name]),
    )


def main(arguments: list[str]) -> int:
    """Run the script."""
    if arguments not in ([], ["--verify"]):
        print("usage: python make_example.py [--verify]", file=sys.stderr)
        return 2
    text = page()
    same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
    if arguments and not same:
        print("spec/example.md: differs from what make_example.py writes", file=sys.stderr)
        return 1
    if not same:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
