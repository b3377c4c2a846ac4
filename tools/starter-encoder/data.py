"""The rendered pictures and concepts in memory, and the steps' samples."""

import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch

import captions

MONO_WEIGHT = 0.35
DIRECTED = ("left", "right", "arrow", "button", "letters", "input", "reverse", "forward", "question", "facing", "document")
HERE = Path(__file__).parent


class Pictures:
    """One folder written by render.mjs (or render-documents.mjs): pixels as a memory map, rows by concept and style."""

    def __init__(self, folder: Path):
        self.info = json.loads((folder / "pictures.json").read_text())
        size, count = self.info["size"], self.info["count"]
        self.rgba = np.memmap(folder / "pictures.rgba", dtype=np.uint8, mode="r", shape=(count, size, size, 4))
        self.rows = self.info["rows"]

    def take(self, indexes):
        return torch.from_numpy(self.rgba[np.asarray(indexes)])


class Dataset:
    """Concepts with their rows; `trained` are the positions of those that training sees."""

    def __init__(self, folder: Path, documents: Path | None = None):
        self.pictures = Pictures(folder)
        self.concepts = json.loads((folder / "concepts.json").read_text())
        self.document_captions = json.loads((HERE / "document-captions.json").read_text())
        self.styles = self.pictures.info["styles"]
        self.by_concept = defaultdict(lambda: defaultdict(list))
        self.plain = defaultdict(dict)
        for row, (style, concept, variant) in enumerate(self.pictures.rows):
            if variant == 0:
                self.plain[style][concept] = row
            if self.styles[style]["use"] == "train" and not self.concepts[concept]["heldOut"]:
                self.by_concept[concept][style].append(row)
        self.trained = sorted(self.by_concept)
        self.documents = self.add_documents(Pictures(documents)) if documents else None
        self.similarity = soft_targets([self.concepts[i] for i in self.trained])
        self.tag_index = tag_index([self.concepts[i] for i in self.trained])

    def add_documents(self, pictures: Pictures):
        """Each family of documents becomes one more concept; its rows follow the icons' rows."""
        offset = len(self.pictures.rows)
        self.styles["documents"] = {"use": "train", "mono": False}
        for position, family in enumerate(pictures.info["families"]):
            words = self.document_captions[family]
            sides = {lang: {"label": words[lang][0], "names": words[lang], "tags": words["tags"][lang]} for lang in ("en", "zh")}
            self.trained.append(len(self.concepts))
            self.by_concept[len(self.concepts)]["documents"] = [offset + i for i, row in enumerate(pictures.rows) if row[1] == position]
            self.concepts.append({"id": f"document-{family}", "group": "documents", "subgroup": "documents", "colourBound": True, "heldOut": False, **sides})
        return pictures

    def take(self, rows):
        """Pixels of rows, icons first, documents after them."""
        count = len(self.pictures.rows)
        if self.documents is None:
            return self.pictures.take(rows)
        return torch.stack([self.pictures.take([r])[0] if r < count else self.documents.take([r - count])[0] for r in rows])

    def sample(self, size, rng: random.Random):
        """Row pairs from two styles where there are two, and the captions of `size` concepts."""
        positions = rng.sample(range(len(self.trained)), size)
        first, second, english, chinese, tagged, targets = [], [], [], [], [], []
        for position in positions:
            index = self.trained[position]
            concept, styles = self.concepts[index], self.by_concept[index]
            names = list(styles)
            weights = [MONO_WEIGHT if self.styles[n]["mono"] else 1.0 for n in names]
            a = rng.choices(names, weights)[0]
            others = [(n, w) for n, w in zip(names, weights) if n != a]
            b = rng.choices(*zip(*others))[0] if others else a
            first.append(rng.choice(styles[a]))
            second.append(rng.choice(styles[b]))
            english.append(captions.label_caption(concept, "en", rng))
            chinese.append(captions.label_caption(concept, "zh", rng))
            lang = rng.choice(["en", "en", "zh"])
            if rng.random() < 0.6 and concept[lang]["tags"]:
                text, tags = captions.tag_caption(concept, lang, rng)
                tagged.append(text)
                targets.append(self.tag_target(position, tags))
            else:
                tagged.append(captions.record_caption(concept, rng))
                targets.append(self.similarity[position])
        flips = torch.tensor([0.0 if any(w in self.concepts[self.trained[p]]["id"] for w in DIRECTED) else 1.0 for p in positions])
        colours = torch.tensor([0.15 if self.concepts[self.trained[p]]["colourBound"] else 1.0 for p in positions])
        pixels = self.take(first + second)
        return {
            "positions": torch.tensor(positions),
            "rgba": pixels,
            "flips": flips.repeat(2),
            "colours": colours.repeat(2),
            "names": english + chinese,
            "others": tagged,
            "tag_targets": torch.stack(targets),
        }

    def tag_target(self, position, tags):
        """Every concept that has these tags shares the target: 'tool' is as good for a hammer as for a wrench."""
        score = torch.zeros(len(self.trained))
        for tag in tags:
            score[self.tag_index[tag]] += 1
        score = (score / len(tags)) ** 4
        score[position] = 1.0
        return score / score.sum()


def tag_index(concepts):
    index = defaultdict(set)
    for position, concept in enumerate(concepts):
        for lang in ("en", "zh"):
            for tag in concept[lang]["tags"]:
                index[tag].add(position)
    return {tag: torch.tensor(sorted(found)) for tag, found in index.items()}


def soft_targets(concepts, own=0.88):
    """Per concept a distribution over concepts: most on itself, the rest on those whose words are alike (tf-idf cosine)."""
    bags = []
    for c in concepts:
        words = [w for t in [c["en"]["label"], *c["en"]["tags"]] for w in t.split()] + list(c["zh"]["tags"]) + [f"group:{c['subgroup']}"]
        bags.append(Counter(set(words)))
    document_count = Counter(w for bag in bags for w in bag)
    vocabulary = {w: i for i, w in enumerate(document_count)}
    matrix = torch.zeros(len(concepts), len(vocabulary))
    for row, bag in enumerate(bags):
        for word in bag:
            matrix[row, vocabulary[word]] = math.log(len(concepts) / document_count[word])
    matrix = torch.nn.functional.normalize(matrix, dim=1)
    alike = (matrix @ matrix.T).fill_diagonal_(0)
    top = torch.zeros_like(alike)
    values, indexes = alike.topk(12)
    top.scatter_(1, indexes, values**2)
    top = top / top.sum(1, keepdim=True).clamp(min=1e-6)
    return own * torch.eye(len(concepts)) + (1 - own) * top
