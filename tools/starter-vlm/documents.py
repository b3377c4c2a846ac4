"""The rendered documents, and the dense labels that teach the vision tower to read before any language comes in."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIDE = 384
CELL = 16
"""Pixels of a label cell: four of them make one visual token of 32 pixels."""
GRID = SIDE // CELL
SLOTS = 4
"""Letters that a cell can hold, left to right; of the drawings' smallest print three fit."""
SPELT = 8
"""Letters, spaces among them, that are spelt from the beginning of a word on."""
FINE = 8
"""Pixels of a fine cell, whose halves, left and right, are each labelled with the one letter that stands there."""


def load(folder):
    """(rows, pictures): documents as dictionaries, and uint8 pixels (n, SIDE, SIDE, 3) that stay on disk."""
    folder = Path(folder)
    rows = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    pictures = np.memmap(folder / "pictures.rgb", np.uint8, "r").reshape(-1, SIDE, SIDE, 3)
    if len(rows) != len(pictures):
        raise SystemExit(f"{folder}: {len(rows)} documents, {len(pictures)} pictures. Render it anew.")
    return rows, pictures


@dataclass
class Alphabet:
    """What a cell can show. Index 0 is nothing."""

    letters: list
    shapes: list

    @classmethod
    def of(cls, rows):
        letters = [" ", *sorted({c for row in rows for word in row["words"] for c in word["letters"]})]
        shapes = sorted({s["shape"] for row in rows for s in row["shapes"] if _is_part(s["box"])})
        return cls(letters, shapes)

    def numbers(self):
        """{letter: its index}."""
        return {c: i + 1 for i, c in enumerate(self.letters)}


def _is_part(box):
    """Frames and grounds tell nothing about a place."""
    return area(box) < 0.2 * SIDE * SIDE


def stacked(labels):
    """Of a list of `labels_of`, arrays with the documents first."""
    return {name: np.stack([part[name] for part in labels]) for name in labels[0]}


def labels_of(row, alphabet):
    """`letters` (GRID, GRID, SLOTS), `shape` (GRID, GRID), and of both a box (GRID, GRID, 4) in cells from the middle of the
    square, NaN where there is none: `words` is the line of print that crosses the cell, `shapes` the smallest shape over its centre. `fine` is of fine
    cells, `spelt` of halves of tokens."""
    letter_of = alphabet.numbers()
    shape_of = {s: i + 1 for i, s in enumerate(alphabet.shapes)}
    letters = np.zeros((GRID, GRID, SLOTS), np.uint8)
    shape = np.zeros((GRID, GRID), np.uint8)
    words = np.full((GRID, GRID, 4), np.nan, np.float32)
    shapes = np.full((GRID, GRID, 4), np.nan, np.float32)
    held = {}
    for line in row["words"]:
        # All its letters are in one row of cells, also points and commas.
        middle = _row_of(line, CELL)
        for c, (x1, _, x2, _) in zip(line["letters"], line["boxes"]):
            at = (middle, int((x1 + x2) / 2 // CELL))
            held.setdefault(at, []).append(((x1 + x2) / 2, letter_of.get(c, 0)))
            words[at] = _in_cells(line["box"])
    for at, found in held.items():
        for slot, (_, c) in enumerate(sorted(found)[:SLOTS]):
            letters[(*at, slot)] = c
    for s in sorted((s for s in row["shapes"] if _is_part(s["box"])), key=lambda s: -area(s["box"])):
        x1, y1, x2, y2 = s["box"]
        # Cells whose centre it covers, and the one that its own centre is in.
        rows_ = range(max(0, int(np.ceil(y1 / CELL - 0.5))), min(GRID, int(np.floor(y2 / CELL - 0.5)) + 1))
        columns = range(max(0, int(np.ceil(x1 / CELL - 0.5))), min(GRID, int(np.floor(x2 / CELL - 0.5)) + 1))
        cells = {(r, c) for r in rows_ for c in columns} | {(int((y1 + y2) / 2 // CELL), int((x1 + x2) / 2 // CELL))}
        for at in cells:
            shape[at] = shape_of.get(s["shape"], 0)
            shapes[at] = _in_cells(s["box"])
    return {"letters": letters, "shape": shape, "words": words, "shapes": shapes, "fine": _fine_letters_of(row, letter_of), "spelt": spelt_of(row, letter_of)}


def _begun(row):
    """{(row of cells, column of tokens): (line, place in its words)} of the first word that begins there."""
    begun = {}
    for at, line in enumerate(row["words"]):
        middle = _row_of(line, CELL)
        drawn = iter(line["boxes"])
        places = [None if c == " " else next(drawn) for c in line["words"]]
        for i, place in enumerate(places):
            if place is not None and (i == 0 or places[i - 1] is None):
                x = (place[0] + place[2]) / 2
                begun.setdefault((middle, int(x // (2 * CELL))), []).append((x, at, i))
    return {where: min(words)[1:] for where, words in begun.items()}


def _one_space(words):
    return " ".join(words.split())


def spelt_of(row, letter_of):
    """(GRID, GRID / 2, SPELT): of the upper and the lower half of each token, how its line goes on from the first word that begins there, into the tokens
    to the right."""
    out = np.zeros((GRID, GRID // 2, SPELT), np.uint8)
    for where, (line, i) in _begun(row).items():
        for n, c in enumerate(_one_space(row["words"][line]["words"][i : i + SPELT])):
            out[(*where, n)] = letter_of.get(c, 0)
    return out


def spelt_places(row):
    """For each line a list: of each of its letters (token, half, which of the letters spelt there it is), None where no token spells it."""
    out = [[None] * len(line["words"]) for line in row["words"]]
    # Of the words that begin before a letter, the last one spells it.
    for (y, x), (line, i) in sorted(_begun(row).items(), key=lambda item: item[1]):
        words = row["words"][line]["words"]
        for j in range(i, min(i + SPELT, len(words))):
            if words[j] != " ":
                out[line][j] = (y // 2 * (GRID // 2) + x, y % 2, len(_one_space(words[i : j + 1])) - 1)
    return out


def _fine_letters_of(row, letter_of):
    """(SIDE / FINE, SIDE / FINE, 2): the letter whose line has its middle in a fine cell, and that stands in its left, or its right, half."""
    out = np.zeros((SIDE // FINE, SIDE // FINE, 2), np.uint8)
    half = FINE / 2
    for line in row["words"]:
        middle = _row_of(line, FINE)
        for c, (x1, _, x2, _) in zip(line["letters"], line["boxes"]):
            # Halves whose middle it covers, and the one that its own middle is in.
            halves = {h for h in range(int(np.ceil(x1 / half - 0.5)), int(np.floor(x2 / half - 0.5)) + 1)} | {int((x1 + x2) / 2 // half)}
            for h in halves:
                if 0 <= h < 2 * len(out):
                    out[middle, h // 2, h % 2] = letter_of.get(c, 0)
    return out


def _row_of(line, side):
    """The row of cells of `side` pixels that a line's middle is in."""
    return int((line["box"][1] + line["box"][3]) / 2 // side)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _in_cells(box):
    return [v / CELL - GRID / 2 for v in box]
