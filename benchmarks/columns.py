"""Columns measured: codes, embeddings beside faiss, a filter, columns that are added later.

python -m benchmarks.columns                  # codes and vectors that it makes
python -m benchmarks.columns --data FOLDER    # image-codes.npy[.zst] (u16 [n, h, w]), embeddings.npy[.zst] (f32 [n, d])
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.measure import machine, rates, table
from benchmarks.synthetic import make_synthetic_store
from benchmarks.tokens import disk_bytes

_QUERIES = 800
_BUDGETS = (45, 84, 150, 215, 300, 316)
_ROWS = 10_000_000


def load(folder: str | None, name: str) -> NDArray[Any]:
    """Load an array of a folder, or make one of the same kind."""
    if folder is not None:
        for path in (Path(folder) / f"{name}.npy", Path(folder) / f"{name}.npy.zst"):
            if path.exists():
                data = path.read_bytes()
                if path.suffix == ".zst":
                    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                        data = reader.read()
                return np.asarray(np.load(io.BytesIO(data)))
        raise SystemExit(f"{folder} has no {name}.npy or {name}.npy.zst")
    rng = np.random.default_rng(0)
    if name == "image-codes":
        steps = rng.normal(0, 12, (6000, 16, 16)).cumsum(axis=2) + rng.normal(0, 40, (6000, 16, 1))
        made: NDArray[Any] = (np.abs(steps).astype(np.int64) % 391).astype(np.uint16)
        return made
    basis = np.linalg.qr(rng.standard_normal((384, 384)))[0] * (1 / np.arange(1, 385) ** 0.6)[:, None]
    vectors = rng.standard_normal((6000, 384)) @ basis
    unit: NDArray[Any] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def measure_codes(codes: NDArray[Any], folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return one row for each way to keep codes."""
    raw = codes.tobytes()
    packed = zstandard.ZstdCompressor(level=19).compress(raw)
    size = int(codes.max()) + 1
    share = np.bincount(codes.reshape(-1)) / codes.size
    entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
    rows = [
        ["raw u16", "16.00", "", "", ""],
        ["whole-file zstd-19 (no random access)", f"{8 * len(packed) / codes.size:.2f}", "", "", ""],
    ]
    rows.append(["order-0 entropy", f"{entropy:.2f}", "", "", ""])
    for level in ("plain", "fast", "default"):
        say(f"codes {level}")
        path = os.path.join(folder, "codes")
        start = time.perf_counter()
        with ts.create(path, ts.Schema(codes=ts.Codes(size, codes.shape[1:])), level=level) as writer:
            writer.extend(codes=codes)
        wrote = codes.size / (time.perf_counter() - start) / 1e6
        store = ts.open(path)
        median, best = rates(lambda s=store: sum(len(b["codes"]) for b in s.scan(["codes"], threads=1)), codes.size)  # type: ignore[misc]
        one = []
        for position in np.linspace(0, len(store) - 1, 7).astype(int).tolist():
            start = time.perf_counter()
            ts.open(path).take([position])
            one.append(time.perf_counter() - start)
        bits = f"{8 * disk_bytes(path) / codes.size:.2f}"
        rows.append(
            [
                f"tokstore {level}",
                bits,
                f"{median:.0f} ({best:.0f})",
                f"{1000 * statistics.median(one):.1f}",
                f"{wrote:.1f}",
            ]
        )
        shutil.rmtree(path)
    return rows


def recall(vectors: NDArray[np.float32], stored: NDArray[np.float32]) -> float:
    """Return recall@10 by inner product: exact queries, the others as they are stored, against exact search."""
    queries = vectors[:_QUERIES]
    true = np.argsort(-(queries @ vectors[_QUERIES:].T), axis=1)[:, :10]
    found = np.argsort(-(queries @ stored[_QUERIES:].T), axis=1)[:, :10]
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(true.tolist(), found.tolist(), strict=True)])) / 10


def measure_vectors(vectors: NDArray[np.float32], folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return one row for each way to keep vectors, ascending in bytes."""
    count, dim = vectors.shape
    found: list[tuple[float, str, float, int]] = []
    kinds = {f"tokstore pca, bytes_per_vector={b}": ts.Vector(dim, codec="pca", bytes_per_vector=b) for b in _BUDGETS}
    kinds |= {"tokstore int8": ts.Vector(dim, codec="int8"), "tokstore float32, exact": ts.Vector(dim)}
    for name, kind in kinds.items():
        say(name)
        path = os.path.join(folder, "vectors")
        with ts.create(path, ts.Schema(v=kind)) as writer:
            writer.extend(v=vectors)
        store = ts.open(path)
        facts = store.describe()["columns"][0]
        stored = np.asarray(store["v"])
        rotation = facts["object_bytes"]
        found.append(((store.stored_bytes("v") - rotation) / count, name, recall(vectors, stored), rotation))
        shutil.rmtree(path)
    if importlib.util.find_spec("faiss") is None:
        print("faiss is not installed: pip install faiss-cpu, and its rows come too\n")
    else:
        found += faiss_rows(vectors, say)
    return [
        [name, f"{nbytes:.0f}", f"{value:.3f}", f"{apart:,}" if apart else ""]
        for nbytes, name, value, apart in sorted(found)
    ]


def faiss_rows(vectors: NDArray[np.float32], say: Callable[[str], None]) -> list[tuple[float, str, float, int]]:
    """Return what the codecs of faiss make of the same vectors, trained on them."""
    import faiss

    dim = vectors.shape[1]
    metric, made = faiss.METRIC_INNER_PRODUCT, []
    scalar = {"SQ8": "QT_8bit", "SQ6": "QT_6bit", "SQ4": "QT_4bit"}
    indices: dict[str, Any] = {
        n: faiss.IndexScalarQuantizer(dim, getattr(faiss.ScalarQuantizer, q), metric) for n, q in scalar.items()
    }
    indices |= {f"PQ{m}": faiss.IndexPQ(dim, m, 8, metric) for m in (192, 96, 48) if dim % m == 0}
    if hasattr(faiss, "IndexRaBitQ"):
        indices["RaBitQ"] = faiss.IndexRaBitQ(dim, metric)
    true = np.argsort(-(vectors[:_QUERIES] @ vectors[_QUERIES:].T), axis=1)[:, :10]
    for name, index in indices.items():
        say(f"faiss {name}")
        index.train(vectors)
        index.add(vectors[_QUERIES:])
        near = index.search(vectors[:_QUERIES], 10)[1]
        value = float(np.mean([len(set(a) & set(b)) for a, b in zip(true.tolist(), near.tolist(), strict=True)])) / 10
        made.append(
            (float(index.code_size if hasattr(index, "code_size") else index.sa_code_size()), f"faiss {name}", value, 0)
        )
    return made


def measure_jobs(folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return rows on filters, and on columns that are added to a store of 10**7 rows."""
    path = os.path.join(folder, "rows")
    rng = np.random.default_rng(0)
    scores = rng.random(_ROWS, dtype=np.float32)
    say("10**7 rows")
    with ts.create(path, ts.Schema(label=ts.Label())) as writer:
        writer.extend(label=np.arange(_ROWS))
    before = {
        name: os.stat(os.path.join(where, name)).st_mtime_ns
        for where, _, names in os.walk(os.path.join(path, "data"))
        for name in names
    }
    store = ts.open(path)
    start = time.perf_counter()
    store.add_column("quality", scores, ts.Score())
    added = time.perf_counter() - start
    after = {
        name: os.stat(os.path.join(where, name)).st_mtime_ns
        for where, _, names in os.walk(os.path.join(path, "data"))
        for name in names
    }
    same = all(after.get(name) == when for name, when in before.items())
    rows = [["add a score to 10^7 rows", f"{added:.2f} s", "shard files untouched" if same else "SHARD FILES CHANGED"]]
    times, read, kept = [], 0, 0
    for _ in range(5):
        store = ts.open(path)
        had, start = store.storage.bytes_read, time.perf_counter()
        kept = len(store.where("quality >= 0.5"))
        times.append(time.perf_counter() - start)
        read = store.storage.bytes_read - had
    rows.append(
        [
            "filter 10^7 rows by the score",
            f"{statistics.median(times):.2f} s",
            f"{kept:,} rows kept, {read / 1e6:.1f} MB read of {store.stored_bytes('quality') / 1e6:.1f}",
        ]
    )
    if kept != int((scores >= 0.5).sum()):
        raise SystemExit("the filter kept other rows than numpy does")
    shutil.rmtree(path)
    return rows


def measure_many_shards(folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return a row on the files that ten scores add to 10**5 shards."""
    say("10**5 shards")
    path = os.path.join(folder, "many")
    make_synthetic_store(path, 100_000, 4)
    store = ts.open(path)
    start = time.perf_counter()
    for number in range(10):
        store.add_column(f"score_{number}", np.zeros(len(store), np.float32), ts.Score())
    seconds = time.perf_counter() - start
    files = sum(name.endswith(".tok") for _, _, names in os.walk(path) for name in names)
    shutil.rmtree(path)
    return [["ten scores added to 10^5 shards", f"{files:,} files", f"{seconds:.0f} s"]]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print everything as Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.columns", description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="image-codes.npy[.zst] and embeddings.npy[.zst]")
    parser.add_argument("--only", choices=("codes", "vectors", "jobs"), help="one of the tables")
    chosen = parser.parse_args(arguments)

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text} …", end="", file=sys.stderr)

    print(f"{machine()}; tokstore {ts.__version__}, zstandard {zstandard.__version__}, numpy {np.__version__}\n")
    with tempfile.TemporaryDirectory(prefix="tokstore-bench-") as folder:
        if chosen.only in (None, "codes"):
            head = [
                "codes",
                "bits/code, whole store",
                "scan, M codes/s, 1 thread (best)",
                "one sample, ms",
                "write, M codes/s",
            ]
            print(table("Codes", head, measure_codes(load(chosen.data, "image-codes"), folder, say)))
        if chosen.only in (None, "vectors"):
            head = ["vectors", "bytes/vector", "recall@10", "rotation and tables, bytes in all, apart"]
            print(table("Vectors", head, measure_vectors(load(chosen.data, "embeddings"), folder, say)))
        if chosen.only in (None, "jobs"):
            rows = measure_jobs(folder, say) + measure_many_shards(folder, say)
            print(table("Columns at any time", ["job", "result", ""], rows))


if __name__ == "__main__":
    main()
