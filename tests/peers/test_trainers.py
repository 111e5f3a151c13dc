"""The stream under torchdata, Accelerate, Lightning and Transformers; `make peers` installs them and runs this."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tokstore as ts

pytest.importorskip("torchdata")
pytest.importorskip("accelerate")
pytest.importorskip("lightning")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).resolve().parents[2]))  # spawned processes import this module by name
pytestmark = pytest.mark.filterwarnings("ignore")


def make_store(path: str) -> str:
    """Write a small store."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(64, eos_id=0)), level="fast") as writer:
        writer.extend(tokens=[[(i * 7 + t) % 63 + 1 for t in range(5 + i % 20)] for i in range(300)])
    return path


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Path of a small store."""
    return make_store(str(tmp_path / "store"))


def stream(path: str, **options: Any) -> ts.StreamingDataset:
    """Return a stream of about thirty batches."""
    return ts.StreamingDataset(ts.open(path), **{"seq_len": 16, "batch_size": 8, "packing": "fit"} | options)


def ids(batches: Any) -> list[Any]:
    """Return the ids of batches."""
    return [batch["input_ids"].tolist() for batch in batches]


def accelerated(rank: int, path: str, meeting: str, answers: Any) -> None:
    """Prepare a loader and a bare DataLoader as one of two processes; tell the rows and the warnings."""
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": meeting, "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"ACCELERATE_USE_CPU": "true"}
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    loader = accelerator.prepare(stream(path).loader())
    rows = [list(batch.rows) for batch in loader]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bare = accelerator.prepare(torch.utils.data.DataLoader(stream(path), batch_size=None))
        next(iter(bare))
        found = sum("second time" in str(one.message) for one in said)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        next(iter(stream(path).loader()))
        quiet = not any("second time" in str(one.message) for one in said)
    answers.put((rank, rows, found, quiet))
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()


def test_accelerate(path: str) -> None:
    """Two processes of Accelerate: what `loader()` gives is not sharded again, and a bare stream warns."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=accelerated, args=(rank, path, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    found = {rank: rest for rank, *rest in (answers.get(timeout=240) for _ in processes)}
    for process in processes:
        process.join(60)
    rows = stream(path).rows_per_epoch
    assert sorted(row for rank in (0, 1) for part in found[rank][0] for row in part) == list(range(rows))
    assert all(row % 2 == rank for rank in (0, 1) for part in found[rank][0] for row in part)
    assert [found[rank][1:] for rank in (0, 1)] == [[1, True], [1, True]]


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_first_batches(path: str, workers: int) -> None:
    """Accelerate skips batches of `loader()`, with workers too; `set_epoch` says where workers begin after that."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    data = stream(path)
    expected = [ids(data) for _ in range(3)]
    data = stream(path)
    loader = accelerator.prepare(data.loader(num_workers=workers))
    skipped = accelerator.skip_first_batches(loader, 7)
    assert len(skipped) == len(loader) - 7
    assert ids(skipped) == expected[0][7:]
    data.set_epoch(1)
    assert ids(loader) == expected[1]
    assert ids(loader) == expected[2]
    loader.load_state_dict(data.state_at(batches=7))
    assert ids(loader) == expected[0][7:]
    assert ids(loader) == expected[1]


def test_lightning(path: str, tmp_path: Path) -> None:
    """The loader's state is in Lightning's checkpoint, and a resumed run sees the batches that follow."""
    import lightning

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Embedding(64, 64)
            self.seen: list[Any] = []

        def training_step(self, batch: Any, index: int) -> Any:
            self.seen.append(batch["input_ids"].tolist())
            logits = self.layer(batch["input_ids"])
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def trainer(steps: int) -> Any:
        return lightning.Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip

    expected = ids(stream(path))
    first, runner = Model(), trainer(5)
    runner.fit(first, stream(path).loader())
    runner.save_checkpoint(tmp_path / "five.ckpt")
    assert first.seen == expected[:5]
    again = Model()
    trainer(9).fit(again, stream(path).loader(), ckpt_path=tmp_path / "five.ckpt", weights_only=False)
    assert again.seen == expected[5:9]


def tiny() -> Any:
    """Return a tiny model that remembers what it saw."""
    from transformers import GPT2Config, GPT2LMHeadModel

    class Remembers(GPT2LMHeadModel):  # type: ignore[misc]
        def forward(self, input_ids: Any = None, labels: Any = None, position_ids: Any = None, **rest: Any) -> Any:
            self.seen.append(input_ids.tolist())
            return super().forward(input_ids=input_ids, labels=labels, position_ids=position_ids, **rest)

    model = Remembers(GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    model.seen = []
    return model


@pytest.mark.parametrize("own", [True, False])
def test_transformers(path: str, tmp_path: Path, own: bool) -> None:
    """Transformers' Trainer takes rows, or `loader()` by a method; the batches are those of the stream."""
    from transformers import Trainer, TrainingArguments

    class Streams(Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return self.accelerator.prepare(self.train_dataset.loader())

    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=6, per_device_train_batch_size=8, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    model = tiny()
    emit = ("input_ids", "labels", "position_ids")
    if own:
        Streams(model=model, args=arguments, train_dataset=stream(path, emit=emit)).train()
    else:
        Trainer(model=model, args=arguments, train_dataset=stream(path, emit=emit, batch_size=None)).train()
    assert model.seen == ids(stream(path))[:6]
