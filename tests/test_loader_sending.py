"""Loaders that are left early: workers end cleanly, whatever they were sending."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tokstore as ts
from test_loader_fake import FakeSource
from tokstore.loader import sending

WORKER = """
import importlib.util, multiprocessing, os, sys, time

spec = importlib.util.spec_from_file_location("sending", sys.argv[1])
sending = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sending)


class Slow:
    def __reduce__(self):
        os.write(1, b"begun ")
        time.sleep(0.3)
        os.write(1, b"sent")
        return int, ()


if __name__ == "__main__":
    for _ in range(int(sys.argv[2])):
        sending.finish_sending()
    queue = multiprocessing.get_context("spawn").Queue()
    queue.put(Slow())
    while not queue._thread.is_alive():
        pass
    time.sleep(0.1)
    queue.cancel_join_thread()
    queue.close()
"""


@pytest.mark.parametrize(("calls", "written"), [(0, "begun "), (2, "begun sent")])
def test_a_worker_ends_when_it_has_sent(tmp_path: Path, calls: int, written: str) -> None:
    """A queue that nobody waits for is waited for at the end of the process; without that it is cut off."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(sending.__file__), str(calls)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (written, "")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning")
def test_twenty_breaks(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is said and nothing is left, wherever a loop over workers is left; the stream goes on there."""
    data = ts.StreamingDataset(FakeSource([300] * 900), seq_len=256, batch_size=8, epochs=None, emit=("input_ids",))  # type: ignore[arg-type]
    rows = 0
    for time in range(20):
        loader = data.loader(num_workers=1 + time % 2, multiprocessing_context="fork")
        for number, batch in enumerate(loader):
            assert batch.rows.start == rows
            rows += 8
            if number == time % 3:
                break
        assert data.progress()["rows"] == rows
    del loader
    assert multiprocessing.active_children() == []
    assert not [one.name for one in threading.enumerate() if "tokstore" in one.name]
    assert capfd.readouterr() == ("", "")
