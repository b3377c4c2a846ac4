"""Recall@1/5/10 on a style and on concepts that training never saw, against chance.

    python evaluate.py --data DIR --pack ../../models/starter [--quantised] [--markdown]

Reads the shipped graphs, so the figures are the pack's own. Pictures of render.mjs, 80 px, laid on white, resized to
64 px bicubically. A query's answer is the picture of its own concept, nothing else: 'train' for 'tram' is wrong.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from augment import plain
from data import Dataset

GALLERY = "fluent-emoji-flat"
THINGS = ("animals", "food", "travel", "activities", "objects")
KS = (1, 5, 10)
BATCH = 256


class TorchEncoder:
    """The towers in training."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def pictures(self, pixels):
        return self.model.vision(pixels)

    @torch.no_grad()
    def texts(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        return self.model.text(torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded]))


class PackEncoder:
    """The graphs of a pack in ONNX Runtime."""

    def __init__(self, pack: Path, quantised=False):
        suffix = "_quantized" if quantised else ""
        self.vision, self.text = (ort.InferenceSession(str(pack / f"onnx/{t}_model{suffix}.onnx"), providers=["CPUExecutionProvider"]) for t in ("vision", "text"))
        self.tokenizer = Tokenizer.from_file(str(pack / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        self.tokenizer.enable_truncation(json.loads((pack / "sightline.json").read_text())["text_max_tokens"])

    def pictures(self, pixels):
        return torch.from_numpy(self.vision.run(None, {"pixel_values": pixels.numpy()})[0])

    def texts(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        ids, mask = (np.array([getattr(e, k) for e in encoded], dtype=np.int64) for k in ("ids", "attention_mask"))
        return torch.from_numpy(self.text.run(None, {"input_ids": ids, "attention_mask": mask})[0])


class Thumbnails:
    """Baseline for picture to picture: 12 x 12 pixels, centred and normalised."""

    def pictures(self, pixels):
        small = F.interpolate(pixels, size=(12, 12), mode="area").flatten(1)
        return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def encode_pictures(encoder, data, style, concepts):
    rows = [data.plain[style][c] for c in concepts]
    return torch.cat([encoder.pictures(plain(data.pictures.take(rows[i : i + BATCH]))) for i in range(0, len(rows), BATCH)])


def encode_texts(encoder, texts):
    return torch.cat([encoder.texts(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)])


def recall(queries, gallery, answers):
    """Per cent of queries whose own concept is among the nearest 1, 5, 10."""
    order = (queries @ gallery.T).argsort(dim=1, descending=True)
    rank = (order == torch.tensor(answers)[:, None]).int().argmax(1)
    return [round(100 * (rank < k).float().mean().item(), 1) for k in KS]


def text_of(concept, kind):
    """The label in a language, or up to four English tags that are not in the label."""
    if kind == "tags":
        label = concept["en"]["label"]
        return " ".join([t for t in concept["en"]["tags"] if t not in label][:4])
    return concept[kind]["label"]


def asked(data, encoder, style, queries, gallery, source):
    """One row: `source` is 'en', 'zh', 'tags' or a style whose pictures are the queries."""
    place = {c: i for i, c in enumerate(gallery)}
    if source in ("en", "zh", "tags"):
        queries = [c for c in queries if text_of(data.concepts[c], source)]
        vectors = encode_texts(encoder, [text_of(data.concepts[c], source) for c in queries])
    else:
        queries = [c for c in queries if c in data.plain[source]]
        vectors = encode_pictures(encoder, data, source, queries)
    return {"recall": recall(vectors, encode_pictures(encoder, data, style, gallery), [place[c] for c in queries]), "queries": len(queries), "gallery": len(gallery), "chance": [round(100 * min(1, k / len(gallery)), 2) for k in KS]}


def summary(model, tokenizer, data):
    """The few figures that train.py prints."""
    encoder = TorchEncoder(model, tokenizer)
    gallery = sorted(data.plain[GALLERY])
    seen = [c for c in gallery if not data.concepts[c]["heldOut"]]
    unseen = [c for c in gallery if data.concepts[c]["heldOut"]]
    out = {source: asked(data, encoder, GALLERY, seen, gallery, source)["recall"] for source in ("en", "zh", "tags", "openmoji")}
    return {**out, **{f"unseen_{source}": asked(data, encoder, GALLERY, unseen, gallery, source)["recall"] for source in ("en", "zh", "tags", "openmoji")}}


def report(encoder, data):
    """Every row of the model card: [title, figures]."""
    rows = []
    gallery = sorted(data.plain[GALLERY])
    seen = [c for c in gallery if not data.concepts[c]["heldOut"]]
    unseen = [c for c in gallery if data.concepts[c]["heldOut"]]
    things = [c for c in gallery if data.concepts[c]["group"] in THINGS]
    things_seen = [c for c in things if not data.concepts[c]["heldOut"]]

    def add(title, *args):
        rows.append([title, asked(data, encoder, *args)])

    for title, source in (("English label", "en"), ("Chinese label", "zh"), ("English tags only", "tags"), ("picture in openmoji", "openmoji"), ("picture in noto (a training style)", "noto")):
        add(f"unseen style, animals to objects: {title}", GALLERY, things_seen, things, source)
        add(f"unseen style, everything: {title}", GALLERY, seen, gallery, source)
        add(f"held-out concepts in everything, unseen style: {title}", GALLERY, unseen, gallery, source)
        add(f"held-out concepts among themselves, unseen style: {title}", GALLERY, unseen, unseen, source)
    for style in ("openmoji", "emojione-v1"):
        whole = sorted(data.plain[style])
        for title, source in (("English label", "en"), ("Chinese label", "zh")):
            add(f"other unseen style {style}, everything: {title}", style, [c for c in whole if not data.concepts[c]["heldOut"]], whole, source)
    for style in ("noto", "twemoji", "emojione"):
        whole = sorted(data.plain[style])
        for title, source in (("English label", "en"), ("Chinese label", "zh")):
            add(f"held-out concepts in training style {style}, everything: {title}", style, [c for c in whole if data.concepts[c]["heldOut"]], whole, source)
    rows.append(["thumbnail baseline, everything: picture in openmoji", asked(data, Thumbnails(), GALLERY, seen, gallery, "openmoji")])
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--pack", type=Path, required=True)
    p.add_argument("--quantised", action="store_true")
    p.add_argument("--markdown", action="store_true")
    args = p.parse_args()
    rows = report(PackEncoder(args.pack, args.quantised), Dataset(args.data))
    if not args.markdown:
        print(json.dumps(dict(rows), indent=1))
        return
    print("| Queries against pictures | R@1 | R@5 | R@10 | chance | queries | gallery |\n|---|---|---|---|---|---|---|")
    for title, r in rows:
        print(f"| {title} | {' | '.join(str(v) for v in r['recall'])} | {' / '.join(str(v) for v in r['chance'])} | {r['queries']} | {r['gallery']} |")


if __name__ == "__main__":
    main()
