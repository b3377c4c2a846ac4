"""Turns rows into what the model is trained on: token ids with the pictures' tokens expanded, and labels on the answers alone."""

import torch
from torch.utils.data import Dataset

from instruction_set import MARK, BadRow, Problem, Row

IGNORED = -100


class ChatEncoder:
    """Renders conversations with the processor's own chat template and tells which tokens are answers.

    A label stands on each token of an answer and on the token that ends it. Where a template writes no such token (llava-1.5's),
    the tokenizer's end-of-sequence token is put behind the answer, as LLaVA's own training does. Rows that hold a control
    token of the tokenizer are refused: their text would be read as structure.
    """

    def __init__(self, processor, stop_ids: set[int], max_tokens: int):
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.max_tokens = max_tokens
        self.stops = [token for token in map(self.tokenizer.convert_ids_to_tokens, sorted(stop_ids)) if token]
        self.control = {token for token in self.tokenizer.all_special_tokens if token != MARK and len(token) > 1}
        self.control |= {
            str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special and str(token) != MARK
        }

    def encode(self, row: Row) -> dict[str, list[int]]:
        """`input_ids` and `labels`, one list of equal length each. Raises BadRow."""
        self.refuse_control_tokens(row)
        text, spans = self.render_answers(row)
        inputs = self.tokenize(text, row, return_offsets_mapping=True, return_text_replacement_offsets=True)
        ids = inputs["input_ids"][0]
        if len(ids) > self.max_tokens:
            raise BadRow(f"{len(ids)} tokens, more than {self.max_tokens}")
        replaced = inputs.get("text_replacement_offsets") or [[]]
        spans = [tuple(moved(at, replaced[0]) for at in span) for span in spans]
        labels = [
            token if any(start <= begin < end and finish <= end for start, end in spans) and finish > begin else IGNORED
            for token, (begin, finish) in zip(ids, inputs["offset_mapping"][0], strict=True)
        ]
        if all(label == IGNORED for label in labels):
            raise BadRow("no token of an answer is left")
        return {"input_ids": ids, "labels": labels}

    def prompt(self, row: Row):
        """Tensors of the conversation up to its last answer, as they are given to `generate`."""
        text = self.render(messages_of(row)[:-1], add_generation_prompt=True)
        return self.tokenize(text, row, return_tensors="pt")

    def tokenize(self, text: str, row: Row, **options):
        bos = self.tokenizer.bos_token
        adds = not (bos and text.startswith(bos))
        return self.processor(text=[text], images=row.open_images() or None, add_special_tokens=adds, **options)

    def pixels(self, row: Row) -> torch.Tensor | None:
        """(pictures, channels, height, width), or None for a row without pictures."""
        images = row.open_images()
        return self.processor.image_processor(images, return_tensors="pt")["pixel_values"] if images else None

    def render(self, messages, add_generation_prompt: bool = False) -> str:
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)

    def render_answers(self, row: Row) -> tuple[str, list[tuple[int, int]]]:
        """The whole conversation as text, and where its answers stand in it, each with the token that ends it."""
        messages = messages_of(row)
        text = self.render(messages)
        spans = []
        for index in reversed([i for i, message in enumerate(messages) if message["role"] == "assistant"]):
            head = self.render(messages[:index], add_generation_prompt=True)
            turn = self.render(messages[: index + 1])
            if not (turn.startswith(head) and text.startswith(turn)):
                raise BadRow("the chat template does not render turn after turn")
            ends = [at + len(stop) for stop in self.stops if (at := turn.find(stop, len(head))) >= 0]
            if ends:
                end = min(ends)
            else:
                body = len(head) + len(turn[len(head) :].rstrip())
                text = text[:body] + self.tokenizer.eos_token + text[body:]
                end = body + len(self.tokenizer.eos_token)
                spans = [tuple(at + len(self.tokenizer.eos_token) for at in span) for span in spans]
            spans.insert(0, (len(head), end))
        return text, spans

    def refuse_control_tokens(self, row: Row) -> None:
        for text in row.texts:
            for token in self.control:
                if token in text:
                    raise BadRow(f"the text holds the control token {token}")


def messages_of(row: Row) -> list[dict]:
    """A row as chat messages, each a list of parts as the chat protocol has them."""
    turns = [("system", (row.system,))] if row.system else []
    return [
        {"role": role, "content": [{"type": "image"} if part == MARK else {"type": "text", "text": part} for part in parts]}
        for role, parts in (*turns, *row.turns)
    ]


def moved(at: int, replacements: list[dict]) -> int:
    """A place in the text before its marks were expanded, as a place after."""
    grown = sum((r["new_span"][1] - r["new_span"][0]) - (r["span"][1] - r["span"][0]) for r in replacements if r["span"][1] <= at)
    return at + grown


class EncodedRows(Dataset):
    """Rows with their ids and labels in memory; pictures are decoded anew each time. What cannot be encoded is in `problems`."""

    def __init__(self, rows: list[Row], encoder: ChatEncoder, name: str):
        self.encoder = encoder
        self.rows, self.encoded, self.problems = [], [], []
        for row in rows:
            try:
                self.encoded.append(encoder.encode(row))
                self.rows.append(row)
            except BadRow as reason:
                self.problems.append(Problem(name, row.line, row.id, str(reason)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return {**self.encoded[index], "pixel_values": self.encoder.pixels(self.rows[index])}


def collate(items: list[dict], pad_id: int) -> dict[str, torch.Tensor]:
    """Pads to the right. `input_ids`, `attention_mask`, `labels`: (rows, tokens); `pixel_values`: all pictures, or absent."""
    longest = max(len(item["input_ids"]) for item in items)
    fill = lambda key, value: torch.tensor([item[key] + [value] * (longest - len(item[key])) for item in items])
    batch = {"input_ids": fill("input_ids", pad_id), "labels": fill("labels", IGNORED)}
    batch["attention_mask"] = torch.tensor([[1] * len(i["input_ids"]) + [0] * (longest - len(i["input_ids"])) for i in items])
    pictures = [item["pixel_values"] for item in items if item["pixel_values"] is not None]
    return {**batch, "pixel_values": torch.cat(pictures)} if pictures else batch
