"""Whole files and stores: damaged with their checksums in force, or forged with checksums that fit."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from fuzz import mutations
from fuzz.manifests import forge_store
from fuzz.places import Found, WrongError, read
from fuzz.seeds import Seed

_STEP = 2_654_435_761
"""A prime: in steps of it the numbers of all cases come in another order; a short run sees some of everything."""

REFUSED, PARTLY, SAME, OTHER = "refused", "partly", "same", "other"
_EVERY = 16

_GOOD: dict[int, tuple[Seed, Found]] = {}
"""What the seeds hold, for all targets; each is kept, so that its identity stays its own."""


@dataclass(frozen=True)
class Case:
    """One case: what is read, and how it was made."""

    what: str
    files: dict[str, bytes]
    seed: Seed
    thoroughly: bool = False


class Stores:
    """What cases of whole stores share.

    Args:
        seeds: The sound stores.
    """

    name = ""
    is_sealed = False

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.seeds = seeds

    def good(self, seed: Seed) -> Found:
        """Return what a sound store holds."""
        kept = _GOOD.get(id(seed))
        if kept is None:
            kept = _GOOD[id(seed)] = (seed, read(seed.files, seed.version, thoroughly=True))
        return kept[1]

    def check(self, case: Case) -> str:
        """Read a case.

        Raises:
            WrongError: There are values where there should be none, or others.
        """
        found = read(case.files, case.seed.version, thoroughly=case.thoroughly)
        differs = found.differ(self.good(case.seed))
        if differs and not self.is_sealed:
            raise WrongError(f"{differs} has other values, and no checksum noticed")
        if "store" in found.refused:
            return REFUSED
        return PARTLY if found.refused else OTHER if differs else SAME

    def save(self, case: Case) -> dict[str, bytes]:
        """Return the files of a case."""
        return case.files


class Exact(Stores):
    """Every truncation and every flipped bit of every file, with all checksums in force."""

    name = "exact"

    def __init__(self, seeds: Sequence[Seed]) -> None:
        super().__init__(seeds)
        self._files = [(seed, path) for seed in seeds for path in seed.files]
        self._ends = list(accumulate(9 * len(seed.files[path]) for seed, path in self._files))
        self.size = self._ends[-1] if self._ends else 0

    def make(self, number: int, rng: random.Random) -> Case:
        """Make the case of a number below `size`; one of 9 is a cut."""
        place = number * _STEP % self.size
        which = bisect_right(self._ends, place)
        seed, path = self._files[which]
        data = seed.files[path]
        at, bit = divmod(place - (self._ends[which] - 9 * len(data)), 9)
        if bit == 8:
            what, damaged = f"{path} cut to {at} bytes", data[:at]
        else:
            what = f"bit {bit} of byte {at} of {path} flipped"
            damaged = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        return Case(f"{seed.name}: {what}", {**seed.files, path: damaged}, seed)


class Noise(Stores):
    """Bytes that change, go, come or move in one file, with all checksums in force."""

    name = "noise"
    size = None

    def make(self, number: int, rng: random.Random) -> Case:
        """Make a case."""
        seed = rng.choice(self.seeds)
        path = rng.choice(sorted(seed.files))
        # Views, parts and the newest version can be taken away, and then nothing says that they were there.
        if path.startswith(("data/", "objects/", "pages/", "plans/", "deletions/")) and rng.random() < 0.1:
            files = {one: data for one, data in seed.files.items() if one != path}
            return Case(f"{seed.name}: {path} is gone", files, seed)
        files = {**seed.files, path: mutations.strike(rng, seed.files[path])}
        return Case(f"{seed.name}: {path} struck", files, seed, rng.randrange(_EVERY) == 0)


class Forged(Stores):
    """One part changed, and everything that vouches for it made right again: a deeper layer has to object."""

    name = "forged"
    size = None
    is_sealed = True

    def make(self, number: int, rng: random.Random) -> Case:
        """Make a case."""
        seed = rng.choice(self.seeds)
        return Case(f"{seed.name}: forged", forge_store(rng, seed), seed, rng.randrange(_EVERY) == 0)


def check_limit(values: Any, limit: int | None) -> None:
    """Refuse integers that are not below a limit.

    Raises:
        WrongError: There is one.
    """
    if limit is not None and values.size and (int(values.min()) < 0 or int(np.max(values)) >= limit):
        raise WrongError(f"a value is not below {limit}")
