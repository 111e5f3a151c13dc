"""The examples run from end to end, with tiny sizes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tokstore

FOLDER = Path(__file__).resolve().parents[1] / "examples"
TINY = {
    "dedup_stream.py": (["--samples", "80"], "near: 60 samples, "),
    "train_plain.py": (["--steps", "6", "--samples", "200"], "half 2: loss "),
    "train_ddp.py": (["--steps", "3"], "3 steps with 2 processes and 3 with 4: the batches of one process"),
    "finetune_chat.py": (["--steps", "3"], "of the places are answers"),
    "train_codes.py": (["--steps", "3", "--images", "300"], "held-out images; "),
    "train_trainer.py": (["--steps", "3"], "loss "),
}


def test_every_example_is_tried() -> None:
    """No example is left out here."""
    assert {path.name for path in FOLDER.glob("*.py")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_example(name: str, tmp_path: Path) -> None:
    """It ends well, and says what it is to say."""
    if name == "train_trainer.py" and not all(map(importlib.util.find_spec, ("transformers", "accelerate"))):
        pytest.skip("needs transformers and accelerate: make peers")
    options, says = TINY[name]
    environment = os.environ | {"PYTHONPATH": str(Path(tokstore.__file__).parents[1]), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
