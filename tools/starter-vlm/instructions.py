"""Writes instruction data in the LLaVA form (a JSON object a line: id, image, conversations) from rendered documents and the sample's product records.

    python instructions.py --data DIR --products ../../sample/manifest.jsonl --questions ../../sample/questions.jsonl --out train.jsonl \
        [--reading 12000] [--short 6000] [--count 8000]

`image` lists the pictures in the order of their `<image>`: `document/<n>` is row n of the rendered documents. The human turn is the prompt of the pipeline
(`prompts/answer-v1`) as the model's chat template shows it; the answer names its source as [n] and boxes what it read as [[x1,y1,x2,y2]], 0 to 1000 of the
square. Products are the sample's with other codes, prices, colours and stock; those that a held-out text question asks about are left out.
"""

import argparse
import json
import random
import re
from pathlib import Path

from documents import SIDE, load

NOT_SAID = {"en": "The sources do not say.", "zh": "资料中没有说明。"}
STEPS_RULE = "Show the steps."
READ = {"en": "Read the picture.", "zh": "读出图中的文字。"}
NOTHING = {"en": "Nothing is written.", "zh": "图中没有文字。"}
WHERE = {"en": "Where does “{}” stand?", "zh": "“{}”在图中哪里？"}
WHAT = {"en": "What is written at {}?", "zh": "{} 处写着什么？"}
DRAWN = {"en": "List what is drawn.", "zh": "列出图中画的东西。"}
COLOURS = {"red": "红色", "blue": "蓝色", "green": "绿色", "yellow": "黄色", "black": "黑色", "orange": "橙色"}
HEX = {"#d93025": "red", "#1a73e8": "blue", "#188038": "green", "#f9c80e": "yellow", "#202124": "black", "#f57c00": "orange"}
SOCKETS = ["AM4", "AM5", "LGA1700", "LGA1851", "LGA1200", "LGA115x", "LGA2066"]
UNKNOWN = [
    ("How much does the {} weigh?", "{} 有多重？"),
    ("How long is the warranty of the {}?", "{} 的保修期多长？"),
    ("Who designed the {}?", "{} 是谁设计的？"),
    ("In which country is the {} made?", "{} 在哪个国家生产？"),
    ("When was the {} first sold?", "{} 什么时候开始销售？"),
]
PARAPHRASES = [
    (r"^Do the mounting holes of the (.+) fit socket (.+)\?$", ["Does the {0} fit {1}?", "Can the {0} be mounted on socket {1}?", "Is the {0} made for socket {1}?"]),
    (r"^How many pins does connector (.+) have\?$", ["What is the number of pins of {0}?", "Count the pins of connector {0}."]),
    (r"^For which voltage is connector (.+) rated\?$", ["What is the rated voltage of {0}?", "Which voltage does {0} take?"]),
    (r"^How far apart are the first and last pins of (.+)\?$", ["What is the distance from the first to the last pin of {0}?"]),
    (r"^How many (\w+) bushings does plate (.+) have\?$", ["Count the {0} bushings of plate {1}.", "How many of the bushings of {1} are {0}?"]),
    (r"^How wide is plate (.+)\?$", ["What is the width of plate {0}?"]),
    (r"^How high is plate (.+)\?$", ["What is the height of plate {0}?"]),
    (r"^Which vertebra is abnormal in radiograph (.+)\?$", ["Which vertebra of {0} is odd?", "Where is the abnormal vertebra in radiograph {0}?"]),
    (r"^What does article (.+) cost\?$", ["What is the price of {0}?"]),
    (r"^Is article (.+) in stock\?$", ["Can {0} be had at once?", "Is {0} available?"]),
]


def number(value):
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def source_text(n, record):
    return "\n".join([f"Source [{n}]", record["title"], record["text"], *(f"{k}: {number(v)}" for k, v in record["attributes"].items())])


def mark(box):
    return "[[" + ",".join(str(max(0, min(1000, round(v / SIDE * 1000)))) for v in box) + "]]"


def with_marks(answer, boxes, cite):
    """Puts each box behind what it shows, those of nothing named behind the citation, and the citation before the last stop."""
    out, at, rest = "", 0, []
    for box in boxes:
        label = box["label"]
        short = re.sub(r"\D*$", "", label) if re.match(r"\d", label) else None
        # The first that stands there, and of two that begin together the longer: `78 x 78 mm` is a 78 and a 78 mm.
        places = (re.compile(rf"(?<![\d.]){re.escape(w)}(?!\.?\d)").search(answer, at) for w in (label, short) if w)
        found = min(filter(None, places), key=lambda place: (place.start(), -place.end()), default=None)
        if found is None:
            rest.append(mark(box["xyxy"]))
            continue
        end = found.end()
        out += answer[at:end] + " " + mark(box["xyxy"])
        at = end
    out += answer[at:]
    stop = out[-1] if out[-1] in ".。" else ""
    out = (out[: len(out) - len(stop)] if stop else out) + "".join(f" {m}" for m in (f"[{cite}]", *rest))
    return out + stop


def bushings_of(plate):
    """(colour, box) of each."""
    return [(HEX[s["shape"].split()[1]], s["box"]) for s in plate["shapes"] if s["shape"].startswith("circle #") and s["shape"].split()[1] in HEX]


def fit_of(row, labels, socket, cells):
    """(answer en, answer zh, boxes) of whether a socket fits a cooler, in the sample's words; None where it does and that cell is not among those drawn."""
    *cell, _ = row["cell"].split("/")
    # A pattern's distances were drawn before its label.
    patterns = [(round(float(across["words"])), round(float(upright["words"])), label, across, upright) for across, upright, label in zip(*[iter(row["words"][: 3 * len(labels)])] * 3)]
    own = [p for p in patterns if socket in p[2]["words"].split(" / ")]
    if own and "/".join([*cell, socket]) not in cells:
        return None
    boxes = [{"label": text, "xyxy": word["box"]} for w, h, label, across, upright in own or patterns for text, word in ((f"{w} mm", across), (f"{h} mm", upright), (label["words"], label))]
    if own:
        w, h, label, *_ = own[0]
        return f"Yes: the drawing shows holes {w} x {h} mm apart, marked {label['words']}.", f"是：图中孔距为 {w} x {h} mm，标注 {label['words']}。", boxes
    told = [f"{w} x {h} mm ({label['words']})" for w, h, label, *_ in patterns]
    return f"No: the drawing shows only {' and '.join(told)}.", f"否：图中只有 {' 和 '.join(told)}。", boxes


def more_questions(row, cells):
    """Questions beside the sample's: (en, zh, answer en, answer zh, boxes). They teach to find places, colours and rows."""
    family, title = row["family"], row["record"]["attributes"]["sku"]
    shapes = row["shapes"]
    if family == "plate":
        holes = bushings_of(row)
        for place, at in (("leftmost", lambda b: b[0]), ("rightmost", lambda b: -b[2])):
            first, second = sorted((at(b) for _, b in holes))[:2]
            if abs(first - second) < 10:
                continue
            colour, box = min(holes, key=lambda h: at(h[1]))
            zh = {"leftmost": "最左边", "rightmost": "最右边"}[place]
            yield (f"What colour is the {place} bushing of plate {title}?", f"安装板 {title} {zh}的衬套是什么颜色？", colour, COLOURS[colour], [{"label": colour, "xyxy": box}])
        yield (f"How many bushings does plate {title} have?", f"安装板 {title} 共有几个衬套？", str(len(holes)), str(len(holes)), [])
    if family == "connector":
        rows = len({round(s["box"][1]) for s in shapes if s["shape"] == "rect #39424e"})
        yield (f"In how many rows are the pins of {title}?", f"{title} 的针有几排？", str(rows), str(rows), [])
        rating = next(w for w in row["words"] if re.match(r"[\d.]+ V", w["words"]))
        amps = rating["words"].split()[2]
        yield (f"How many amperes may {title} carry?", f"{title} 的额定电流是多少？", f"{amps} A", f"{amps} A", [{"label": f"{amps} A", "xyxy": rating["box"]}])
    if family == "cooler":
        name = row["record"]["title"].replace(" CPU cooler", "")
        labels = [w for w in row["words"] if "LGA" in w["words"] or "AM4" in w["words"]]
        words = " and ".join(w["words"] for w in labels)
        for n in (1, 2):
            socket = SOCKETS[(sum(map(ord, title)) * n + row["record"]["attributes"]["fan_mm"] // 10) % len(SOCKETS)]
            if fits := fit_of(row, labels, socket, cells):
                yield (f"Do the mounting holes of the {name} fit socket {socket}?", f"{name} 的安装孔适合 {socket} 插座吗？", *fits)
        yield (f"Which sockets are marked on the drawing of the {name}?", f"{name} 的图中标注了哪些插座？", words, words.replace(" and ", " 和 "), [{"label": w["words"], "xyxy": w["box"]} for w in labels])
    if family == "xray":
        bodies = [s["box"] for s in shapes if s["shape"].startswith("vertebra")]
        n = (sum(map(ord, title)) % 5) + 1
        yield (f"Where is L{n} in radiograph {title}?", f"X光片 {title} 中 L{n} 在哪里？", f"L{n}", f"L{n}", [{"label": f"L{n}", "xyxy": bodies[n - 1]}])


def questions_of(row, cells):
    """Of what the documents of `cells` show; each as (kind, {en, zh}, {en, zh}, boxes, steps or None)."""
    for q in row["questions"]:
        yield q["kind"], {"en": q["question"], "zh": q["question_zh"]}, {"en": q["answer"], "zh": q.get("answer_zh", q["answer"])}, q["boxes"], None
    for en, zh, answer, answer_zh, boxes in more_questions(row, cells):
        yield "picture", {"en": en, "zh": zh}, {"en": answer, "zh": answer_zh}, boxes, None
    if row.get("steps"):
        first = row["questions"][0]
        yield "picture", {"en": first["question"], "zh": first["question_zh"]}, {"en": first["answer"], "zh": first["answer"]}, first["boxes"], row["steps"]


def drawn_of(row):
    """A plate's bushings and a radiograph's vertebrae as (name, box), from the top and the left."""
    if row["family"] == "plate":
        return sorted(bushings_of(row), key=lambda hole: (round(hole[1][1] / 12), hole[1][0]))
    if row["family"] == "xray":
        states = [(s["shape"].split()[1], s["box"]) for s in row["shapes"] if s["shape"].startswith("vertebra")]
        return [(f"L{i}" if state == "null" else f"L{i} {state}", box) for i, (state, box) in enumerate(states, 1)]
    return []


class Maker:
    def __init__(self, rows, products, seed, reading, short):
        """The first `reading` conversations are about one picture and nothing else, nearly all of which is asked for; the next `short` have one or two
        sources and more questions than the pipeline's own prompts, which follow."""
        self.rows, self.products, self.rng = rows, products, random.Random(seed)
        self.reading, self.short = reading, reading + short
        # Those that held-out questions ask about are not drawn.
        self.cells = {row["cell"] for row in rows}
        self.by_family = {}
        for i, row in enumerate(rows):
            self.by_family.setdefault(row["family"], []).append(i)
        self.families = [f for f in self.by_family if f not in ("icon", "page")]

    def product(self):
        rng = self.rng
        record = json.loads(json.dumps(rng.choice(self.products)))
        attributes = record["attributes"]
        old, sku = attributes["sku"], f"SL-{rng.randint(1000, 9999)}-{rng.randint(0, 999):03d}"
        record["title"], record["text"] = record["title"].replace(old, sku), record["text"].replace(old, sku)
        attributes.update(sku=sku, price=rng.randint(20, 500) / 20, in_stock=rng.random() < 0.6, colour=rng.choice(["red", "blue", "green", "yellow", "purple", "pink", "orange", "brown", "grey", "black", "white", "teal"]))
        return record

    def product_questions(self, record):
        a = record["attributes"]
        stock = "yes" if a["in_stock"] else "no"
        sku, title = a["sku"], record["title"]
        yield {"en": f"What does article {sku} cost?", "zh": f"商品 {sku} 多少钱？"}, {"en": f"{a['price']:.2f}", "zh": f"{a['price']:.2f}"}
        yield {"en": f"Is article {sku} in stock?", "zh": f"商品 {sku} 有货吗？"}, {"en": stock, "zh": {"yes": "有货", "no": "没有"}[stock]}
        yield {"en": f"What kind of product is the {title}?", "zh": f"“{title}”是哪类商品？"}, {"en": a["product_type"], "zh": a["product_type"]}
        yield {"en": f"Which colour has article {sku}?", "zh": f"商品 {sku} 是什么颜色？"}, {"en": a["colour"], "zh": a["colour"]}
        yield {"en": f"What is the article number of the {title}?", "zh": f"“{title}”的货号是什么？"}, {"en": sku, "zh": sku}

    def document_text_questions(self, record):
        a = record["attributes"]
        if "price" in a:
            yield {"en": f"What does the {record['title']} cost?", "zh": f"{record['title']} 多少钱？"}, {"en": f"{a['price']:.2f}", "zh": f"{a['price']:.2f}"}
            yield {"en": f"Is the {record['title']} in stock?", "zh": f"{record['title']} 有货吗？"}, {"en": "yes" if a["in_stock"] else "no", "zh": "有货" if a["in_stock"] else "没有"}

    def paraphrase(self, text):
        if self.rng.random() < 0.25:
            for pattern, forms in PARAPHRASES:
                if found := re.match(pattern, text):
                    return self.rng.choice(forms).format(*found.groups())
        return text

    def turn(self, question, answer, boxes, steps, cite, lang):
        said = answer[lang]
        asked = self.paraphrase(question["en"]) if lang == "en" else question["zh"]
        if steps:
            said = "\n".join(f"{i}. {s}" for i, s in enumerate(steps, 1))
            return f"Question:\n{asked}\n{STEPS_RULE}", with_marks(said, boxes, cite)
        return f"Question:\n{asked}", with_marks(said, boxes, cite)

    def source(self, family):
        """A record and the row of its picture."""
        if family == "product":
            return self.product(), self.rng.choice(self.by_family["icon"])
        i = self.rng.choice(self.by_family[family])
        return self.rows[i]["record"], i

    def lesson(self, n):
        """Some of a picture's questions, some of its lines by their words and by their place, what is drawn, and all lines."""
        rng = self.rng
        family = rng.choices(["icon", "page", rng.choice(self.families)], [1, 15, 84])[0]
        at = rng.choice(self.by_family[family])
        row = self.rows[at]
        lang = "zh" if rng.random() < 0.3 else "en"
        lines = [(w["words"], w["box"]) for w in row["words"]]
        # A page's words were written in the order of reading.
        if family != "page":
            lines.sort(key=lambda line: (round(line[1][1] / 12), line[1][0]))
        asked = 2 if family == "page" else 1
        turns = []
        single = [(words, box) for words, box in lines if sum(words == other for other, _ in lines) == 1]
        for words, box in rng.sample(single, min(asked, len(single))):
            turns.append((f"Question:\n{WHERE[lang].format(words)}", mark(box)))
        for words, box in rng.sample(lines, min(asked, len(lines))):
            turns.append((f"Question:\n{WHAT[lang].format(mark(box))}", words))
        if drawn := drawn_of(row):
            turns.append((f"Question:\n{DRAWN[lang]}", "\n".join(f"{name} {mark(box)}" for name, box in drawn)))
        told = [q for q in questions_of(row, self.cells) if q[0] == "picture"] if row["record"] else []
        for _, question, answer, boxes, steps in rng.sample(told, min(8, len(told))):
            turns.append(self.turn(question, answer, boxes, steps, 1, lang))
        rng.shuffle(turns)
        # Last, else all others could be answered from it without a look.
        turns.append((f"Question:\n{READ[lang]}", "\n".join(words for words, _ in lines) or NOTHING[lang]))
        return self.talk(n, ["Picture of source [1]:\n<image>"], [f"document/{at}"], turns)

    def talk(self, n, text, images, turns):
        turns = list(dict(turns).items())
        human = ["\n".join([*text, turns[0][0]]), *(q for q, _ in turns[1:])]
        said = [a for _, a in turns]
        parts = [part for q, a in zip(human, said) for part in ({"from": "human", "value": q}, {"from": "gpt", "value": a})]
        return {"id": f"s{n}", "image": images, "conversations": parts}

    def conversation(self, n):
        if n < self.reading:
            return self.lesson(n)
        rng = self.rng
        kind = "product" if rng.random() < 0.16 else rng.choice(self.families)
        target = self.source(kind)
        count = rng.choice([1, 2]) if n < self.short else rng.choices([1, 2, 3, 4, 5], [8, 4, 3, 3, 82])[0]
        place = 0 if rng.random() < 0.85 else rng.randrange(count)
        sources = []
        for at in range(count):
            near = rng.random() < 0.65
            sources.append(target if at == place else self.source(kind if near else rng.choice([*self.families, "product"])))
        titles = [name for record, _ in sources for name in (record["attributes"]["sku"], record["title"])]
        own_picture = rng.random() < 0.06 and kind != "product"
        shown = [i for i in range(count)][: 1 if own_picture or rng.random() < 0.1 else 2]
        text, images = [], []
        for i, (record, row) in enumerate(sources):
            text.append(source_text(i + 1, record))
            if i in shown:
                text.append(f"Picture of source [{i + 1}]:\n<image>")
                images.append(f"document/{row}")
        if own_picture:
            text.append("Picture of the question:\n<image>")
            images.append(f"document/{target[1]}")
        lang = "zh" if rng.random() < 0.35 else "en"
        turns = []
        for _ in range(rng.choice([5, 6, 7, 8] if n < self.short else [3, 4, 5, 6, 7])):
            drawn = rng.random()
            # Later turns also ask about the other sources that can be seen.
            about = place if not turns or rng.random() < 0.5 else rng.choice(shown)
            record, row = sources[about]
            if drawn < 0.09:
                turns.append(self.refusal(titles, kind, record, lang))
                continue
            is_product = "product_type" in record["attributes"]
            if is_product:
                asked, answer = rng.choice(list(self.product_questions(record)))
                turns.append(self.turn(asked, answer, [], None, about + 1, lang))
                continue
            if drawn < 0.18 and (plain := list(self.document_text_questions(record))):
                asked, answer = rng.choice(plain)
                turns.append(self.turn(asked, answer, [], None, about + 1, lang))
                continue
            what, asked, answer, boxes, steps = rng.choice(list(questions_of(self.rows[row], self.cells)))
            if about in shown or (own_picture and about == place):
                turns.append(self.turn(asked, answer, boxes, steps, about + 1, lang))
            elif what == "picture":
                turns.append((f"Question:\n{asked[lang]}", NOT_SAID[lang]))
        if not turns:
            return None
        return self.talk(n, text, images, turns)

    def refusal(self, titles, kind, record, lang):
        """Asks for what no source has: another item, or something that records and drawings do not tell."""
        rng = self.rng
        if rng.random() < 0.3:
            en, zh = rng.choice(UNKNOWN)
            name = record["title"]
            return f"Question:\n{(en if lang == 'en' else zh).format(name)}", NOT_SAID[lang]
        while True:
            other, row = self.source(kind)
            if other["attributes"]["sku"] not in titles and other["title"] not in titles:
                break
        if kind == "product":
            asked, _ = rng.choice(list(self.product_questions(other)))
        else:
            _, asked, *_ = rng.choice(list(questions_of(self.rows[row], self.cells)))
        return f"Question:\n{asked[lang]}", NOT_SAID[lang]


def products_of(manifest, questions):
    held = {q["item_id"] for q in map(json.loads, Path(questions).read_text().splitlines()) if q["split"] == "heldout"}
    return [r for r in map(json.loads, Path(manifest).read_text().splitlines()) if r["attributes"]["kind"] == "product" and r["item_id"] not in held]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--products", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=8_000, help="conversations as the pipeline asks")
    parser.add_argument("--reading", type=int, default=0, help="lessons about one picture, which come first")
    parser.add_argument("--short", type=int, default=0, help="conversations with one or two sources, which come next")
    parser.add_argument("--mixed", action="store_true", help="in any order, for a model that is gone on with: what it meets no more it forgets")
    parser.add_argument("--seed", type=int, default=88_003)
    args = parser.parse_args()
    rows, _ = load(args.data)
    maker = Maker(rows, products_of(args.products, args.questions), args.seed, args.reading, args.short)
    made = []
    while len(made) < args.reading + args.short + args.count:
        if row := maker.conversation(len(made)):
            made.append(row)
    if args.mixed:
        maker.rng.shuffle(made)
    Path(args.out).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    print(f"{len(made)} conversations: {args.out}")


if __name__ == "__main__":
    main()
