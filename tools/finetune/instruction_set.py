"""Reads an instruction set in LLaVA's form: `train.json` and `test.json`, arrays of rows, with the pictures in `images/`.

A row is `{"id", "image", "system"?, "conversations": [{"from": "human" | "gpt", "value", "parts"?}]}`. `image` is a path, a
list of paths, or absent; each picture has one `<image>` mark in a human turn, in order. A human turn is a chat message of several
parts, split at its marks; where `parts` is given, a list that joined by line breaks is `value`, it is those. A row that cannot be
used is left out and told with its line and id, never repaired.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MARK = "<image>"
ROLES = {"human": "user", "gpt": "assistant"}


class BadRow(Exception):
    """Why a row cannot be used."""


@dataclass(frozen=True)
class Row:
    """A usable row. `turns` are (role, parts) pairs that alternate from `user` to `assistant`; a part is a text or MARK."""

    id: str
    line: int
    images: tuple[Path, ...]
    turns: tuple[tuple[str, tuple[str, ...]], ...]
    system: str | None = None

    @property
    def answer(self) -> str:
        return self.turns[-1][1][0]

    @property
    def texts(self) -> list[str]:
        return [self.system or "", *(part for _, parts in self.turns for part in parts if part != MARK)]

    def open_images(self) -> list[Image.Image]:
        """The pictures, decoded, as RGB."""
        opened = []
        for path in self.images:
            with Image.open(path) as image:
                opened.append(image.convert("RGB"))
        return opened


@dataclass(frozen=True)
class Problem:
    """A row that was left out. `id` is empty where it could not be read."""

    file: str
    line: int
    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}{f' ({self.id})' if self.id else ''}: {self.reason}"


def read_set(folder: Path, name: str) -> tuple[list[Row], list[Problem]]:
    """The usable rows of `folder`/`name`, and what was left out. Raises FileNotFoundError, or ValueError where it is no array."""
    text = (folder / name).read_text(encoding="utf-8")
    rows, problems, seen = [], [], set()
    for line, element in elements(text):
        row_id = str(element.get("id", "")) if isinstance(element, dict) else ""
        try:
            if isinstance(element, json.JSONDecodeError):
                raise BadRow(f"broken JSON: {element.msg}")
            row = read_row(folder, line, element)
            if row.id in seen:
                raise BadRow("the id was seen before")
            seen.add(row.id)
            rows.append(row)
        except BadRow as reason:
            problems.append(Problem(name, line, row_id, str(reason)))
    return rows, problems


def elements(text: str):
    """Yields (line, element) of a JSON array. A broken element comes as its JSONDecodeError; reading goes on at the next row."""
    decoder = json.JSONDecoder()
    at = skip(text, 0, "\ufeff \t\r\n")
    if text[at : at + 1] != "[":
        raise ValueError("the file does not hold a JSON array")
    at = skip(text, at + 1)
    line, counted = 1, 0
    while at < len(text) and text[at] != "]":
        # From where the last row began: from the start each time is quadratic.
        line, counted = line + text.count("\n", counted, at), at
        try:
            element, at = decoder.raw_decode(text, at)
            yield line, element
        except json.JSONDecodeError as error:
            yield line, error
            at = next_object(text, at, decoder)
        at = skip(text, at, ", \t\r\n")


def skip(text: str, at: int, characters: str = " \t\r\n") -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def next_object(text: str, at: int, decoder: json.JSONDecoder) -> int:
    """Where the next row begins after a broken one: a line that starts with `{` and holds an object with `conversations`."""
    while (end := text.find("\n", at)) >= 0:
        at = skip(text, end + 1, " \t\r")
        if text[at : at + 1] != "{":
            continue
        try:
            element, _ = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            continue
        if "conversations" in element:
            return at
    return len(text)


def read_row(folder: Path, line: int, element) -> Row:
    """One row, checked whole, its pictures decoded once. Raises BadRow."""
    if not isinstance(element, dict) or not isinstance(element.get("conversations"), list):
        raise BadRow("no object with `conversations`")
    if not isinstance(element.get("id"), (str, int)) or element["id"] == "":
        raise BadRow("no `id`")
    turns = tuple(read_turn(turn) for turn in element["conversations"])
    roles = [role for role, _ in turns]
    if len(turns) < 2 or len(turns) % 2 or roles != ["user", "assistant"] * (len(turns) // 2):
        raise BadRow("the turns do not alternate from `human` to `gpt`")
    system = element.get("system")
    if not isinstance(system, (str, type(None))):
        raise BadRow("`system` is no text")
    images = read_images(folder, element.get("image"))
    marks = sum(parts.count(MARK) for _, parts in turns)
    if marks != len(images):
        raise BadRow(f"{len(images)} pictures, but {marks} {MARK} marks")
    row = Row(str(element["id"]), line, images, turns, system)
    try:
        row.open_images()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadRow(f"a picture cannot be decoded: {error}") from error
    return row


def read_turn(turn) -> tuple[str, tuple[str, ...]]:
    if not isinstance(turn, dict) or turn.get("from") not in ROLES or not isinstance(turn.get("value"), str):
        raise BadRow("a turn without `from` (human, gpt) and `value`")
    role, value = ROLES[turn["from"]], turn["value"]
    if value.replace(MARK, "").strip() == "":
        raise BadRow("a turn without words")
    if role == "assistant":
        if MARK in value:
            raise BadRow(f"an answer holds {MARK}")
        return role, (value,)
    parts = turn.get("parts")
    if parts is None:
        return role, split_parts(value)
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or "\n".join(parts) != value:
        raise BadRow("`parts` joined by line breaks are not `value`")
    if any(MARK in part for part in parts if part != MARK):
        raise BadRow(f"a part holds {MARK} beside words")
    return role, tuple(parts)


def split_parts(value: str) -> tuple[str, ...]:
    """The texts and marks of a turn, in order; a line break beside a mark is LLaVA's separator and belongs to neither."""
    parts = []
    pieces = value.split(MARK)
    for place, piece in enumerate(pieces):
        if place > 0:
            parts.append(MARK)
            piece = piece.removeprefix("\n")
        if place < len(pieces) - 1:
            piece = piece.removesuffix("\n")
        if piece:
            parts.append(piece)
    return tuple(parts)


def read_images(folder: Path, named) -> tuple[Path, ...]:
    names = [] if named is None else [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRow("`image` is neither a path nor a list of paths")
    return tuple(find_image(folder.resolve(), name) for name in names)


def find_image(folder: Path, name: str) -> Path:
    """A picture by its path from the set's folder or from `images/`. One outside the folder is refused."""
    for base in (folder, folder / "images"):
        path = (base / name).resolve()
        if folder in path.parents and path.is_file():
            return path
    raise BadRow(f"no picture {name!r} in the set")


def digest(rows: list[Row]) -> str:
    """sha256 over ids, texts and the pictures' bytes, in order: which data something was trained on."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(json.dumps([row.id, row.system, row.turns], ensure_ascii=False).encode())
        for path in row.images:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
