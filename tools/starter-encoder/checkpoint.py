"""Reads a run's checkpoint: the averaged weights, the tokenizer and what was saved beside them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer

from model import DualEncoder


def load(run: Path):
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    saved = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    model = DualEncoder(tokenizer.get_vocab_size(), len(saved["average"]["proxies"]))
    model.load_state_dict(saved["average"])
    return model.eval(), tokenizer, saved
