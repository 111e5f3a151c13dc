"""A small transformer that learns from a store on the CPU; how fast data arrives is measured on the way.

The model is as plain as it can be: learned positions, pre-norm blocks, causal attention, tied embeddings. It is there
to show the data path under a real training loop, so every step is timed in two parts: waiting for the batch, and
computing with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tokstore as ts

__all__ = ["Progress", "TinyTransformer", "train"]

SEQ_LEN, BATCH_SIZE = 256, 4
WIDTH, DEPTH, HEADS = 128, 2, 4
PEAK_RATE, WARMUP_STEPS = 5e-3, 30
SMOOTHING = 0.95


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step.

    Attributes:
        step: Steps done.
        tokens: Tokens trained on.
        seconds: Time since the first batch was asked for.
        waiting_seconds: How much of it was spent waiting for batches.
        first_loss: Cross-entropy of the first step, in nats per token.
        loss: Cross-entropy, smoothed over about twenty steps.
        losses: The smoothed loss after every step.
    """

    step: int
    tokens: int
    seconds: float
    waiting_seconds: float
    first_loss: float
    loss: float
    losses: tuple[float, ...]


class Block(nn.Module):
    """Attention and a two-layer network, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map activations [batch, length, width] to the same shape."""
        b, n, width = x.shape
        q, k, v = self.mix(self.norms[0](x)).view(b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(b, n, width))
        y: Tensor = x + self.network(self.norms[1](x))
        return y


class TinyTransformer(nn.Module):
    """A decoder for token ids [batch, length] to logits [batch, length, vocab_size]."""

    def __init__(self, vocab_size: int, seq_len: int = SEQ_LEN) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, WIDTH)
        self.places = nn.Embedding(seq_len, WIDTH)
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        for embedding in (self.tokens, self.places):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of the next token at every place."""
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


def train(store: ts.Store, seconds: float, on_step: Callable[[Progress], None], *, seed: int = 0) -> Progress:
    """Train on a store for a while.

    Args:
        store: Its column ``tokens`` is learned from.
        seconds: How long; at least one step is made.
        on_step: Is called after every step.
        seed: Of the weights and of the order of the data.

    Returns:
        Where training stood after the last step.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    kind = store.schema["tokens"]
    if not isinstance(kind, ts.Tokens):
        raise TypeError(f"column 'tokens' holds {kind!r}, and the demo trains on token ids")
    model = TinyTransformer(kind.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    data = ts.StreamingDataset(
        store,
        seq_len=SEQ_LEN,
        packing="concat",
        batch_size=BATCH_SIZE,
        shuffle=True,
        seed=seed,
        epochs=None,
        labels="next",
    )
    losses: list[float] = []
    first = waiting = 0.0
    progress = Progress(0, 0, 0.0, 0.0, 0.0, 0.0, ())
    batches = iter(data)
    began = time.perf_counter()
    while not losses or progress.seconds < seconds:
        asked = time.perf_counter()
        batch = next(batches)
        waiting += time.perf_counter() - asked
        left = max(0.0, 1 - progress.seconds / seconds) if seconds > 0 else 1.0
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * min(1.0, (len(losses) + 1) / WARMUP_STEPS) * (0.05 + 0.95 * left)
        loss = F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        now = float(loss.detach())
        first = now if not losses else first
        losses.append(now if not losses else SMOOTHING * losses[-1] + (1 - SMOOTHING) * now)
        progress = Progress(
            step=len(losses),
            tokens=len(losses) * SEQ_LEN * BATCH_SIZE,
            seconds=time.perf_counter() - began,
            waiting_seconds=waiting,
            first_loss=first,
            loss=losses[-1],
            losses=tuple(losses),
        )
        on_step(progress)
    return progress
