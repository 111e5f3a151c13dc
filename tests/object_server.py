"""An object server on loopback for tests: the part of S3 that the storage uses, with delays and failures on demand.

Google's XML interface differs in what a client is told, and in the header of a conditional put.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectServer:
    """Objects in memory under one bucket.

    Attributes:
        objects: Content by key.
        requests: (method, key, range) of every request.
        latency: Seconds before an answer.
        failing: Statuses that are answered instead, first ones first; only to the methods in `failing_methods`.
        conditional: Names that are taken are refused to conditional puts.
        taken: How a conditional put of a name that is taken is refused: status and code. S3 says the former, Azure
            ``(409, "BlobAlreadyExists")``.
        lost_answers: So many writes are carried out and answered with 500.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.latency = 0.0
        self.failing: list[int] = []
        self.failing_methods = ("GET", "PUT")
        self.conditional = True
        self.taken = (412, "PreconditionFailed")
        self.lost_answers = 0
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.most_at_once = self._now = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def options(self) -> dict[str, Any]:
        """What a client is told."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "test",
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 3, "backoff": {"init_backoff": timedelta(milliseconds=1)}},
        }

    @property
    def google_options(self) -> dict[str, Any]:
        """What a client of ``gs://`` is told: a service account that asks nobody for a token, and our address."""
        account = {
            "client_email": "test@example.org",
            "private_key": "none",
            "private_key_id": "none",
            "disable_oauth": True,
            "gcs_base_url": self.endpoint,
        }
        common = {name: self.options[name] for name in ("client_options", "retry_config")}
        return common | {"service_account_key": json.dumps(account)}

    def close(self) -> None:
        """Stop the server and its threads."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, method: str) -> int:
        """Return how many requests of a method came."""
        return sum(one[0] == method for one in self.requests)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count how many requests are under way together."""
        with self.lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            time.sleep(self.latency)
            yield
        finally:
            with self.lock:
                self._now -= 1


def _handler(server: ObjectServer) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._serve("GET")

        def do_HEAD(self) -> None:
            self._serve("HEAD")

        def do_PUT(self) -> None:
            self._serve("PUT")

        def do_POST(self) -> None:
            self._serve("POST")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def _serve(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            key = unquote(parts.path).lstrip("/").partition("/")[2]
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            with server.lock:
                server.requests.append((method, key or query.get("prefix", ""), self.headers.get("Range")))
                status = None
                if method in server.failing_methods and server.failing:
                    status = server.failing.pop(0)
            with server.busy():
                if status is not None:
                    self._answer(status, b"<Error><Code>Injected</Code><Message>on demand</Message></Error>")
                elif method in ("GET", "HEAD"):
                    self._list(query) if "list-type" in query else self._read(key, method == "HEAD")
                elif method == "DELETE":
                    server.objects.pop(key, None)
                    self._answer(204)
                elif method == "POST" and "delete" in query:
                    self._delete_many(body.decode())
                else:
                    self._write(method, key, query, body)

        def _answer(
            self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, silent: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not silent:
                self.wfile.write(body)

        def _is_new_only(self) -> bool:
            """Tell whether a put is for a name that is not taken, in the words of S3 and Azure, or of Google."""
            return self.headers.get("If-None-Match") == "*" or self.headers.get("x-goog-if-generation-match") == "0"

        def _read(self, key: str, head: bool) -> None:
            data = server.objects.get(key)
            if data is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", silent=head)
                return
            headers = {
                "ETag": f'"{hash(data)}"',
                "Last-Modified": "Tue, 24 Nov 2026 10:00:00 GMT",
                "Accept-Ranges": "bytes",
            }
            asked = self.headers.get("Range")
            if asked is None:
                self._answer(200, data, headers, silent=head)
                return
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(data):
                self._answer(416, b"<Error><Code>InvalidRange</Code></Error>")
                return
            part = data[int(first) : int(last) + 1 if last else len(data)]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self._answer(206, part, headers, silent=head)

        def _list(self, query: dict[str, str]) -> None:
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
            found, folders = [], set()
            with server.lock:
                objects = sorted(server.objects.items())
            for key, data in objects:
                if not key.startswith(prefix):
                    continue
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                else:
                    found.append((key, len(data)))
            items = "".join(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified>"
                f'<ETag>"1"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
                for key, size in found
            )
            items += "".join(
                f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)
            )
            text = f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>'
            self._answer(200, text.encode(), {"Content-Type": "application/xml"})

        def _delete_many(self, body: str) -> None:
            keys = [part.split("</Key>")[0] for part in body.split("<Key>")[1:]]
            for key in keys:
                server.objects.pop(key, None)
            items = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{items}</DeleteResult>".encode(), {"Content-Type": "application/xml"})

        def _write(self, method: str, key: str, query: dict[str, str], body: bytes) -> None:
            xml = {"Content-Type": "application/xml"}
            if method == "POST" and "uploads" in query:
                name = f"upload{len(server.uploads)}"
                server.uploads[name] = {}
                text = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
                self._answer(200, text.encode(), xml)
                return
            if "partNumber" in query:
                server.uploads[query["uploadId"]][int(query["partNumber"])] = body
                self._answer(200, headers={"ETag": f'"{query["partNumber"]}"'})
                return
            with server.lock:
                if "uploadId" in query:
                    found = server.uploads.pop(query["uploadId"])
                    body = b"".join(found[number] for number in sorted(found))
                elif self._is_new_only() and server.conditional and key in server.objects:
                    status, code = server.taken
                    self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())
                    return
                server.objects[key] = body
                lost = server.lost_answers > 0
                server.lost_answers -= lost
            if lost:
                self._answer(500, b"<Error><Code>InternalError</Code></Error>")
            elif method == "POST":
                self._answer(
                    200, b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>', xml
                )
            else:
                self._answer(200, headers={"ETag": '"1"'})

    return Handler
