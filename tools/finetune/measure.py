"""How well a model answers rows: the loss on their answers, and how many it writes word for word."""

import random
import re

import torch

from encode import IGNORED, EncodedRows, collate

BOX_MARK = re.compile(r"\s*\[\[[^\[\]]*\]\]")
# Rows at a time; without gradients this fits where training does.
ROWS = 4


def sample_of(count: int, most: int, seed: int) -> list[int]:
    """At most `most` of `count` row numbers, drawn by the seed, in their order."""
    return sorted(random.Random(seed).sample(range(count), min(most, count)))


@torch.no_grad()
def measure(model, rows: EncodedRows, sample: list[int], max_new_tokens: int, dtype: torch.dtype) -> dict[str, float]:
    """In `dtype`, as training computes.

    `test_loss`: nats a token. `exact`: share of answers equal but for white space. `exact_words`: the same without box marks.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = mean_loss(model, rows, sample)
            pairs = [(answer(model, rows, index, max_new_tokens), rows.rows[index].answer) for index in sample]
    finally:
        model.train(was_training)
    return {
        "test_loss": loss,
        "exact": share(same(a, b) for a, b in pairs),
        "exact_words": share(same(BOX_MARK.sub("", a), BOX_MARK.sub("", b)) for a, b in pairs),
    }


def mean_loss(model, rows: EncodedRows, sample: list[int]) -> float:
    total, tokens = 0.0, 0
    for start in range(0, len(sample), ROWS):
        batch = on_device(collate([rows[i] for i in sample[start : start + ROWS]], 0), model)
        count = int((batch["labels"][:, 1:] != IGNORED).sum())
        total += float(model(**batch).loss) * count
        tokens += count
    return total / tokens


def answer(model, rows: EncodedRows, index: int, max_new_tokens: int) -> str:
    """The model's own answer to a row's last turn, greedy."""
    inputs = on_device(rows.encoder.prompt(rows.rows[index]), model)
    written = model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=rows.encoder.tokenizer.pad_token_id
    )
    return rows.encoder.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def on_device(batch, model) -> dict:
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def same(left: str, right: str) -> bool:
    return " ".join(left.split()) == " ".join(right.split())


def share(flags) -> float:
    flags = list(flags)
    return sum(flags) / len(flags)
