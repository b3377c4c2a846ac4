"""Where in a picture, or in the sources' text, the words of an answer stand, so that a language model can be shown where to look while it writes them."""

import re

from documents import CELL, GRID, SIDE, SPELT, area

MARK = re.compile(r"\[\[(\d+),(\d+),(\d+),(\d+)\]\]")
CITED = re.compile(r" *\[(\d+)\]")
AT_MARKS = (2, (0, 1, 2, 3))
"""The layer, and its heads, that look at what is marked while its box is written."""
AT_LETTERS = 3
"""The layer whose head n looks where the n-th letter of a word is spelt, in the upper half of a token; the next layer does in the lower."""
AT_NAME = (2, (4, 5))
"""Before an answer begins: the end of what is asked about, as the source that is cited names it."""
AT_TEXT = (5, (0, 1))
"""What is copied from a source's text."""
SOCKET = re.compile(r"AM\d|LGA\w+")


def token_at(x, y):
    return int(min(y, SIDE - 1) // (2 * CELL)) * (GRID // 2) + int(min(x, SIDE - 1) // (2 * CELL))


def looks_of(row, places, question, answer):
    """[(place of a letter in the answer, layer, heads, token of the picture)], with `spelt_places` of the row."""
    out = list(verdict_of(row, places, question, answer))

    def letters(at, line, from_):
        """Letters of the answer from `at` on are those of the line from `from_` on."""
        for i, place in enumerate(places[line][from_:]):
            if at + i >= len(answer) or answer[at + i] != row["words"][line]["words"][from_ + i]:
                return
            if place:
                token, half, letter = place
                out.append((at + i, AT_LETTERS + half, (letter,), token))

    used = set()
    for found in re.finditer(r"[^\n]+", answer):
        text = CITED.sub("", MARK.sub("", found.group())).rstrip()
        same = (n for n, line in enumerate(row["words"]) if n not in used and (line["words"] == text or line["words"].replace(".  ", ". ") == text))
        line = min(same, key=lambda n: (round(row["words"][n]["box"][1] / 12), row["words"][n]["box"][0]), default=None)
        if line is None:
            continue
        used.add(line)
        words = row["words"][line]["words"]
        skip = words.find(".  ") if words != text else -1
        letters(found.start(), line, 0)
        if skip >= 0:
            letters(found.start() + skip + 2, line, skip + 3)
    told = {at for at, *_ in out}
    for found in MARK.finditer(answer):
        box = [int(v) * SIDE / 1000 for v in found.groups()]
        line = max(range(len(row["words"])), key=lambda n: overlap(row["words"][n]["box"], box), default=None)
        inside = line is not None and overlap(row["words"][line]["box"], box) > 0.2
        drawn = row["words"][line] if inside else None
        looked = next((place for place in places[line] if place), None) if inside else None
        token = looked[0] if looked else token_at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        out += [(at, *AT_MARKS, token) for at in range(found.start(), found.end())]
        # The words before the mark, as many of them as stand in its line.
        rest = answer[: found.start()]
        rest = rest[max(rest.rfind("]]") + 2 if "]]" in rest else 0, rest.rfind("\n") + 1) :]
        first = found.start() - len(rest)
        rest = CITED.sub("", rest).rstrip()
        starts = [i for i in range(len(rest)) if rest[i] != " " and (i == 0 or rest[i - 1] in " :：为注(（")]
        if not drawn:
            # What is said of a thing is seen where it is; how many there are is not.
            if starts and not rest[starts[0] :].isdigit():
                out += [(first + i, *AT_MARKS, token) for i in range(starts[0], len(rest))]
            continue
        for i in starts:
            words = next((w for w in (rest[i:], rest[i:].removesuffix(" mm")) if w in drawn["words"]), None)
            if words:
                if first + i not in told:
                    letters(first + i, line, drawn["words"].rfind(words))
                break
    return out


def verdict_of(row, places, question, answer):
    """Whether a socket fits is seen at its own print, or where another's is."""
    sockets = SOCKET.findall(question)
    if not sockets or not answer.startswith(("Yes:", "No:", "是：", "否：")):
        return
    wanted = sockets[-1] if answer[0] in "Y是" else ""
    line = next((n for n, line in enumerate(row["words"]) if SOCKET.match(line["words"]) and wanted in line["words"]), None)
    if line is None or not (place := places[line][row["words"][line]["words"].find(wanted)]):
        return
    token, half, _ = place
    yield 0, *AT_MARKS, token
    yield 0, AT_LETTERS + half, range(SPELT), token


def copies_of(text, question, answer):
    """[(place of a letter in the answer, layer, heads, place of a letter in the sources' text)]."""
    cited = CITED.search(answer)
    start = text.find(f"Source [{cited.group(1)}]\n") if cited else -1
    if start < 0:
        return
    section = re.split(r"\n(?=Source \[|Picture of |Question:)", text[start:], maxsplit=1)[0]
    named = [section.find(word) + len(word) - 1 for word in re.findall(r"[A-Za-z0-9][\w-]*", question.split("Question:\n")[-1], re.ASCII) if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", section, re.ASCII)]
    if named:
        coded = [at for at in named if section[at].isdigit()]
        yield 0, *AT_NAME, start + max(coded or named)
    said = re.split(r";| *\[", answer, maxsplit=1)[0]
    if said in ("yes", "no", "有货", "没有"):
        at = value_of("in_stock", section)
        yield from ((i, *AT_TEXT, start + at) for i in range(len(said)))
    elif re.fullmatch(r"\d+\.\d\d", said):
        at = value_of("price", section)
        yield from ((i, *AT_TEXT, start + at + i) for i in range(len(said)) if section[at : at + i + 1] == said[: i + 1])
    elif not MARK.search(answer) and (at := section.rfind(": " + said)) >= 0:
        yield from ((i, *AT_TEXT, start + at + 2 + i) for i in range(len(said)))


def value_of(name, section):
    """Where the value of an attribute begins."""
    return section.find(f"\n{name}: ") + len(f"\n{name}: ")


def overlap(a, b):
    """Intersection over union."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (area(a) + area(b) - w * h)
