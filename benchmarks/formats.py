"""Foreign formats measured: bytes, and tokens a second in and out, beside what limits them.

python -m benchmarks.formats                  # 10**7 ids of the standard library's own sources, all formats
python -m benchmarks.formats --data FOLDER    # <name>.jsonl[.zst], bpe-<vocab>.json[.zst], image-codes.npy[.zst]
python -m benchmarks.formats --tokens 1000000 --formats parquet,mds

Packing reads the source, writes the store, reads that back and compares; exporting likewise. What limits packing is the
slowest of the format's own reader, our writer from arrays at the same level and, where text comes in, the tokenizer;
all of them run in turns with packing, in one process, and medians are compared. The peak is that of a process of its
own over `import tokstore`.

Packages that exclude each other have environments of their own (``make peers`` makes build/peers/formats and
build/peers/mosaic); a format whose package is nowhere is left out. Measured is the checkout that this file is in.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.columns import load
from benchmarks.corpora import Corpus, first_corpus
from benchmarks.format_readers import PATHS, READ_ONLY, columns_of, own_reader, write_source
from benchmarks.measure import machine, peak_rss, table

TEXTS = ("text in jsonl.zst", "text in parquet", "bytes in jsonl.zst")
_TOKENIZER_RUNS = 2  # a tokenizer takes ten times as long as all else
_ROOT = Path(__file__).resolve().parent.parent
_RSS = """
ts.pack(sys.argv[1], sys.argv[2], level=sys.argv[3], exist="error", **json.loads(sys.argv[4]))
print(json.dumps({"mb": rss() - before}))
"""
Row = dict[str, Any]


def environment_of(name: str, folder: Path) -> str:
    """Return the Python that has the packages of a format: one below a folder of environments, or this one."""
    found = folder / ("mosaic" if name == "mds" else "formats") / "bin" / "python"
    return os.fspath(found) if found.exists() else sys.executable


def disk_bytes(path: str) -> int:
    """Return the bytes of a file, of all files below a folder, or of a pair of Megatron's."""
    if path.endswith(".idx"):
        return os.path.getsize(path) + os.path.getsize(path[:-4] + ".bin")
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def tiled(corpus: Corpus, tokens: int) -> ts.Ragged:
    """Return documents of a corpus, from its beginning again and again, up to a number of ids."""
    times = -(-tokens // len(corpus.values))
    lengths = np.tile(corpus.lengths, times)
    rows = max(1, int(np.searchsorted(np.cumsum(lengths), tokens)))
    values = np.tile(corpus.values, times)[: int(lengths[:rows].sum())]
    return ts.Ragged(values, lengths[:rows])


def images(folder: str | None, codes: int) -> NDArray[np.uint16]:
    """Return images of codes, from a folder if it has some, again and again up to a number of codes."""
    has_codes = folder is not None and any(Path(folder).glob("image-codes.npy*"))
    found = load(folder if has_codes else None, "image-codes")
    return np.resize(found, (max(1, codes // found[0].size), *found.shape[1:]))


def again(job: Callable[[], Any], *paths: str) -> Callable[[], Any]:
    """Return a job that first removes what it made before."""

    def run() -> None:
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
            if os.path.isfile(path):
                os.unlink(path)
        job()

    return run


def in_turns(jobs: dict[str, Callable[[], Any]], amount: int, runs: int) -> dict[str, float]:
    """Return the median rate of each job in millions a second; they run in turns, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - began)
    return {name: amount / statistics.median(found) / 1e6 for name, found in times.items()}


class Measuring:
    """One process that measures.

    Args:
        folder: Where the ids, the codes, the texts and the tokenizer are, and where files are made.
        level: Level of the stores.
        runs: Runs of each job.
    """

    def __init__(self, folder: str, level: str, runs: int) -> None:
        self.folder, self.level, self.runs = folder, level, runs
        self.ids = ts.Ragged(np.load(self.path("values.npy")), np.load(self.path("lengths.npy")))
        self.codes = np.load(self.path("codes.npy"))
        with open(self.path("facts.json"), encoding="utf-8") as file:
            self.end = int(json.load(file)["vocab_size"])  # an id of its own ends documents in files of nothing but ids

    def path(self, name: str) -> str:
        """Return a path in the folder."""
        return os.path.join(self.folder, name)

    def write(self, kinds: Row, columns: Row, path: str) -> None:
        """Write a store from arrays."""
        with ts.create(path, ts.Schema(kinds), level=self.level) as writer:
            writer.extend(columns)

    def _packed(self, row: Row, source: str, count: int, jobs: dict[str, Callable[[], Any]], options: Row) -> Row:
        """Return what packing a source gives, beside its limits."""
        made = self.path("packed")
        pack = again(partial(ts.pack, source, made, level=self.level, **options), made)
        runs = min(self.runs, _TOKENIZER_RUNS) if "tokenizer" in options else self.runs
        rates = in_turns({"packed": pack} | jobs, count, runs)
        limit = min(jobs, key=rates.__getitem__)
        peak = peak_rss(_RSS, source, self.path("peak"), self.level, json.dumps(options))["mb"]
        shutil.rmtree(self.path("peak"))
        return row | {
            "before": disk_bytes(source), "after": disk_bytes(made), "packed": rates["packed"], "limit": limit,
            "limit_rate": rates[limit], "peak": peak,
        }  # fmt: skip

    def format(self, name: str) -> Row:
        """Measure a format both ways, or the one that there is."""
        from tokstore_tools.formats.registry import format_named

        path, (kinds, columns) = self.path(PATHS[name]), columns_of(name, self.ids, ts.Tokens(self.end + 1), self.codes)
        count = columns["codes"].size if name == "seit" else len(self.ids.values)
        row: Row = {"format": name, "survives": format_named(name).survives}
        flat: Row = {"doc_end": self.end} if name in ("npy", "bin") else {}
        if name in READ_ONLY:
            write_source(name, path, columns)
        else:
            store_path = self.path("s")
            again(partial(self.write, kinds, columns, store_path), store_path)()
            job = partial(ts.open(store_path).export, path, format=name, exist="replace", **flat)
            row["exported"] = in_turns({"exported": job}, count, self.runs)["exported"]
            row["stored"] = disk_bytes(store_path)
        dtype = np.dtype("uint16" if self.end < 1 << 16 else "uint32").name
        jobs = {"own reader": own_reader(name, path, dtype)}
        jobs["our writer"] = again(partial(self.write, kinds, columns, self.path("w")), self.path("w"))
        return self._packed(row, path, count, jobs, flat)

    def text(self, name: str) -> Row:
        """Measure texts that go through a tokenizer: a BPE, or one id per byte."""
        from tokstore_tools.tokenize import load_tokenizer

        file = self.path("tokenizer.json") if name.startswith("text") else None
        tokenizer = load_tokenizer(file)
        with open(self.path("texts.json"), encoding="utf-8") as stream:
            texts = json.load(stream)
        if file is None:  # as many bytes as there are ids elsewhere
            ends = np.cumsum([len(one.encode()) for one in texts])
            texts = texts[: max(1, int(np.searchsorted(ends, len(self.ids.values))))]
        batches = [texts[i : i + 64] for i in range(0, len(texts), 64)]
        parts = [tokenizer.encode(one) for one in batches]
        ids = ts.Ragged(np.concatenate([one.values for one in parts]), np.concatenate([one.lengths for one in parts]))
        source = self.path(f"t.{name.split()[-1]}")
        jobs: dict[str, Callable[[], Any]] = {}
        if name.endswith("parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({"text": texts}), source, compression="zstd")
            jobs["own reader"] = lambda: [one.to_pylist() for one in pq.ParquetFile(source).iter_batches(64)]
        else:
            data = "".join(json.dumps({"text": one}) + "\n" for one in texts).encode()
            Path(source).write_bytes(zstandard.ZstdCompressor().compress(data))
            jobs["own reader"] = partial(_read_lines, source)
        jobs["our writer"] = again(
            partial(self.write, {"tokens": tokenizer.tokens}, {"tokens": ids}, self.path("w")), self.path("w")
        )
        jobs["the tokenizer"] = lambda: [len(tokenizer.encode(one).values) for one in batches]
        row = {"format": name, "survives": "the text, through the tokenizer that the store keeps"}
        return self._packed(row, source, len(ids.values), jobs, {} if file is None else {"tokenizer": file})


def _read_lines(path: str) -> int:
    """Read the texts of compressed JSON lines."""
    with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        return sum(len(json.loads(line)["text"]) for line in reader.read().splitlines())


def measure_here(options: argparse.Namespace) -> None:
    """Measure some formats in this process; print a line of JSON for each."""
    job = Measuring(options.folder, options.level, options.runs)
    for name in options.formats.split(","):
        began = time.perf_counter()
        try:
            row = job.text(name) if name in TEXTS else job.format(name)
        except (ImportError, ts.UnsupportedError) as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        print(json.dumps(row), flush=True)
        ratio, peak = row["packed"] / row["limit_rate"], row["peak"]
        taken = time.perf_counter() - began
        print(f"{name}: {ratio:.2f} of {row['limit']}, {peak:.0f} MB at most, {taken:.0f} s", file=sys.stderr)


def measure(options: argparse.Namespace, folder: str) -> list[Row]:
    """Measure all formats, those of one environment in one process."""
    os.mkdir(os.path.join(folder, "path"))
    os.symlink(_ROOT / "tools", os.path.join(folder, "path", "tokstore_tools"))
    path = os.pathsep.join([os.fspath(_ROOT), os.path.join(folder, "path")])
    by_python: dict[str, list[str]] = {}
    for name in options.formats.split(","):
        by_python.setdefault(environment_of(name, options.environments), []).append(name)
    rows = []
    for python, names in by_python.items():
        command = [python, "-m", "benchmarks.formats", "--folder", folder, "--formats", ",".join(names)]
        command += ["--level", options.level, "--runs", str(options.runs)]
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE) as child:
            rows += [json.loads(line) for line in child.stdout or () if line.startswith(b'{"format"')]
        if child.returncode:
            print(f"{python}: it ended with {child.returncode}", file=sys.stderr)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of texts and tokenizers")
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--level", default="default")
    parser.add_argument("--runs", type=int, default=3, help="runs of each job, of which the median counts")
    parser.add_argument("--formats", default=",".join([*PATHS, *TEXTS]))
    parser.add_argument("--environments", type=Path, default=_ROOT / "build" / "peers", help="where environments are")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        measure_here(options)
        return
    began = time.perf_counter()
    texts, tokenizer, corpus = first_corpus(options.data)
    ids, codes = tiled(corpus, options.tokens), images(options.data, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        np.save(where / "values.npy", ids.values)
        np.save(where / "lengths.npy", ids.lengths)
        np.save(where / "codes.npy", codes)
        (where / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        (where / "facts.json").write_text(json.dumps({"vocab_size": corpus.vocab_size}), encoding="utf-8")
        (where / "texts.json").write_text(json.dumps([texts[i % len(texts)] for i in range(len(ids))]))
        rows = measure(options, folder)
    what = f"{len(ids.values):,} ids in {len(ids):,} samples, {options.level}"
    print_tables(rows, what)
    print(f"{machine()}; {time.perf_counter() - began:.0f} s")


def print_tables(rows: list[Row], what: str) -> None:
    """Print one table for each direction."""
    head = [
        "from", "what survives", "MB before", "MB after", "M tokens/s", "slowest limit", "its M tokens/s", "of it",
        "peak MB",
    ]  # fmt: skip
    found = [
        [
            row["format"], row["survives"], f"{row['before'] / 1e6:.1f}", f"{row['after'] / 1e6:.1f}",
            f"{row['packed']:.1f}", row["limit"], f"{row['limit_rate']:.1f}",
            f"{row['packed'] / row['limit_rate']:.2f}", f"{row['peak']:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    print(table(f"Into a store: {what}", head, found))
    head = ["to", "what survives", "MB before", "MB after", "M tokens/s"]
    found = [
        [
            row["format"], row["survives"], f"{row['stored'] / 1e6:.1f}", f"{row['before'] / 1e6:.1f}",
            f"{row['exported']:.1f}",
        ]
        for row in rows
        if "exported" in row
    ]  # fmt: skip
    print(table(f"Out of a store: {what}", head, found))


if __name__ == "__main__":
    main()
