"""Fine-tune on chats: no chat is cut, several share a row, and only answers are learned.

python examples/finetune_chat.py
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import torch

import tokstore as ts

QUESTION, ANSWER, END = 1, 2, 0


def make_store(path: str, chats: int) -> None:
    """Write chats of one or two turns: a question of some ids, and as the answer the same ids backwards.

    The mask beside the ids marks the words of answers. The end of a chat is learned too, because its last token is.
    """
    rng = np.random.default_rng(0)
    schema = ts.Schema(tokens=ts.Tokens(64, eos_id=END), is_answer=ts.Mask(of="tokens"))
    with ts.create(path, schema) as writer:
        for _ in range(chats):
            ids: list[int] = []
            is_answer: list[bool] = []
            for _ in range(int(rng.integers(1, 3))):
                words = rng.integers(3, 64, int(rng.integers(3, 9))).tolist()
                ids += [QUESTION, *words, ANSWER, *words[::-1]]
                is_answer += [False] * (len(words) + 2) + [True] * len(words)
            writer.append(tokens=ids, is_answer=is_answer)


def main() -> None:
    """Train a few steps and say how much of the rows was learned from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(64, 64), torch.nn.Linear(64, 64))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    learned = places = 0
    with tempfile.TemporaryDirectory() as folder:
        make_store(folder + "/chats", 1000)
        data = ts.StreamingDataset(
            ts.open(folder + "/chats"), seq_len=64, packing="whole", overlong="error", batch_size=8, labels="next",
            loss_mask="is_answer", epochs=None,
        )  # fmt: skip
        for step, batch in enumerate(data, 1):
            labels = batch["labels"]
            loss = torch.nn.functional.cross_entropy(model(batch["input_ids"]).flatten(0, 1), labels.flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            learned, places = learned + int((labels != -100).sum()), places + labels.numel()
            if step >= options.steps:
                break
    print(f"loss {loss.item():.3f}; {learned / places:.0%} of the places are answers")


if __name__ == "__main__":
    main()
