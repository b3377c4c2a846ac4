"""What transformers says of the very weights that a pack holds: prompts, token ids, greedy answers. And the same of the pack's graphs."""

import base64
import io

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageDraw
from transformers import GenerationConfig

SYSTEM = "You answer from the sources alone, and name them."
# Two of one line, so that places and spaces between parts are told apart.
QUESTIONS = [
    ("words", ["Source [1]\nCooler K26, holes 54 x 90 mm.\n", "Question:\nDoes it fit AM4?"], 0),
    ("words in Chinese", ["资料 [1]\n主板 支持 AM4 插槽。\n", "问题：\n支持吗？ 🙂"], 0),
    ("one picture", ["Picture of source [1]:", 0, "Question:\nWhat is  the size? 480"], 1),
    ("two pictures", ["Picture of source [1]:", 0, "Picture of the question:", 1, "Question:\nWhich one is red?"], 2),
]
ANSWER_TOKENS = 24


def pictures(side):
    """Two drawings of the model's own square, so that nothing is resized."""
    drawn = []
    for n, (paper, ink) in enumerate([("white", "black"), ("#204060", "#f0c040")]):
        picture = Image.new("RGB", (side, side), paper)
        pen = ImageDraw.Draw(picture)
        unit = side / 16
        for k in range(5):
            x = (2 + 2.4 * k) * unit
            pen.ellipse([x, (3 + k + n) * unit, x + 2 * unit, (5 + k + n) * unit], outline=ink, fill=(40 * k, 60 * n + 20 * k, 200 - 30 * k), width=1)
        pen.rectangle([unit, 12 * unit, 14 * unit, (13 + n) * unit], outline=ink, width=max(1, round(unit / 8)))
        drawn.append(picture)
    return drawn


def data_url(picture):
    bytes_ = io.BytesIO()
    picture.save(bytes_, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(bytes_.getvalue()).decode()


class Prompts:
    """A question as the checkpoint's own tokenizer and processor read it."""

    def __init__(self, tokenizer, image_processor, image_token, tokens_per_image):
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.image_token = image_token
        self.tokens_per_image = tokens_per_image
        self.form = self.probe()

    def ids(self, parts):
        content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
        text = self.render([{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}], self.form)
        text = text.replace(self.image_token, self.image_token * self.tokens_per_image)
        bos = self.tokenizer.bos_token
        return self.tokenizer(text, add_special_tokens=not (bos and text.startswith(bos)))["input_ids"]

    def render(self, messages, form):
        if form != "as_sent":
            parts = [[{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"] for m in messages]
            words = ["\n".join(p["text"] if p["type"] == "text" else self.image_token for p in one) for one in parts]
            messages = [{**m, "content": one} for m, one in zip(messages, parts if form == "parts" else words)]
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def probe(self):
        """How the template takes messages, found out as the server does it (chat-prompt.ts)."""
        system = {"role": "system", "content": "probe of a rule"}
        in_parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "probe of parts"}]}
        for form in ["as_sent", "parts", "text"]:
            try:
                text = self.render([system, {"role": "user", "content": "probe of a text"}], form)
                parts = self.render([system, in_parts], form)
            except Exception:  # jinja2's own errors, and any that a template raises
                continue
            if "probe of a text" in text and "probe of parts" in parts and parts.count(self.image_token) == 1:
                return form
        raise ValueError("the chat template shows not one text and one picture of a message that has both")

    def pixels(self, shown):
        return self.image_processor(images=shown, return_tensors="pt")["pixel_values"].float() if shown else None


def request(parts, shown):
    content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image_url", "image_url": {"url": data_url(shown[part])}} for part in parts]
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]


def cases(model, prompts, side, max_images):
    shown = pictures(side)
    out = []
    for name, parts, count in QUESTIONS:
        if count > max_images:
            continue
        ids = prompts.ids(parts)
        pixels = prompts.pixels(shown[:count])
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if pixels is not None:
            inputs["pixel_values"] = pixels
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=ANSWER_TOKENS,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=model.generation_config.pad_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        with torch.no_grad():
            generated = model.generate(**inputs, generation_config=config)
        answer = generated.sequences[0, len(ids) :].tolist()
        best = [torch.log_softmax(step[0].float(), -1).topk(2).values for step in generated.logits]
        out.append(
            {
                "name": name,
                "messages": request(parts, shown),
                "prompt_ids": ids,
                "token_ids": answer,
                "logprobs": [round(float(step[0]), 6) for step in best],
                "least_margin": round(min(float(step[0] - step[1]) for step in best), 6),
                "text": prompts.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            }
        )
    return out


def check(graphs, model, prompts, side, golden):
    """Runs the graphs over the cases. Raises AssertionError where a token differs."""
    session = lambda name: onnxruntime.InferenceSession(graphs[name], providers=["CPUExecutionProvider"])
    embed, vision, decoder = session("embed_tokens"), session("vision_encoder"), session("decoder_model_merged")
    image_id = model.config.image_token_id
    for case in golden:
        ids = case["prompt_ids"]
        vectors = embed.run(None, {"input_ids": np.array([ids])})[0]
        count = ids.count(image_id) // prompts.tokens_per_image
        if count:
            pixels = prompts.pixels(pictures(side)[:count]).numpy()
            seen = [vision.run(None, {"pixel_values": pixels[n : n + 1]})[0] for n in range(count)]
            vectors[0, np.array(ids) == image_id] = np.concatenate(seen).reshape(-1, vectors.shape[-1])
        names = [i.name for i in decoder.get_inputs() if i.name.startswith("past")]
        shape = next(i.shape for i in decoder.get_inputs() if i.name.startswith("past"))
        past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name in names}
        said, length = [], 0
        while len(said) < len(case["token_ids"]):
            new = vectors.shape[1]
            length += new
            feeds = {"inputs_embeds": vectors, "attention_mask": np.ones((1, length), np.int64), "position_ids": np.arange(length - new, length)[None], **past}
            logits, *present = decoder.run(None, feeds)
            past = dict(zip(names, present))
            said.append(int(logits[0, -1].argmax()))
            vectors = embed.run(None, {"input_ids": np.array([said[-1:]])})[0]
        assert said == case["token_ids"], f"{case['name']}: the graphs say {said}, transformers {case['token_ids']}"
