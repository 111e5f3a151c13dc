"""Keys and permutations of the order (order.md 2 and 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_loader_fake import reference
from tokstore.order import permute, shuffled
from tokstore.order.keys import derive_key, mix

keys = st.integers(0, 2**64 - 1)


def test_every_small_size_is_a_bijection() -> None:
    """Both permutations hit each of 0 to n-1 once, for all n to 300."""
    for n in range(1, 301):
        for key in (0, 12345, 2**64 - 1):
            assert sorted(permute(np.arange(n), n, key).tolist()) == list(range(n))
            assert sorted(shuffled(n, key).tolist()) == list(range(n))
    assert shuffled(0, 1).tolist() == []


@given(st.integers(1, 5000), keys)
def test_permutations_are_those_of_the_page(n: int, key: int) -> None:
    """The vectorised permutations equal the plain ones, in whole and place by place."""
    places = np.arange(n)[:: max(1, n // 50)]
    assert permute(places, n, key).tolist() == [reference.permute(int(i), n, key) for i in places]
    assert shuffled(n, key).tolist() == reference.shuffled(n, key)


@given(st.integers(2**20, 2**40), keys, st.lists(st.integers(0, 2**20 - 1), max_size=20))
def test_single_places_of_large_ranges(n: int, key: int, places: list[int]) -> None:
    """Any place of a huge range can be asked alone, and different places differ."""
    found = permute(np.array(places, np.int64), n, key).tolist()
    assert found == [reference.permute(i, n, key) for i in places]
    assert len(set(found)) == len(set(places))


@given(st.lists(keys, max_size=50), st.tuples(keys, keys, keys, keys, keys, keys))
def test_mix_and_keys_are_those_of_the_page(values: list[int], fields: tuple[int, ...]) -> None:
    """The mixer and the key bytes equal the plain ones for all 64-bit numbers."""
    assert mix(np.array(values, np.uint64)).tolist() == [reference.mix(z) for z in values]
    assert derive_key(*fields) == reference.key(*fields)


def test_mix_leaves_its_input_alone() -> None:
    """The mixer returns a new array."""
    values = np.array([1, 2], np.uint64)
    mix(values)
    assert values.tolist() == [1, 2]


@pytest.mark.parametrize("permutation", [lambda n, key: permute(np.arange(n), n, key), shuffled])
def test_places_are_evenly_mixed(permutation: Any) -> None:
    """Over many keys every item is as often at every place: chi-square over 16 x 16 counts stays in its range."""
    counts = np.zeros((16, 16))
    for key in range(3200):
        counts[np.arange(16), permutation(16, reference.mix(key + 1))] += 1
    chi_square = float(((counts - 200) ** 2 / 200).sum())
    assert chi_square < 320  # 225 degrees of freedom: exceeded by chance in less than 1 of 10,000 sets of keys


def test_epochs_and_lanes_are_unrelated() -> None:
    """Keys that differ in one field give permutations that agree in about one place of n."""
    first = shuffled(1000, derive_key(1, 2, 0, 0, 0))
    for fields in [(2, 2, 0, 0, 0), (1, 3, 0, 0, 0), (1, 2, 1, 0, 0), (1, 2, 0, 1, 0), (1, 2, 0, 0, 1)]:
        assert int((shuffled(1000, derive_key(*fields)) == first).sum()) < 12


def test_ranges_are_checked() -> None:
    """Sizes, places and fields outside their ranges are refused."""
    with pytest.raises(ValueError, match=r"1 to 2\*\*40 items, not 0 \(order.md 3.1\)"):
        permute(np.arange(0), 0, 1)
    with pytest.raises(ValueError, match=r"places go from 0 to 4 \(order.md 3.1\)"):
        permute(np.array([5]), 5, 1)
    with pytest.raises(ValueError, match=r"0 to 2\*\*40 items, not -1"):
        shuffled(-1, 1)
    with pytest.raises(ValueError, match=r"unsigned 64-bit integers.*order.md 2.2"):
        derive_key(-1, 1, 0)
