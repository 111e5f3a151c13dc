"""Ranks as processes: one that is killed and started again alone goes on with the very batch that comes next."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import tokstore as ts
from test_loader_workers import left, needs_proc, processes, until
from tokstore.loader import StreamingDataset

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)
RANKS, STEPS, KILLED_AT = 2, 60, 23


def stream(path: str, rank: int, ranks: int = RANKS) -> StreamingDataset:
    """Return the stream of a rank, shuffled by windows."""
    return StreamingDataset(
        ts.open(path), seq_len=64, packing="fit", global_batch_size=8, epochs=None, rank=rank, world_size=ranks,
        buffer=1, threads=1, emit=("input_ids",),
    )  # fmt: skip


def train(path: str, rank: int, log: str, waits_at: int | None) -> None:
    """Be a rank: write down each batch with the state behind it, and wait at a step to be killed."""
    data = stream(path, rank)
    loader: Any = data.loader()
    with open(log, "a+", encoding="ascii") as file:
        file.seek(0)
        lines = file.read().splitlines()
        if lines:
            loader.load_state_dict(json.loads(lines[-1])["state"])
        for step, batch in enumerate(loader, len(lines)):
            if step == STEPS:
                break
            if step == waits_at:
                time.sleep(60)
            line = {"ids": batch["input_ids"].tolist(), "state": loader.state_dict()}
            file.write(json.dumps(line) + "\n")
            file.flush()


@needs_proc
def test_a_killed_rank_is_started_again_alone(tmp_path: Path) -> None:
    """SIGKILL takes one rank; the other never notices; the new one goes on from its state; no process is left."""
    path = str(tmp_path / "store")
    with ts.create(path, ts.Schema(tokens=ts.Tokens(10_000, eos_id=0)), level="fast") as writer:
        writer.extend(tokens=[[i % 9_999 + 1] * (1 + i * 37 % 150) for i in range(3000)])
    others, before = processes(), left()
    context = multiprocessing.get_context("fork")
    logs = [str(tmp_path / f"{rank}.jsonl") for rank in range(RANKS)]

    def start(rank: int, waits_at: int | None) -> Any:
        one = context.Process(target=train, args=(path, rank, logs[rank], waits_at))
        one.start()
        return one

    def written(rank: int) -> list[str]:
        return Path(logs[rank]).read_text(encoding="ascii").splitlines() if os.path.exists(logs[rank]) else []

    steady, dying = start(0, None), start(1, KILLED_AT)
    assert until(lambda: len(written(1)) == KILLED_AT)
    os.kill(dying.pid, signal.SIGKILL)
    dying.join(30)
    assert dying.exitcode == -signal.SIGKILL
    again = start(1, None)
    for one in (steady, again):
        one.join(60)
        assert one.exitcode == 0
    expected = [batch["input_ids"].tolist() for batch, _ in zip(stream(path, 0, 1), range(STEPS), strict=False)]
    for rank in range(RANKS):
        found = [json.loads(line)["ids"] for line in written(rank)]
        assert found == [batch[rank::RANKS] for batch in expected]
    for one in (steady, dying, again):
        one.close()
    assert until(lambda: processes() <= others and left()[0] == before[0])


@needs_proc
def test_spawned_workers_leave_nothing(tmp_path: Path) -> None:
    """Spawned workers of loaders that are dropped in the middle end, with their shared memory, files and threads."""
    path = str(tmp_path / "store")
    with ts.create(path, ts.Schema(tokens=ts.Tokens(300)), level="fast") as writer:
        writer.extend(tokens=[[i % 300] * 500 for i in range(400)])
    data = stream(path, 0, 1)

    def use() -> None:
        iterator = iter(data.loader(num_workers=1, multiprocessing_context="spawn"))
        next(iterator)

    others, shared = processes(), left()[0]
    use()
    assert until(lambda: left()[0] == shared and not [p for p in processes() - others if "spawn_main" in command(p)])
    threads = left()[2]
    assert not [name for name in threads if name.startswith(("tokstore", "QueueFeeder"))]


def command(process: int) -> str:
    """Return the command line of a process; the resource tracker of multiprocessing is one that stays."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""
