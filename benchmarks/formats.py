"""Foreign formats measured: bytes, and tokens a second in and out, beside what limits them.

python -m benchmarks.formats                  # the standard library's own sources
python -m benchmarks.formats --data FOLDER    # <name>.jsonl[.zst] and bpe-<vocab>.json[.zst]
python -m benchmarks.formats --tokens 1000000 --formats parquet,mds

Packing reads the source, writes the store, reads that back and compares; exporting likewise. What limits packing is the
slowest of the format's own reader, our writer from arrays at the same level and, where text comes in, the tokenizer.
Formats whose package is not installed are left out, or have no own reader.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import zstandard

import tokstore as ts
from benchmarks.corpora import Corpus, load_corpora
from benchmarks.measure import machine, peak_rss, rates, table

FORMATS = {
    "parquet": "x.parquet", "arrow": "x.arrow", "jsonl": "x.jsonl", "hf": "x.hf", "mds": "mds", "webdataset": "x.tar",
    "megatron": "m.idx", "npy": "x.npy", "bin": "x.bin",
}  # fmt: skip
_RUNS, _RSS = 3, "ts.pack(sys.argv[1], sys.argv[2], level=sys.argv[3], exist='error', **json.loads(sys.argv[4]))"


def own_reader(name: str, path: str, dtype: str) -> Callable[[], Any] | None:
    """Return a function that reads all ids with the format's own package, or ``None`` where that is not there."""
    try:
        return _reader(name, path, dtype)
    except ImportError:
        return None


def _reader(name: str, path: str, dtype: str) -> Callable[[], Any]:
    """Return the function; import what it needs."""
    if name == "parquet":
        import pyarrow.parquet as pq

        return lambda: [batch.num_rows for batch in pq.ParquetFile(path).iter_batches(8192)]
    if name == "arrow":
        import pyarrow as pa

        return lambda: [batch["tokens"].values.to_numpy().sum() for batch in _ipc(pa, path)]
    if name == "jsonl":
        return lambda: sum(len(json.loads(line)["tokens"]) for line in open(path, "rb"))
    if name == "hf":
        import datasets

        return lambda: [len(x["tokens"]) for x in datasets.load_from_disk(path).with_format("arrow").iter(1000)]
    if name == "mds":
        from streaming import StreamingDataset

        found = StreamingDataset(local=path, shuffle=False, batch_size=1)
        return lambda: sum(len(found[i]["tokens"]) for i in range(len(found)))
    if name == "webdataset":
        return lambda: _tar(path)
    if name == "megatron":
        return lambda: np.fromfile(path[:-4] + ".bin", dtype).sum()
    return lambda: np.load(path).sum() if name == "npy" else np.fromfile(path, dtype).sum()


def _ipc(pa: Any, path: str) -> Any:
    """Yield the batches of an Arrow file."""
    reader = pa.ipc.open_file(pa.memory_map(path))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def _tar(path: str) -> int:
    """Read a tar with `webdataset`, or with `tarfile` where it is not installed."""
    try:
        import webdataset
    except ImportError:
        with tarfile.open(path, "r|") as tar:
            return sum(len(stream.read()) for one in tar if (stream := tar.extractfile(one)) is not None)
    rows = webdataset.WebDataset(path, shardshuffle=False, empty_check=False).decode()
    return sum(len(row["tokens.npy"]) for row in rows)


def disk_bytes(path: str) -> int:
    """Return the bytes of a file, of all files below a folder, or of a pair of Megatron's."""
    if path.endswith(".idx"):
        return os.path.getsize(path) + os.path.getsize(path[:-4] + ".bin")
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def tiled(corpus: Corpus, tokens: int) -> tuple[ts.Ragged, int]:
    """Return documents of a corpus, from its beginning again and again, up to a number of ids."""
    times = -(-tokens // len(corpus.values))
    lengths = np.tile(corpus.lengths, times)
    rows = max(1, int(np.searchsorted(np.cumsum(lengths), tokens)))
    values = np.tile(corpus.values, times)[: int(lengths[:rows].sum())]
    return ts.Ragged(values, lengths[:rows]), corpus.vocab_size


def again(job: Callable[[], Any], *paths: str) -> Callable[[], Any]:
    """Return a job that first removes what it made before."""

    def run() -> None:
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
            if os.path.isfile(path):
                os.unlink(path)
        job()

    return run


def measure(ids: ts.Ragged, vocab_size: int, level: str, names: list[str], folder: str) -> list[list[str]]:
    """Return a row for each format."""
    count, store_path, made = len(ids.values), os.path.join(folder, "s"), os.path.join(folder, "packed")
    vocab_size, end = vocab_size + 1, vocab_size  # an id of its own ends documents in files of nothing but ids
    schema = ts.Schema(tokens=ts.Tokens(vocab_size))

    def write() -> None:
        with ts.create(store_path, schema, level=level) as writer:
            writer.extend(tokens=ids)

    writer_rate, _ = rates(again(write, store_path), count, _RUNS)
    store, rows = ts.open(store_path), []
    for name in names:
        path = os.path.join(folder, FORMATS[name])
        flat = {"doc_end": end} if name in ("npy", "bin") else {}
        options: dict[str, Any] = flat | (
            {} if name in ("parquet", "arrow", "hf", "mds") else {"vocab_size": vocab_size}
        )
        job = partial(store.export, path, format=name, exist="replace", **flat)
        try:
            out, _ = rates(job, count, _RUNS)
        except ts.UnsupportedError as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        packed, _ = rates(again(partial(ts.pack, path, made, level=level, **options), made), count, _RUNS)
        read = own_reader(name, path, np.dtype("uint16" if vocab_size <= 1 << 16 else "uint32").name)
        own = None if read is None else rates(read, count, _RUNS)[0]
        slowest = min(writer_rate, own) if own is not None else writer_rate
        shutil.rmtree(made, ignore_errors=True)
        code = f"{_RSS}\nprint(json.dumps({{'mb': rss() - before}}))"
        peak = peak_rss(code, path, made, level, json.dumps(options))["mb"]
        rows.append(
            [
                name, f"{disk_bytes(path) / 1e6:.1f}", f"{disk_bytes(made) / 1e6:.1f}",
                "" if own is None else f"{own:.1f}", f"{writer_rate:.1f}", f"{packed:.1f}", f"{packed / slowest:.2f}",
                f"{out:.1f}", f"{peak:.0f}",
            ]
        )  # fmt: skip
    return rows


def measure_text(level: str, folder: str) -> list[list[str]]:
    """Return a row for text as JSON lines and as Parquet, one id per byte: no tokenizer is as fast."""
    root = os.path.dirname(json.__file__)
    names = sorted(os.path.join(p, n) for p, _, f in os.walk(os.path.dirname(root)) for n in f if n.endswith(".py"))
    texts = []
    for one in names[:1500]:
        try:
            with open(one, encoding="utf-8") as file:
                texts.append(file.read())
        except UnicodeDecodeError:
            continue
    count = sum(len(text.encode()) for text in texts)
    lines = os.path.join(folder, "t.jsonl.zst")
    data = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    with open(lines, "wb") as raw:
        raw.write(zstandard.ZstdCompressor().compress(data))
    made, rows = os.path.join(folder, "t"), []
    sources = [("text as jsonl.zst", lines)]
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": texts}), os.path.join(folder, "t.parquet"))
        sources.append(("text as parquet", os.path.join(folder, "t.parquet")))
    except ImportError:
        pass
    for name, path in sources:
        packed, _ = rates(again(partial(ts.pack, path, made, level=level), made), count, _RUNS)
        sizes = [f"{disk_bytes(one) / 1e6:.1f}" for one in (path, made)]
        rows.append([name, *sizes, "", "", f"{packed:.1f}", "", "", ""])
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--level", default="default")
    parser.add_argument("--formats", default=",".join(FORMATS))
    options = parser.parse_args()
    began = time.perf_counter()
    corpus = load_corpora(options.data)[0]
    ids, vocab_size = tiled(corpus, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(ids, vocab_size, options.level, options.formats.split(","), folder)
        rows += measure_text(options.level, folder)
    head = [
        "format",
        "MB before",
        "MB after",
        "own reader",
        "our writer",
        "packed",
        "of slowest",
        "exported",
        "peak MB",
    ]
    title = f"{len(ids.values):,} ids in {len(ids):,} samples, {options.level}; M tokens/s"
    print(table(title, head, rows))
    print(f"{machine()}; {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
