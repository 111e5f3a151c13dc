"""A folder over HTTP on loopback, as slow as an object store: ranged GETs, a latency for each, one bandwidth for all.

It runs as a process of its own, so that serving takes no time from who is measured. Standard input sets the limits and
asks for the counts, one line of JSON each; standard output answers. See `Throttled`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

__all__ = ["UNCOUNTED", "Throttled"]

UNCOUNTED = "uncounted"
"""A folder whose files are served at once and not counted: for what comes before a measurement."""

_PIECE = 1 << 16


class Throttled:
    """A server of a folder, for a ``with`` block.

    Args:
        folder: What is served. Files are read when they are first asked for, and kept.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://127.0.0.1:{self._answer()['port']}"

    def limit(self, mb_per_second: float, latency_ms: float) -> None:
        """Set what all requests share of bandwidth, in 10⁶ bytes a second, and what each waits; count anew."""
        self._ask({"bytes_per_second": mb_per_second * 1e6, "latency": latency_ms / 1000})

    def counts(self) -> tuple[int, int]:
        """Return the requests and the bytes of bodies since the limits were set."""
        found = self._ask({})
        return found["requests"], found["bytes"]

    def _ask(self, told: dict[str, float]) -> dict[str, int]:
        if self._process.stdin is None:
            raise RuntimeError("the server has no input")
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, int]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the server ended")
        return dict(json.loads(line))

    def __enter__(self) -> Throttled:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: it ends with its standard input."""
        self._process.communicate()


class _Limits:
    """The bandwidth that all answers share, and what was sent."""

    def __init__(self) -> None:
        self.bytes_per_second, self.latency = float("inf"), 0.0
        self.requests = self.bytes = 0
        self._lock, self._free = threading.Lock(), 0.0

    def set(self, told: dict[str, float]) -> None:
        """Take limits, and count anew."""
        with self._lock:
            self.bytes_per_second, self.latency = told["bytes_per_second"], told["latency"]
            self.requests = self.bytes = 0
            self._free = 0.0

    def begin(self) -> None:
        """Count a request and wait for its latency."""
        with self._lock:
            self.requests += 1
        time.sleep(self.latency)

    def send(self, count: int) -> None:
        """Wait until so many bytes have gone through the line that all share."""
        with self._lock:
            self.bytes += count
            self._free = max(self._free, time.monotonic()) + count / self.bytes_per_second
            until = self._free
        if (left := until - time.monotonic()) > 0:
            time.sleep(left)


def _handler(folder: Path, limits: _Limits) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers."""
    held: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a header waits for the answer to the packet before it

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._serve(with_body=False)

        def do_GET(self) -> None:
            self._serve(with_body=True)

        def _serve(self, *, with_body: bool) -> None:
            name = unquote(self.path.partition("?")[0]).lstrip("/")
            is_counted = not name.startswith(f"{UNCOUNTED}/")
            if is_counted:
                limits.begin()
            data = held.get(name)
            if data is None:
                path = (folder / name).resolve()
                if not path.is_relative_to(folder) or not path.is_file():
                    self._head(404, 0)
                    return
                data = held[name] = path.read_bytes()
            first, last = 0, len(data)
            asked = self.headers.get("Range")
            if asked is not None:
                begin, _, end = asked.removeprefix("bytes=").partition("-")
                first = int(begin) if begin else max(0, len(data) - int(end))
                last = min(len(data), int(end) + 1) if begin and end else len(data)
                if first >= len(data):
                    self._head(416, 0, f"bytes */{len(data)}")
                    return
            place = None if asked is None else f"bytes {first}-{last - 1}/{len(data)}"
            self._head(200 if asked is None else 206, last - first, place)
            view = memoryview(data)
            for at in range(first, last if with_body else first, _PIECE):
                piece = view[at : min(at + _PIECE, last)]
                if is_counted:
                    limits.send(len(piece))
                self.wfile.write(piece)

        def _head(self, status: int, length: int, place: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Last-Modified", "Tue, 24 Nov 2026 10:00:00 GMT")
            if place is not None:
                self.send_header("Content-Range", place)
            self.end_headers()

    return Handler


def main(folder: Path) -> None:
    """Serve a folder until standard input ends."""
    limits = _Limits()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder.resolve(), limits))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        if told:
            limits.set(told)
        print(json.dumps({"requests": limits.requests, "bytes": limits.bytes}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
