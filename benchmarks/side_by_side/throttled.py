"""A shuffled first epoch from an object store of little bandwidth: where small bytes win.

The same tokens, in samples of one length, are served on loopback by `throttled_server` at several bandwidths and one
latency, and read in batches of 8 samples to int64, each time by a new process. Imports are not counted, nor what a
library does only once:

- ``ranges of a .bin``: raw ids, one ranged GET per sample, a full permutation, 32 requests under way. This is what
  np.memmap's order costs from afar.
- ``stand-in for MDS and LitData``, ``zstd stand-in for MDS and LitData``: files of raw ids, plain or zstd -3, fetched
  whole in a shuffled order, four under way, shuffled inside. The own download code of these packages is not run: it is
  the bytes of their shards and no work but inflating them, so they can only be slower. The order is a weaker one.
- ``parquet zstd``: row groups by pyarrow over ranged GETs, in a shuffled order, four under way, shuffled inside.
- ``tokstore plain``, ``fast``, ``default`` and ``small``: a store opened at its URL, streamed by its loader.

python -m benchmarks.side_by_side.throttled                                # adds to build/bench/results.json
python -m benchmarks.side_by_side.throttled --tokens 2000000 --rounds 1    # shows that it works
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.side_by_side.records import command_of
from benchmarks.side_by_side.throttled_server import UNCOUNTED, Throttled

__all__ = ["LEVELS", "READERS", "measure", "prepare", "read_epoch"]

BATCH, SHARD_TOKENS = 8, 2 << 20
LEVELS = ("plain", "fast", "default", "small")
_SAMPLES_UNDER_WAY, _SHARDS_UNDER_WAY = 32, 4
_WARM = f"{UNCOUNTED}/store"
Ids = NDArray[Any]


class _Client:
    """Ranged GETs over connections that stay open, one for each thread."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._local = threading.local()
        self._connections: list[HTTPConnection] = []

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections of all threads."""
        for one in self._connections:
            one.close()

    def get(self, name: str, first: int = 0, last: int | None = None) -> bytes:
        """Return the bytes of a file from `first` up to `last`."""
        if not hasattr(self._local, "connection"):
            self._local.connection = HTTPConnection(self._host)
            self._connections.append(self._local.connection)
        connection: HTTPConnection = self._local.connection
        connection.request("GET", f"/{name}", headers={"Range": f"bytes={first}-{'' if last is None else last - 1}"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 206:
            raise OSError(f"{name}: status {answer.status} for bytes {first} to {last}")
        return data

    def length(self, name: str) -> int:
        """Return the length of a file."""
        connection = HTTPConnection(self._host)
        connection.request("HEAD", f"/{name}")
        found = int(connection.getresponse().headers["Content-Length"])
        connection.close()
        return found


class _Remote(io.RawIOBase):
    """A file over ranged GETs, for pyarrow."""

    def __init__(self, client: _Client, name: str, length: int) -> None:
        super().__init__()
        self._client, self._name, self._length, self._at = client, name, length, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        return self._at

    def tell(self) -> int:
        """Return the byte it is at."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read from there."""
        last = self._length if size < 0 else min(self._at + size, self._length)
        data = self._client.get(self._name, self._at, last) if last > self._at else b""
        self._at += len(data)
        return data


def prepare(values: Ids, seq_len: int, vocab: int, folder: Path, levels: Sequence[str] = LEVELS) -> None:
    """Write what is served.

    Args:
        values: Ids end to end, uint16 or uint32; what does not fill a sample at the end is left out.
        seq_len: Ids of a sample.
        vocab: Ids are below it.
        folder: Where.
        levels: Of tokstore.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zstandard

    import tokstore as ts

    values = values[: len(values) // seq_len * seq_len]
    rows = values.reshape(-1, seq_len)
    facts = {"samples": len(rows), "seq_len": seq_len, "dtype": values.dtype.name, "vocab": vocab}
    (folder / UNCOUNTED).mkdir()
    (folder / UNCOUNTED / "facts.json").write_text(json.dumps(facts))
    (folder / "raw.bin").write_bytes(values.tobytes())
    each = max(1, SHARD_TOKENS // seq_len)
    compressor = zstandard.ZstdCompressor(level=3)
    for number, at in enumerate(range(0, len(rows), each)):
        data = rows[at : at + each].tobytes()
        (folder / f"shard-{number:05d}.bin").write_bytes(data)
        (folder / f"shard-{number:05d}.bin.zst").write_bytes(compressor.compress(data))
    table = pa.table({"tokens": pa.FixedSizeListArray.from_arrays(pa.array(values), seq_len)})
    pq.write_table(table, folder / "samples.parquet", compression="zstd", row_group_size=max(1, each // 4))
    with ts.create(folder / _WARM, ts.Schema(tokens=ts.Tokens(vocab))) as writer:
        writer.extend(tokens=ts.Ragged(values[:seq_len], np.array([seq_len])))
    for level in levels:
        with ts.create(folder / level, ts.Schema(tokens=ts.Tokens(vocab)), level=level) as writer:
            writer.extend(tokens=ts.Ragged(values, np.full(len(rows), seq_len)))


# Readers: batches of a shuffled epoch ----------------------------------------------------------------------------


def _ahead(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], Any]], under_way: int) -> Iterator[Any]:
    """Yield what jobs return, in order, while so many of them are under way."""
    waiting: list[Future[Any]] = []
    for job in jobs:
        waiting.append(pool.submit(job))
        if len(waiting) >= under_way:
            yield waiting.pop(0).result()
    for one in waiting:
        yield one.result()


def _batches(rows: Ids, seed: int) -> Iterator[Ids]:
    """Yield rows in batches as int64, shuffled."""
    order = np.random.default_rng(seed).permutation(len(rows))
    for at in range(0, len(order), BATCH):
        yield rows[order[at : at + BATCH]].astype(np.int64)


def _ranges(url: str, facts: dict[str, Any]) -> Iterator[Ids]:
    """One ranged GET per sample."""
    length = facts["seq_len"] * np.dtype(facts["dtype"]).itemsize
    order = np.random.default_rng(0).permutation(facts["samples"]).tolist()
    with _Client(url) as client, ThreadPoolExecutor(_SAMPLES_UNDER_WAY) as pool:
        jobs = (lambda at=at: client.get("raw.bin", at * length, (at + 1) * length) for at in order)
        held: list[Ids] = []
        for data in _ahead(pool, jobs, 4 * _SAMPLES_UNDER_WAY):
            held.append(np.frombuffer(data, facts["dtype"]))
            if len(held) == BATCH:
                yield np.stack(held).astype(np.int64)
                held = []
        if held:
            yield np.stack(held).astype(np.int64)


def _shards(url: str, facts: dict[str, Any], ending: str = "") -> Iterator[Ids]:
    """Shards whole."""
    import zstandard

    each = max(1, SHARD_TOKENS // facts["seq_len"])
    order = np.random.default_rng(0).permutation(-(-facts["samples"] // each)).tolist()
    with _Client(url) as client, ThreadPoolExecutor(_SHARDS_UNDER_WAY) as pool:
        jobs = (lambda one=one: client.get(f"shard-{one:05d}.bin{ending}") for one in order)
        for number, data in enumerate(_ahead(pool, jobs, _SHARDS_UNDER_WAY)):
            raw = zstandard.ZstdDecompressor().decompress(data) if ending else data
            yield from _batches(np.frombuffer(raw, facts["dtype"]).reshape(-1, facts["seq_len"]), number)


def _zstd_shards(url: str, facts: dict[str, Any]) -> Iterator[Ids]:
    """Compressed shards whole."""
    return _shards(url, facts, ".zst")


def _parquet(url: str, facts: dict[str, Any]) -> Iterator[Ids]:
    """Row groups."""
    import pyarrow.parquet as pq

    name = "samples.parquet"
    with _Client(url) as client, ThreadPoolExecutor(_SHARDS_UNDER_WAY) as pool:
        length = client.length(name)
        metadata = pq.read_metadata(_Remote(client, name, length))

        def group(number: int) -> Ids:
            file = pq.ParquetFile(_Remote(client, name, length), metadata=metadata, pre_buffer=True)
            column = file.read_row_group(number).column("tokens").combine_chunks()
            found: Ids = column.flatten().to_numpy().reshape(-1, facts["seq_len"])
            return found

        order = np.random.default_rng(0).permutation(metadata.num_row_groups).tolist()
        jobs = (lambda one=one: group(one) for one in order)
        for number, rows in enumerate(_ahead(pool, jobs, _SHARDS_UNDER_WAY)):
            yield from _batches(rows, number)


def _store(level: str) -> Callable[[str, dict[str, Any]], Iterator[Any]]:
    """Return the reader of a store."""

    def read(url: str, facts: dict[str, Any]) -> Iterator[Any]:
        import tokstore as ts

        options: dict[str, Any] = {"seq_len": facts["seq_len"], "packing": "concat", "batch_size": BATCH}
        data = ts.StreamingDataset(ts.open(f"{url}/{level}"), emit=("input_ids", "valid"), **options)
        for batch in data.loader():
            # The last batch is filled up, so that every rank has as many.
            yield batch["input_ids"] if batch["valid"].all() else batch["input_ids"][batch["valid"]]

    return read


READERS: dict[str, Callable[[str, dict[str, Any]], Iterator[Any]]] = {
    "ranges of a .bin": _ranges,
    "stand-in for MDS and LitData": _shards,
    "zstd stand-in for MDS and LitData": _zstd_shards,
    "parquet zstd": _parquet,
    **{f"tokstore {level}": _store(level) for level in LEVELS},
}
NOTES = {
    "ranges of a .bin": "np.memmap's order from afar: a GET for each sample, 32 under way",
    "stand-in for MDS and LitData": "the bytes of their shards, fetched whole, without their code, in a weaker order",
    "zstd stand-in for MDS and LitData": "the bytes of their zstd shards, fetched whole, without their code",
}


def read_epoch(peer: str, url: str) -> tuple[int, int, float]:
    """Read a shuffled epoch; return its ids, their sum, and the seconds from opening to the last batch."""
    with _Client(url) as client:
        facts = json.loads(client.get(f"{UNCOUNTED}/facts.json"))
    # Modules are imported where they are used: one sample from a store of its own brings all of them in.
    if peer.startswith("tokstore"):
        list(_store(_WARM)(url, facts))
    elif peer.startswith("parquet"):
        import pyarrow.parquet  # noqa: F401
    else:
        import zstandard  # noqa: F401
    count = total = 0
    begun = time.perf_counter()
    for batch in READERS[peer](url, facts):
        count += int(np.prod(batch.shape))
        total += int(batch.sum())
    return count, total, time.perf_counter() - begun


# Measuring ---------------------------------------------------------------------------------------------------------


def measure(
    workload: str, folder: Path, peers: Sequence[str], bandwidths: Sequence[float], latency_ms: float, rounds: int
) -> list[dict[str, Any]]:
    """Return records of every peer at every bandwidth; rounds are taken in turns.

    Args:
        workload: Its name in the records.
        folder: From `prepare`.
        peers: Of `READERS`.
        bandwidths: In MB/s, shared by all requests.
        latency_ms: Of every request.
        rounds: How often.
    """
    rates: dict[tuple[str, float], list[float]] = {}
    requests: dict[str, list[float]] = {}
    sums: set[tuple[int, int]] = set()
    with Throttled(folder) as server:
        for _ in range(rounds):
            for bandwidth in bandwidths:
                for peer in peers:
                    server.limit(bandwidth, latency_ms)
                    command = [sys.executable, "-m", "benchmarks.side_by_side.throttled", "--one", peer, server.url]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    count, total, seconds = json.loads(done.stdout)
                    asked, nbytes = server.counts()
                    sums.add((count, total))
                    rates.setdefault((peer, bandwidth), []).append(count / seconds / 1e6)
                    requests.setdefault(peer, []).append(asked / nbytes * 1e9)
    if len(sums) != 1:
        raise RuntimeError(f"the readers do not agree about how many ids there are and what they add up to: {sums}")
    records = []
    for (peer, bandwidth), found in rates.items():
        records.append(_record(workload, peer, "throttled_rate", "M tokens/s", found, bandwidth))
    for peer, found in requests.items():
        records.append(_record(workload, peer, "requests_per_gb", "requests/GB", found, None))
    return records


def _record(
    workload: str, peer: str, measured: str, unit: str, found: Sequence[float], at: float | None
) -> dict[str, Any]:
    """Return one record."""
    middle, low, high = (float(f"{one:.4g}") for one in (statistics.median(found), min(found), max(found)))
    record = {"workload": workload, "peer": peer, "measure": measured, "median": middle, "low": low, "high": high}
    record |= {"unit": unit, "runs": len(found)} | ({} if at is None else {"at": at})
    return record | ({"note": NOTES[peer]} if peer in NOTES and measured == "throttled_rate" else {})


def _add(path: Path, records: list[dict[str, Any]], command: str) -> None:
    """Put records into the file of a run, in the place of older ones of the same cells."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"records": []}
    cells = {(one["workload"], one["measure"]) for one in records}
    kept = [one for one in results["records"] if (one["workload"], one["measure"]) not in cells]
    results["records"] = kept + records
    commands = results.setdefault("commands", [])
    if command not in commands:
        commands.append(command)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measure and add the records to the file of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side.throttled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers; see benchmarks.corpora")
    parser.add_argument("--tokens", type=int, default=20_000_000, help="at most so many (%(default)s)")
    parser.add_argument("--seq-len", type=int, default=2048, help="%(default)s")
    parser.add_argument("--bandwidths", default="10,50,200", metavar="MB/S,…", help="%(default)s")
    parser.add_argument("--latency", type=float, default=20.0, metavar="MS", help="%(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="%(default)s")
    parser.add_argument("--peers", default=",".join(READERS), help="%(default)s")
    parser.add_argument("--results", type=Path, default=Path("build/bench/results.json"), help="%(default)s")
    parser.add_argument("--one", nargs=2, metavar=("PEER", "URL"), help=argparse.SUPPRESS)
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser.parse_args(given)
    if chosen.one:
        print(json.dumps(read_epoch(*chosen.one)))
        return 0
    peers = chosen.peers.split(",")
    if unknown := sorted(set(peers) - set(READERS)):
        parser.error(f"--peers takes of {','.join(READERS)}, with commas between; unknown: {','.join(unknown)}")
    from benchmarks.corpora import load_corpora

    corpora = load_corpora(chosen.data, near=50_257)
    vocab = corpora[0].vocab_size
    values = np.concatenate([one.values for one in corpora])[: chosen.tokens]
    levels = [level for level in LEVELS if f"tokstore {level}" in peers]
    with tempfile.TemporaryDirectory(prefix="tokstore-throttled-") as name:
        prepare(values, chosen.seq_len, vocab, Path(name), levels)
        bandwidths = [float(one) for one in chosen.bandwidths.split(",")]
        records = measure(f"chunks-{vocab}", Path(name), peers, bandwidths, chosen.latency, chosen.rounds)
    _add(chosen.results, records, command_of("benchmarks.side_by_side.throttled", given))
    for one in records:
        where = "" if "at" not in one else f" at {one['at']:g} MB/s"
        print(f"{one['peer']:34} {one['measure']}{where}: {one['median']:g} ({one['low']:g} to {one['high']:g})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
