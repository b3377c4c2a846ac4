"""Captions of concepts in English and Chinese, drawn anew at every step, and the tokenizer that is trained on them."""

import random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MAX_TOKENS = 64
EN = ["{}"] * 6 + ["a picture of {}", "a drawing of a {}", "an icon of {}", "a {}", "{} icon", "photo of a {}", "show me {}", "I am looking for a {}", "product: {}"]
ZH = ["{}"] * 6 + ["{}的图片", "一张{}的图", "{}图标", "画着{}", "我想找{}", "{}的照片", "一个{}"]
SHOP = ["in stock", "sold by the piece", "new this season", "for home and office", "gift idea", "order number {}", "item {}", "price {}", "our catalogue shows", "with free delivery"]


def pick(rng, items, low, high):
    items = list(items)
    return rng.sample(items, min(len(items), rng.randint(low, high))) if items else []


def label_caption(concept, lang, rng):
    """The concept's name in one of its spellings, in a template half of the time."""
    side = concept[lang]
    name = side["label"]
    if side.get("names") and rng.random() < (0.25 if concept["group"] != "documents" else 0.9):
        name = rng.choice(side["names"])
    text = rng.choice(EN if lang == "en" else ZH).format(name)
    if side["tags"] and rng.random() < 0.2:
        text += (", " if lang == "en" else "，") + rng.choice(side["tags"])
    return text


def tag_caption(concept, lang, rng):
    """One to four tags without the name; returns (text, tags)."""
    tags = pick(rng, concept[lang]["tags"], 1, 4)
    return (" " if rng.random() < 0.5 else ", ").join(tags) if lang == "en" else rng.choice([" ", "，", "、"]).join(tags), tags


def record_caption(concept, rng):
    """Like a shop's record: name, tags, words that say nothing, both languages."""
    en, zh = concept["en"], concept["zh"]
    parts = [rng.choice(SHOP).format(f"{rng.choice('ABCDEFGH')}{rng.randint(10, 9999)}") for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.8:
        parts.append(label_caption(concept, "en", rng))
    parts += pick(rng, en["tags"], 1, 5)
    if rng.random() < 0.6:
        parts += [zh["label"], *pick(rng, zh["tags"], 0, 3)]
    rng.shuffle(parts)
    return rng.choice([". ", ", ", " "]).join(parts)


def train_tokenizer(concepts, documents, size=6000):
    """WordPiece as BERT's (lower case, each Han character a word) over all training captions."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    rng = random.Random(1)
    corpus = [t for d in documents.values() for lang in ("en", "zh") for t in d[lang]] * 3 + SHOP + EN * 3 + ZH * 3
    for concept in concepts:
        for lang in ("en", "zh"):
            side = concept[lang]
            corpus += [side["label"]] * 3 + side["tags"] + side.get("names", [])
        corpus.append(record_caption(concept, rng))
    corpus += [f"{c}{i}" for c in "abcdefghijklmnopqrstuvwxyz" for i in range(10)]
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(sorted(corpus), trainer)
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    return tokenizer
