"""Train a classifier of images that are kept as codes of a quantizer, and augmented as codes (as in SeiT, 2023).

An image is 32 x 32 codes of a codebook of 391. Pixels are never made: the model embeds codes, and so the augmentations
work on codes as well. Boxes are cut from other images of the batch, and codes are replaced by their neighbours in the
codebook. Both happen in `transform`, where batches are made, with numbers that are the same for any workers.

python examples/train_codes.py
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import numpy as np
import torch

import tokstore as ts

CODES, GRID, CLASSES, NEIGHBOURS = 391, 32, 10, 4


def make_store(path: str, images: int) -> None:
    """Write images: each class has codes of its own that come often, one blob of them in every image."""
    rng = np.random.default_rng(0)
    favourites = rng.integers(0, CODES, (CLASSES, 12))
    common = np.sort(rng.integers(0, CODES, 60))
    rows, columns = np.mgrid[:GRID, :GRID]
    schema = ts.Schema(codes=ts.Codes(CODES, (GRID, GRID)), label=ts.Label(CLASSES))
    with ts.create(path, schema, level="fast") as writer:
        labels = rng.integers(0, CLASSES, images)
        center = rng.integers(6, GRID - 6, (2, images, 1, 1))
        grids = rng.choice(common, (images, GRID, GRID))
        is_blob = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 40
        own = favourites[labels[:, None, None], rng.integers(0, favourites.shape[1], grids.shape)]
        is_own = is_blob & (rng.random(grids.shape) < 0.4)
        writer.extend(codes=np.where(is_own, own, grids), label=labels)


class Augment:
    """Cut boxes from other images, with their share of the label, and replace codes by neighbours in the codebook.

    Args:
        neighbours: int64 [codes, n], the nearest codes of each code.
    """

    def __init__(self, neighbours: torch.Tensor) -> None:
        self.neighbours = neighbours

    def __call__(self, batch: Any, rng: np.random.Generator) -> None:
        """Change a batch in place: codes [B, 32, 32], and the label as probabilities [B, classes]."""
        codes = batch["codes"]
        count, side = len(codes), codes.shape[1]
        replaced = torch.from_numpy(rng.random(codes.shape) < 0.05)
        which = torch.from_numpy(rng.integers(0, self.neighbours.shape[1], codes.shape))
        codes[replaced] = self.neighbours[codes, which][replaced]
        # One box for the batch, of a random share of the image, from the image that stands beside it.
        height, width = rng.integers(1, side, 2)
        top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
        other = torch.from_numpy(rng.permutation(count))
        box = (slice(None), slice(top, top + height), slice(left, left + width))
        codes[box] = codes[other][box]
        share = height * width / side**2
        target = torch.nn.functional.one_hot(batch["label"], CLASSES).float()
        batch["label"] = target * (1 - share) + target[other] * share


class Classifier(torch.nn.Module):
    """Embed codes, join patches of 4 x 4 of them, and average what is found in the patches."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(CODES, width)
        self.patch = torch.nn.Conv2d(width, 2 * width, 4, 4)
        self.head = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Linear(2 * width, CLASSES))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] for codes [B, 32, 32]."""
        patches = self.patch(self.embed(codes).permute(0, 3, 1, 2))
        logits: torch.Tensor = self.head(patches.flatten(2).transpose(1, 2)).mean(1)
        return logits


def main() -> None:
    """Train some steps and say how many of the held-out images are classified right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Classifier()
    # A real codebook has vectors, and the nearest of them are neighbours; this one has numbers.
    neighbours = (torch.arange(CODES)[:, None] + torch.arange(1, NEIGHBOURS + 1)) % CODES
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    with tempfile.TemporaryDirectory() as folder:
        make_store(folder + "/images", options.images)
        store = ts.open(folder + "/images")
        train, held_out = store.split({"train": 0.9, "held out": 0.1}, seed=0).values()
        data = ts.StreamingDataset(train, batch_size=32, epochs=None, transform=Augment(neighbours))
        for step, batch in enumerate(data.loader(), 1):
            loss = torch.nn.functional.cross_entropy(model(batch["codes"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step >= options.steps:
                break
        right = images = 0
        emit = ("codes", "label", "valid")
        with torch.no_grad():
            for batch in ts.StreamingDataset(held_out, batch_size=64, shuffle=False, emit=emit):
                found = model(batch["codes"]).argmax(1)
                right += int(((found == batch["label"]) & batch["valid"]).sum())
                images += int(batch["valid"].sum())
        bits = store.stored_bytes("codes") * 8 / (len(store) * GRID * GRID)
    print(f"loss {loss.item():.3f}; {right / images:.0%} of {images} held-out images; {bits:.2f} bits a code")


if __name__ == "__main__":
    main()
