"""Train a small model with plain PyTorch, stop, and go on with exactly the batches that would have come.

python examples/train_plain.py
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import torch

import tokstore as ts


def make_store(path: str, samples: int) -> str:
    """Write sentences of a language in which every word follows from the one before it, most of the time."""
    rng = np.random.default_rng(0)
    following = rng.permutation(255) + 1
    with ts.create(path, ts.Schema(tokens=ts.Tokens(256, eos_id=0))) as writer:
        for _ in range(samples):
            words = [int(rng.integers(1, 256))]
            for surprise in rng.random(int(rng.integers(10, 90))):
                words.append(int(following[words[-1] - 1]) if surprise < 0.9 else int(rng.integers(1, 256)))
            writer.append(tokens=words)
    return path


def make_stream(path: str) -> ts.StreamingDataset:
    """Return rows of 64 ids, packed so that hardly a sentence is cut."""
    return ts.StreamingDataset(ts.open(path), seq_len=64, packing="fit", batch_size=16, labels="next", epochs=None)


def main() -> None:
    """Train half of the steps, go on from the state with a new loader, and train the other half."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--samples", type=int, default=4000)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(256, 64), torch.nn.Linear(64, 256))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(folder + "/corpus", options.samples)
        state = make_stream(path).state_at(rows=0)
        for half in range(2):
            data = make_stream(path)
            data.load_state_dict(state)
            for step, batch in enumerate(data.loader(), 1):
                logits = model(batch["input_ids"])
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if step >= options.steps // 2:
                    state = data.state_dict(batch)  # integers and strings: json.dump would do
                    break
            print(f"half {half + 1}: loss {loss.item():.3f}, {data.progress()}")


if __name__ == "__main__":
    main()
