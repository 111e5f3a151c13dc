"""Train with two processes, kill them, resume with four, and check that the global batches are those of one process.

python examples/train_ddp.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import tokstore as ts

ROWS = 8


def make_store(path: str, samples: int) -> None:
    """Write samples of random ids."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 90, samples)
    with ts.create(path, ts.Schema(tokens=ts.Tokens(256, eos_id=0))) as writer:
        writer.extend(tokens=ts.Ragged(rng.integers(1, 256, lengths.sum()).astype(np.int32), lengths))


def make_stream(folder: str) -> ts.StreamingDataset:
    """Return global batches of eight rows; which rank this is comes from torch.distributed."""
    return ts.StreamingDataset(ts.open(folder + "/corpus"), seq_len=64, global_batch_size=ROWS, epochs=None)


def train(rank: int, ranks: int, folder: str, steps: int, start: int) -> None:
    """Train some steps, saving model and state at each, and note what was seen; then wait to be killed."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inner = torch.nn.Sequential(torch.nn.Embedding(256, 32), torch.nn.Linear(32, 256))
    data = make_stream(folder)
    if start:
        inner.load_state_dict(torch.load(f"{folder}/model-{start}.pt"))
        data.load_state_dict(json.loads(Path(f"{folder}/state-{start}.json").read_text()))
    model = torch.nn.parallel.DistributedDataParallel(inner)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    step = start
    for batch in data:
        loss = torch.nn.functional.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        torch.save(batch["input_ids"], f"{folder}/seen-{step}-{rank}.pt")
        if rank == 0:
            torch.save(inner.state_dict(), f"{folder}/model-{step}.pt")
            Path(f"{folder}/state-{step}.json").write_text(json.dumps(data.state_dict(batch)))
        dist.barrier()
        if step == start + steps:
            break
    Path(f"{folder}/ready-{ranks}-{rank}").touch()
    while True:
        torch.randn(10)
        multiprocessing.Event().wait(0.1)


def run(ranks: int, folder: str, steps: int, start: int) -> None:
    """Start processes, and kill them where they stand once they have made their steps."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train, args=(rank, ranks, folder, steps, start)) for rank in range(ranks)]
    for process in processes:
        process.start()
    while not all(Path(f"{folder}/ready-{ranks}-{rank}").exists() for rank in range(ranks)):
        if any(process.exitcode is not None for process in processes):
            raise SystemExit("a process failed")
        multiprocessing.Event().wait(0.1)
    for process in processes:
        process.kill()
        process.join()


def main() -> None:
    """Run with two processes, then four, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_store(folder + "/corpus", 500)
        run(2, folder, options.steps, 0)
        run(4, folder, options.steps, options.steps)
        for step, batch in zip(range(1, 2 * options.steps + 1), make_stream(folder), strict=False):
            ranks = 2 if step <= options.steps else 4
            for rank in range(ranks):
                seen = torch.load(f"{folder}/seen-{step}-{rank}.pt")
                if not torch.equal(seen, batch["input_ids"][rank::ranks]):
                    raise SystemExit(f"step {step}, rank {rank}: another batch")
    print(f"{options.steps} steps with 2 processes and {options.steps} with 4: the batches of one process")


if __name__ == "__main__":
    main()
