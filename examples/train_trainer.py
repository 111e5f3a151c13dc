"""Train with Transformers' Trainer, which gets the batches of `loader()` as they are.

pip install transformers accelerate
python examples/train_trainer.py
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import numpy as np
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import tokstore as ts


class StreamTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose batches are made by the stream: they are not sharded or collated again."""

    def get_train_dataloader(self) -> Any:
        """Return the stream's own loader."""
        return self.accelerator.prepare(self.train_dataset.loader())


def main() -> None:
    """Make a store of counting sequences and train a tiny model on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with ts.create(folder + "/corpus", ts.Schema(tokens=ts.Tokens(64, eos_id=0))) as writer:
            for start in rng.integers(0, 63, 2000):
                writer.append(tokens=(np.arange(start, start + rng.integers(5, 40)) % 63 + 1).tolist())
        data = ts.StreamingDataset(ts.open(folder + "/corpus"), seq_len=64, packing="fit", batch_size=8, epochs=4)
        config = GPT2Config(
            vocab_size=64, n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
        arguments = TrainingArguments(
            folder + "/out", max_steps=options.steps, learning_rate=1e-2, report_to=[], save_strategy="no",
            disable_tqdm=True,
        )  # fmt: skip
        result = StreamTrainer(model=GPT2LMHeadModel(config), args=arguments, train_dataset=data).train()
    print(f"loss {result.training_loss:.3f}")


if __name__ == "__main__":
    main()
