"""The command line as people run it: real processes, their exit codes, what they print, and what they leave behind."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("tokstore"))
TEXTS = ["the quick brown fox", "", "two\nlines", "é ü 中 \U0001f600"]
VERBS = (
    "pack", "commit", "info", "cat", "plan", "verify", "versions", "tag", "add-column", "delete", "dedup", "compact",
    "prune", "export", "copy", "join", "formats", "demo",
)  # fmt: skip


def run(
    *args: object, cwd: Path, stdin: bytes = b"", before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end."""
    words = [PROGRAM, *map(str, args)]
    return subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, timeout=120, preexec_fn=before)


def facts(*args: object, cwd: Path) -> dict[str, object]:
    """Run a verb with ``--json`` and return what it says."""
    done = run(*args, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_one_line(done: subprocess.CompletedProcess[bytes], code: int, *words: str) -> None:
    """Check that a process failed with one clear line on standard error and nothing else."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert text.startswith("error: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert done.stdout == b""
    for word in words:
        assert word in text


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of JSON lines."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "body": text.upper()}) + "\n" for text in TEXTS))
    return path


@pytest.fixture
def corpus(tmp_path: Path, lines: Path, tokenizer_file: Path) -> Path:
    """A store that the program packed with a tokenizer."""
    done = run("pack", lines, "corpus", "--tokenizer", tokenizer_file, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"version 1: 4 samples" in done.stdout
    return tmp_path / "corpus"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(verb: str, tmp_path: Path) -> None:
    """Every verb explains itself with examples that begin with the program's name."""
    done = run(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Examples:\n    tokstore {verb}" in done.stdout.decode() or f"\n    tokstore {verb}" in done.stdout.decode()


def test_the_program_lists_its_verbs(tmp_path: Path) -> None:
    """`tokstore --help` names all verbs, and `--version` the version."""
    text = run("--help", cwd=tmp_path).stdout.decode()
    assert all(f"\n  {verb} " in text for verb in VERBS)
    assert run("--version", cwd=tmp_path).stdout.startswith(b"tokstore, version 0.")


@pytest.mark.parametrize(
    "args",
    [
        ("no-such-verb",),
        ("info",),
        ("info", "no-such-folder"),
        ("pack", "texts.jsonl", "corpus"),
        ("pack", "texts.jsonl", "corpus", "--bytes", "--tokenizer", "texts.jsonl"),
        ("pack", "none.jsonl", "corpus", "--bytes"),
        ("pack", "texts.jsonl", "corpus", "--bytes", "--level", "best"),
        ("pack", "texts.jsonl", "corpus", "--bytes", "--part", "1", "--append"),
        ("cat", ".", "5:x"),
        ("demo", "--seconds", "-1"),
    ],
)
def test_wrong_use_is_2(args: tuple[str, ...], tmp_path: Path, lines: Path) -> None:
    """Wrong use ends with 2, says how it is meant, and writes nothing."""
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert b"Usage: tokstore" in done.stderr
    assert b"Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [lines]


def test_failures_are_1_with_one_line(tmp_path: Path, lines: Path, corpus: Path, tokenizer_file: Path) -> None:
    """A folder that is no store, a store that is there, a missing field, another tokenizer: one line, 1."""
    (tmp_path / "folder").mkdir()
    before = files(tmp_path)
    for verb in ("info", "cat", "verify", "versions", "commit"):
        assert_one_line(run(verb, "folder", cwd=tmp_path), 1, "folder")
    assert_one_line(run("pack", lines, "corpus", "--tokenizer", tokenizer_file, cwd=tmp_path), 1, "corpus", "already")
    assert_one_line(run("pack", lines, "new", "--bytes", "--text", "txt", cwd=tmp_path), 1, "texts.jsonl:1", "'txt'")
    assert_one_line(run("pack", lines, "corpus", "--bytes", "--append", cwd=tmp_path), 1, "another tokenizer")
    assert_one_line(run("pack", lines, "new", "--tokenizer", lines, cwd=tmp_path), 1, "no tokenizers file")
    assert_one_line(run("cat", "corpus", "4", cwd=tmp_path), 1, "4")
    assert files(tmp_path) == before


def test_cat_gives_the_text_back(tmp_path: Path, corpus: Path) -> None:
    """Into a pipe, `cat` writes texts and nothing else; samples are picked by position and by range."""
    assert run("cat", "corpus", cwd=tmp_path).stdout.decode() == "".join(text + "\n" for text in TEXTS)
    for picks, expected in ((("3", "0"), [3, 0]), (("1:3",), [1, 2]), (("-1",), [3]), (("-2:", "0:1"), [2, 3, 0])):
        text = run("cat", "corpus", "--", *picks, cwd=tmp_path).stdout.decode()
        assert text == "".join(TEXTS[i] + "\n" for i in expected)


def test_cat_as_ids_and_json(tmp_path: Path, corpus: Path) -> None:
    """`cat --ids` writes one line of ids per sample, `--json` one object per sample with everything in it."""
    id_lines = run("cat", "corpus", "--ids", cwd=tmp_path).stdout.decode().split("\n")
    objects = [json.loads(line) for line in run("cat", "corpus", "--json", cwd=tmp_path).stdout.splitlines()]
    assert [o["text"] for o in objects] == TEXTS
    assert [o["position"] for o in objects] == [0, 1, 2, 3]
    assert [" ".join(map(str, o["tokens"])) for o in objects] == id_lines[:-1]


def test_bytes_need_no_tokenizer(tmp_path: Path, lines: Path) -> None:
    """`pack --bytes` takes another field of the same lines, and its text comes back too."""
    assert run("pack", lines, "raw", "--bytes", "--text", "body", "--level", "fast", cwd=tmp_path).returncode == 0
    assert run("cat", "raw", "0", "2", cwd=tmp_path).stdout.decode() == "THE QUICK BROWN FOX\nTWO\nLINES\n"


def test_info_counts_every_byte(tmp_path: Path, corpus: Path) -> None:
    """`info` prints a table for people, and in JSON the bytes of the store as they are on disk."""
    text = run("info", "corpus", cwd=tmp_path).stdout.decode()
    assert "tokens" in text
    assert "\x1b" not in text
    found = facts("info", "corpus", cwd=tmp_path)
    assert found["samples"] == len(TEXTS)
    assert found["folder_bytes"] == sum(map(len, files(corpus).values()))


def test_append_and_versions(tmp_path: Path, corpus: Path, lines: Path, tokenizer_file: Path) -> None:
    """`pack --append` makes a version, `versions` lists both, and `info --version` still shows the first."""
    report = facts("pack", lines, lines, "corpus", "--tokenizer", tokenizer_file, "--append", cwd=tmp_path)
    assert (report["version"], report["samples"]) == (2, 8)
    listed = facts("versions", "corpus", cwd=tmp_path)["versions"]
    assert isinstance(listed, list)
    assert [(v["version"], v["samples"]) for v in listed] == [(2, 12), (1, 4)]
    assert facts("info", "corpus", "--version", "1", cwd=tmp_path)["samples"] == 4
    assert b"12" in run("versions", "corpus", cwd=tmp_path).stdout


def test_parts_become_one_version(tmp_path: Path, lines: Path) -> None:
    """Jobs stage parts, nothing is visible until `commit`, and then all of it is one version."""
    for part in ("00002", "00001"):
        done = run("pack", lines, "corpus", "--bytes", "--part", part, cwd=tmp_path)
        assert b"not yet committed" in done.stdout
    assert facts("info", "corpus", cwd=tmp_path)["samples"] == 0
    report = facts("commit", "corpus", cwd=tmp_path)
    assert (report["samples"], report["samples_added"]) == (8, 8)
    assert run("cat", "corpus", cwd=tmp_path).stdout.decode() == "".join(text + "\n" for text in TEXTS * 2)


def test_jobs_that_start_together_share_a_store(tmp_path: Path, lines: Path) -> None:
    """Four jobs that find no store at the same moment make one, and none of their parts is lost."""
    words = [[PROGRAM, "pack", str(lines), "corpus", "--bytes", "--part", f"p{i}"] for i in range(4)]
    jobs = [subprocess.Popen(one, cwd=tmp_path, stdout=subprocess.DEVNULL) for one in words]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0, 0, 0]
    assert facts("commit", "corpus", cwd=tmp_path)["samples"] == 4 * len(TEXTS)
    assert facts("verify", "corpus", cwd=tmp_path)["ok"] is True


def test_verify_finds_a_damaged_byte(tmp_path: Path, corpus: Path) -> None:
    """`verify` is silent about nothing: a good store passes, one flipped byte is named and ends with 1."""
    assert facts("verify", "corpus", cwd=tmp_path)["ok"] is True
    data = next((corpus / "data").rglob("*.tok"))
    content = bytearray(data.read_bytes())
    content[80] ^= 1
    data.chmod(0o644)
    data.write_bytes(bytes(content))
    done = run("verify", "corpus", cwd=tmp_path)
    assert done.returncode == 1
    assert data.name in done.stdout.decode() + done.stderr.decode()
    assert b"Traceback" not in done.stderr
    as_json = run("verify", "corpus", "--json", cwd=tmp_path)
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["ok"] is False


def test_standard_input_is_a_source(tmp_path: Path, lines: Path) -> None:
    """JSON lines can be piped in."""
    assert run("pack", "-", "corpus", "--bytes", cwd=tmp_path, stdin=lines.read_bytes()).returncode == 0
    assert run("cat", "corpus", "0", cwd=tmp_path).stdout.decode() == TEXTS[0] + "\n"


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """When whoever reads has gone, as with `head`, the program ends quietly."""
    (tmp_path / "big.txt").write_text("line\n" * 400_000)
    assert run("pack", "big.txt", "big.txt", "corpus", "--bytes", cwd=tmp_path).returncode == 0
    with subprocess.Popen([PROGRAM, "cat", "corpus"], cwd=tmp_path, stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


def start_endless_pack(cwd: Path, *args: str) -> subprocess.Popen[bytes]:
    """Start a pack that reads from a pipe, feed it until it surely reads, and leave the pipe open."""
    # A job in the background of a script ignores Ctrl-C and so would its children; a signal that is handled is not
    # inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([PROGRAM, "pack", "-", "corpus", "--bytes", *args], cwd=cwd, stdin=-1, stderr=-1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdin is not None
    line = json.dumps({"text": "x y z " * 2000}).encode() + b"\n"
    for _ in range(1000):  # 12 MB: far more than a pipe holds, so several batches have gone to the writer
        process.stdin.write(line)
    process.stdin.flush()
    return process


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_leaves_nothing(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM in the middle of a pack end with their own codes, and no store is left."""
    with start_endless_pack(tmp_path) as process:
        process.send_signal(sent)
        assert process.wait(timeout=60) == code
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_the_store_as_it_was(tmp_path: Path, lines: Path) -> None:
    """Ctrl-C while appending, or while staging a part, leaves every file of the store and no other."""
    assert run("pack", lines, "corpus", "--bytes", cwd=tmp_path).returncode == 0
    before = files(tmp_path)
    for args in (("--append",), ("--part", "1")):
        with start_endless_pack(tmp_path, *args) as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        assert files(tmp_path) == before


def test_full_disk_leaves_nothing(tmp_path: Path, lines: Path) -> None:
    """When files cannot grow any more, a pack ends with one line, and the store is as it was or not there."""
    (tmp_path / "noise.txt").write_text(os.urandom(300_000).hex())
    assert run("pack", lines, "corpus", "--bytes", cwd=tmp_path).returncode == 0
    before = files(tmp_path)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    for store, *more in (("new",), ("corpus", "--append"), ("corpus", "--part", "1")):
        done = run("pack", "noise.txt", store, "--bytes", *more, cwd=tmp_path, before=small_files_only)
        assert_one_line(done, 1, "File too large")
        assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_full_file_system_leaves_nothing(tmp_path: Path) -> None:
    """The same where a whole file system is full; needs the right to mount one, and is the test above elsewhere."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(place)], capture_output=True)
    if mounted.returncode != 0:
        return
    try:
        (tmp_path / "noise.txt").write_text(os.urandom(300_000).hex())
        done = run("pack", "noise.txt", "small/corpus", "--bytes", cwd=tmp_path)
        assert_one_line(done, 1, "No space left on device")
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_progress_only_on_a_terminal(tmp_path: Path, lines: Path) -> None:
    """Progress is drawn on a terminal; into a file or pipe, standard error stays empty."""
    main_end, other_end = pty.openpty()
    try:
        words = [PROGRAM, "pack", str(lines), "shown", "--bytes"]
        env = os.environ | {"TERM": "xterm"}
        done = subprocess.run(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=other_end, timeout=120, env=env)
        assert done.returncode == 0
        assert b"packing" in os.read(main_end, 65_536)
    finally:
        os.close(main_end)
        os.close(other_end)
    assert run("pack", lines, "quiet", "--bytes", cwd=tmp_path).stderr == b""
