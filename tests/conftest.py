"""Settings of the whole suite, and a small tokenizer that several tests share.

Hypothesis has no deadlines, because machines are shared. `make fuzz` sets ``TOKSTORE_EXAMPLES`` to draw many more
examples in every test that does not set its own number.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tokstore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "fuzz", settings.get_profile("tokstore"), max_examples=int(os.environ.get("TOKSTORE_EXAMPLES", "100"))
)
settings.load_profile("fuzz" if "TOKSTORE_EXAMPLES" in os.environ else "tokstore")

TEXT = "the quick brown fox jumps over the lazy dog; a store keeps tokens small, and streams them in order. é ü 中\n"


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE of 300 ids with ``<|endoftext|>`` as id 0, and with truncation and padding switched on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    tokenizer.enable_truncation(max_length=5)
    tokenizer.enable_padding(length=8)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return path
