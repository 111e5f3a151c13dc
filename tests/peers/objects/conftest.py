"""Object servers on loopback: moto for S3 and Azurite for Azure, which others wrote, and our own for Google, which
speaks its XML interface as far as the client uses it. Each starts once, with one bucket.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from object_server import ObjectServer

AZURITE = os.environ.get("TOKSTORE_AZURITE", "")
ACCOUNT = "devstoreaccount1"
# The key of the account that every Azurite has, as its documentation gives it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket, and what a client is told."""

    url: str
    options: dict[str, Any]


@contextmanager
def moto() -> Iterator[tuple[str, dict[str, Any]]]:
    """Run moto's S3 server."""
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        _, port = running.get_host_and_port()
        endpoint = f"http://127.0.0.1:{port}"
        options = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        yield "s3://bucket", options | {"client_options": {"allow_http": True}}
    finally:
        running.stop()


@contextmanager
def azurite(log: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run Azurite; it keeps everything in memory and tells nobody."""
    if not os.path.exists(AZURITE):
        pytest.skip("Azurite is not installed: `make peers` does it where there is npm")
    command = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--silent"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--disableTelemetry"], stdout=out, stderr=subprocess.STDOUT, cwd=log.parent
        )
    try:
        endpoint = f"{_address(process, log)}/{ACCOUNT}"
        _make_container(endpoint)
        yield (
            "az://bucket",
            {
                "azure_storage_account_name": ACCOUNT,
                "azure_storage_account_key": KEY,
                "azure_storage_endpoint": endpoint,
                "client_options": {"allow_http": True},
            },
        )
    finally:
        process.terminate()
        process.wait(20)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until a server says where it listens."""
    for _ in range(600):
        found = re.search(r"listens on (http://\S+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        threading.Event().wait(0.1)
    raise RuntimeError(f"Azurite did not start: {log.read_text(errors='replace')[-500:]}")


def _make_container(endpoint: str) -> None:
    """Make a container: a request that is signed with the key of the account (Shared Key of Azure's REST interface)."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    signed = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/bucket\nrestype:container"
    )
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()).decode()
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    request = urllib.request.Request(f"{endpoint}/bucket?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request).close()


@contextmanager
def google() -> Iterator[tuple[str, dict[str, Any]]]:
    """Run our own server; what it shows is that the client for ``gs://`` works, not what Google answers."""
    server = ObjectServer()
    try:
        yield "gs://bucket", server.google_options | {"retry_config": {"max_retries": 3}}
    finally:
        server.close()


@pytest.fixture(scope="session", params=["moto", "azurite", "google"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One of the servers: the URL of a bucket, and the options."""
    servers = {"moto": moto, "google": google, "azurite": lambda: azurite(tmp_path_factory.mktemp("azurite") / "log")}
    with servers[request.param]() as found:
        yield found


@pytest.fixture
def place(server: Any, request: pytest.FixtureRequest) -> Place:
    """A prefix of its own for each test."""
    url, options = server
    return Place(f"{url}/{re.sub(r'[^a-z_]', '-', request.node.name)}", options)
