"""The throttled server and its readers: every reader hands out the same ids, and the limits are what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

# Behind everything else, so that `tokstore` stays the one that is installed.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.side_by_side import throttled, throttled_server
from benchmarks.side_by_side.throttled_server import Throttled, _Limits


def test_every_reader_hands_out_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch has every id once by every reader, with several shards and a last batch that is not full."""
    monkeypatch.setattr(throttled, "SHARD_TOKENS", 128)
    values = np.random.default_rng(0).integers(0, 1000, 30 * 16 + 5).astype(np.uint16)
    throttled.prepare(values, 16, 1000, tmp_path, levels=["default"])
    peers = [peer for peer in throttled.READERS if not peer.startswith("tokstore")]
    with Throttled(tmp_path) as server:
        for peer in [*peers, "tokstore default"]:
            count, total, _ = throttled.read_epoch(peer, server.url)
            assert (count, total) == (480, int(values[:480].sum())), peer
        server.limit(1000, 0)
        assert server.counts() == (0, 0)
        with throttled._Client(server.url) as client:
            assert client.get("raw.bin", 2, 6) == values[1:3].tobytes()
            assert client.length("raw.bin") == 960
            with pytest.raises(OSError, match="status 404"):
                client.get("../raw.bin")
            with pytest.raises(OSError, match="status 416"):
                client.get("raw.bin", 960)
        assert server.counts() == (4, 4)


def test_all_answers_share_one_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces go one behind another, an idle line saves nothing up, and every request waits its latency."""
    now, slept = [100.0], []
    monkeypatch.setattr(throttled_server.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(throttled_server.time, "sleep", slept.append)
    limits = _Limits()
    limits.set({"bytes_per_second": 1000.0, "latency": 0.02})
    limits.begin()
    limits.send(500)
    limits.send(500)
    now[0] = 110.0
    limits.send(250)
    assert slept == pytest.approx([0.02, 0.5, 1.0, 0.25])
    assert (limits.requests, limits.bytes) == (1, 1250)


def test_records_take_the_place_of_older_ones(tmp_path: Path) -> None:
    """The file of a run keeps its other records, and has each cell once."""
    path = tmp_path / "results.json"
    size = {"workload": "w", "peer": "p", "measure": "bits_per_token", "median": 16.0}
    path.write_text(json.dumps({"records": [size], "commands": ["first"], "date": "today"}))
    for rate in ([1.0], [2.0, 3.0, 7.0]):
        throttled._add(path, [throttled._record("w", "p", "throttled_rate", "M tokens/s", rate, 10.0)], "second")
    found = json.loads(path.read_text())
    assert [(one["measure"], one["median"]) for one in found["records"]] == [
        ("bits_per_token", 16.0),
        ("throttled_rate", 3.0),
    ]
    assert (found["records"][1]["low"], found["records"][1]["high"], found["records"][1]["runs"]) == (2.0, 7.0, 3)
    assert (found["commands"], found["date"]) == (["first", "second"], "today")
