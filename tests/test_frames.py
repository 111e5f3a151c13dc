"""zstd frames in the one form of the format (format.md 2.5)."""

from __future__ import annotations

import random
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts import allocates_at_most, check_reader
from tokstore.errors import CorruptError
from tokstore.frames import Dictionary, compress, decompress, decompress_together

LEVELS = (3, 9, 12, 19)
TEXT = b"the quick brown fox jumps over the lazy dog, " * 30


def frame(content: bytes, **options: bool) -> bytes:
    """Make a frame with the library itself."""
    return zstandard.ZstdCompressor(**options).compress(content)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 300_000])
def test_frames_have_the_one_form(level: int, size: int) -> None:
    """At every level and around every width of the size field: size known, one segment, no checksum, no id."""
    content = (TEXT * (size // len(TEXT) + 1))[:size]
    made = compress(content, level)
    found = zstandard.get_frame_parameters(made)
    assert (found.content_size, found.has_checksum, found.dict_id) == (size, False, 0)
    assert made[4] & 0x20
    assert decompress(made, least=size, most=size) == content


@given(st.binary(max_size=2000), st.binary(min_size=1, max_size=3000), st.sampled_from(LEVELS))
def test_frames_with_dictionary_round_trip(content: bytes, history: bytes, level: int) -> None:
    """Any content comes back with the dictionary it was made with."""
    if history[:4] == bytes.fromhex("37a430ec"):
        history = history[1:]
    dictionary = Dictionary(history)
    made = compress(content + history[-50:], level, dictionary)
    assert zstandard.get_frame_parameters(made).dict_id == 0
    assert made[4] & 0x20
    found = decompress(made, least=0, most=10_000, dictionary=Dictionary(history))
    assert found == content + history[-50:]


@pytest.mark.parametrize("level", LEVELS)
def test_dictionary_is_used_to_its_first_byte(level: int) -> None:
    """Content that stands only at the very start of a large dictionary costs almost nothing."""
    noise = random.Random(7).randbytes(300_000)
    dictionary = Dictionary(noise)
    content = noise[:20_000]
    made = compress(content, level, dictionary)
    assert len(made) < 200
    assert decompress(made, least=20_000, most=20_000, dictionary=Dictionary(noise)) == content


def test_trained_dictionary_is_refused() -> None:
    """History that begins like a trained dictionary would be read as one."""
    with pytest.raises(CorruptError, match=r"begins like a trained one \(format\.md 2\.5\)"):
        Dictionary(bytes.fromhex("37a430ec") + bytes(100))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x28",
        b"not a frame, surely",
        frame(TEXT, write_checksum=True),
        frame(TEXT, write_content_size=False),
        compress(TEXT) + b"\0",
        compress(TEXT) + compress(TEXT),
        compress(TEXT)[:-1],
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    ],
    ids=["empty", "byte", "text", "checksum", "no size", "trailing", "two", "cut", "skippable"],
)
def test_other_frames_are_refused(data: bytes) -> None:
    """Only exactly one frame in the one form is read."""
    with pytest.raises(CorruptError, match=r"\(format\.md 2\.5\)"):
        decompress(data, least=0, most=1 << 20)


def test_frame_that_is_not_single_segment_is_refused() -> None:
    """A frame with a window of its own could ask for more memory than its content."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=20)
    streamed = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(TEXT) * 10_000)
    data = b"".join([streamed.compress(TEXT * 10_000), streamed.flush()])
    if data[4] & 0x20:
        pytest.fail("the library made a single segment")
    with pytest.raises(CorruptError, match="not single-segment"):
        decompress(data, least=0, most=1 << 30)


def test_size_is_compared_before_anything_is_allocated() -> None:
    """A frame that says it holds a gigabyte costs nothing."""
    bomb = compress(bytes(64 << 20))
    with allocates_at_most(1 << 20), pytest.raises(CorruptError, match="67108864 bytes, not 0 to 1000"):
        decompress(bomb, least=0, most=1000)
    with pytest.raises(CorruptError, match="3 bytes, not 4 to 4"):
        decompress(compress(b"abc"), least=4, most=4)


@pytest.mark.hostile
@given(st.binary(max_size=300), st.integers(0, 1000))
def test_damaged_frames(content: bytes, seed: int) -> None:
    """Any damage gives bytes within the bounds or a `CorruptError`."""

    def read(data: bytes) -> bytes:
        return decompress(data, least=0, most=1000)

    check_reader(read, compress(content), is_checked=False, seed=seed, flips=30, allowed=1 << 20)


def test_frames_on_many_threads() -> None:
    """Compressors are per thread, dictionaries are shared, and more dictionaries than are kept do no harm."""
    dictionaries = [Dictionary(bytes([i]) * 20 + TEXT[i:]) for i in range(12)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for i in range(60):
            dictionary = dictionaries[(i * 7 + seed) % 12]
            content = TEXT[: 10 + i]
            made = compress(content, LEVELS[i % 4], dictionary)
            if decompress(made, least=0, most=1000, dictionary=dictionary) != content:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_frames_decoded_together() -> None:
    """Several frames by one call are what each is alone; one that is cut, longer or of another size is told."""
    dictionary = Dictionary(b"a history to point into " * 9)
    contents = [bytes(1000), b"abc" * 70_000, b"x", b"a history to point into it" * 50]
    for history in (None, dictionary):
        frames = [memoryview(compress(one, 3, history)) for one in contents]
        sizes = [len(one) for one in contents]
        found = decompress_together(frames, sizes, history)
        assert found is not None
        assert [bytes(one) for one in found] == contents
        for number in range(4):
            whole = bytes(frames[number])
            for wrong in (whole + b"\0", whole + whole, whole[:-1]):
                others = [*frames[:number], memoryview(wrong), *frames[number + 1 :]]
                assert decompress_together(others, sizes, history) is None
            assert (
                decompress_together(frames, [*sizes[:number], sizes[number] + 1, *sizes[number + 1 :]], history) is None
            )
