"""Trains the projector and the language model on instructions, over the tower's features, and writes the checkpoint of a LlavaForConditionalGeneration.

    python train_language.py --data DIR --held-out DIR --instructions train.jsonl --held-instructions held.jsonl --tower tower.pt --out checkpoint \
        [--from CHECKPOINT] [--minutes 45]

The tower stands still: its tokens for every picture are worked out once, so that a step costs the language model alone.
"""

import argparse
import json
import time
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, CLIPImageProcessor, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from documents import GRID, SIDE, SPELT, Alphabet, load, spelt_of, spelt_places
from looks import AT_LETTERS, AT_MARKS, AT_TEXT, CITED, MARK, copies_of, looks_of
from tokens import CONTEXT, IMAGE, make_tokenizer
from train_tower import pixels_of, tower_config

TOKENS = (SIDE // 32) ** 2
"""Visual tokens of a picture."""
IN_BOX = 0.4
"""Weight of the figures of boxes in the loss: there are many, and near is nearly right."""

LOOKING = 0.3
"""Weight of where heads look."""
SPELLING = 0.2
"""Weight of what they see there."""


def make_model(tokenizer):
    config = LlavaConfig(
        vision_config=tower_config(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8,
            max_position_embeddings=CONTEXT, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE), image_seq_length=TOKENS,
        vision_feature_layer=-1, vision_feature_select_strategy="full", projector_hidden_act="gelu",
    )
    return LlavaForConditionalGeneration(config)


@torch.no_grad()
def features_of(tower, pictures, samples, every=2_000):
    """(n, TOKENS, 256) in bfloat16, of the pictures that `samples` show; of the others nothing that counts."""
    shown = np.array(sorted(set(pictures_of(samples))))
    tower.eval()
    out = torch.empty(len(pictures), TOKENS, 256, dtype=torch.bfloat16)
    started = time.time()
    for start in range(0, len(shown), 16):
        at = shown[start : start + 16]
        out[at] = tower(pixels_of(pictures, at), output_hidden_states=True).hidden_states[-1].bfloat16()
        if start % every == 0:
            print(f"features of {start} of {len(shown)} pictures, {(start + 16) / (time.time() - started):.0f} a second", flush=True)
    return out


class Encoder:
    """Conversations as token ids, what counts of them, and their pictures."""

    def __init__(self, tokenizer, rows=None):
        """With `rows`, the documents, also where their words stand."""
        self.rows, self.places = rows, {}
        self.image = tokenizer.convert_tokens_to_ids(IMAGE)
        # The library's own tokenizer: the wrapper around it costs more than the encoding.
        self.encoded = lambda text: tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        one = lambda text: self.encoded(text).ids
        self.user, self.said, self.end = one("<|im_start|>user\n"), one("\n<|im_end|>\n<|im_start|>assistant\n"), one("<|im_end|>")
        self.gap = one("\n")
        pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        self.opens, self.closes = ({i for i, piece in enumerate(pieces) if mark in piece} for mark in ("[[", "]]"))

    def encode(self, row):
        """(ids, weights, pictures, looks): weight 0 where nothing is learnt; looks (n, 4) are places in ids, layers, heads, and places that are looked at."""
        ids, weights, looks, starts = [], [], [], []
        pictures = [int(name.split("/")[1]) for name in row["image"]]
        told, letters, told_at, question = "", [], [], ""
        for part in row["conversations"]:
            encoded = self.encoded(part["value"])
            text = encoded.ids
            if part["from"] == "human":
                question = part["value"]
                ids += self.user
                at = []
                for token in text:
                    if token == self.image:
                        starts.append(len(ids))
                    at.append(len(ids))
                    ids += [token] * (TOKENS if token == self.image else 1)
                if not told:
                    # The sources stand in the first turn.
                    told, letters, told_at = question, [first for first, _ in encoded.offsets], at
                ids += self.said
                weights += [0.0] * (len(ids) - len(weights))
            else:
                if self.rows and pictures:
                    seen = self.seen(question, part["value"], pictures, starts)
                    read = [(at, layer, heads, told_at[bisect_right(letters, letter) - 1]) for at, layer, heads, letter in copies_of(told, question, part["value"])]
                    looks += [(len(ids) + n, *look) for n, *look in of_tokens([*seen, *read], encoded.offsets)]
                ids += text + self.end
                weights += [*self.in_boxes(text), 1.0]
                ids += self.gap
                weights += [0.0]
        return np.array(ids, np.int32), np.array(weights, np.float32), pictures, np.array(looks, np.int32).reshape(-1, 4)

    def seen(self, question, answer, pictures, starts):
        """[(letter of the answer, layer, heads, place in ids)] of what it reads from the picture that it cites."""
        cited = CITED.search(answer)
        if cited and not MARK.search(answer):
            return []
        # A source whose picture is not shown by its number is shown as the question's own, which is the last.
        picture = min(int(cited.group(1)), len(pictures)) - 1 if cited else 0
        at = pictures[picture]
        if at not in self.places:
            self.places[at] = spelt_places(self.rows[at])
        return [(letter, layer, heads, starts[picture] + token) for letter, layer, heads, token in looks_of(self.rows[at], self.places[at], question, answer)]

    def in_boxes(self, tokens):
        """Weights of an answer's tokens: less between the double brackets of a box."""
        out, depth = [], False
        for token in tokens:
            if token in self.opens:
                depth = True
                out.append(1.0)
                continue
            out.append(IN_BOX if depth else 1.0)
            if token in self.closes:
                depth = False
        return out


def of_tokens(looks, offsets):
    """(token of the answer, layer, head, place looked at) of looks by the answer's letters: a head looks at one place for a token, that of its first letter."""
    at_letter = defaultdict(list)
    for at, layer, heads, place in looks:
        at_letter[at] += [(layer, head, place) for head in heads]
    for n, (a, b) in enumerate(offsets):
        places = {}
        for at in range(a, b):
            for layer, head, place in at_letter[at]:
                places.setdefault((layer, head), place)
        yield from ((n, layer, head, place) for (layer, head), place in places.items())


def pictures_of(samples):
    """Those that they show, in the order that they do."""
    return [at for _, _, which, _ in samples for at in which]


def batch_of(samples, features, image, pad):
    length = max(len(ids) for ids, *_ in samples)
    ids = torch.full((len(samples), length), pad, dtype=torch.long)
    weights = torch.zeros(len(samples), length)
    for i, (tokens, weight, *_) in enumerate(samples):
        ids[i, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
        weights[i, : len(weight)] = torch.from_numpy(weight)
    return ids, weights, features[pictures_of(samples)], ids == image


def forward(model, ids, seen, where):
    embeds = model.get_input_embeddings()(ids)
    projected = model.model.multi_modal_projector(seen.to(embeds.dtype))
    embeds = embeds.masked_scatter(where.unsqueeze(-1), projected.reshape(-1, projected.shape[-1]).to(embeds.dtype))
    # Padding stands at the end, where the causal mask keeps it from everything that counts.
    return model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state


class Letters(nn.Module):
    """Asks the heads that look at letters for what they take from each place that spells: head n for the n-th letter. Answers ask for few letters, pictures
    are full of them. It is thrown away."""

    def __init__(self, model, rows, shown):
        super().__init__()
        alphabet = Alphabet.of(rows)
        numbers = alphabet.numbers()
        # (documents, halves, TOKENS, SPELT).
        self.spelt = np.zeros((len(rows), 2, TOKENS, SPELT), np.uint8)
        for at in shown:
            self.spelt[at] = spelt_of(rows[at], numbers).reshape(-1, 2, GRID // 2, SPELT).transpose(1, 0, 2, 3).reshape(2, TOKENS, SPELT)
        attentions = [layer.self_attn for layer in model.model.language_model.layers[AT_LETTERS : AT_LETTERS + 2]]
        # In a list, which makes them no part of this.
        self.values, size = [attention.v_proj for attention in attentions], attentions[0].head_dim
        self.asked = nn.Parameter(torch.randn(2, SPELT, size, len(alphabet.letters) + 1) * size**-0.5)

    def loss(self, seen, where, pictures):
        """`seen` are the inputs of the layers, as Watched keeps them."""
        out = []
        for half in range(2):
            hidden = seen[AT_LETTERS + half]["hidden_states"][where]
            wanted = torch.from_numpy(self.spelt[pictures, half].reshape(-1, SPELT).astype(np.int64))
            spells = wanted.any(-1)
            if not spells.any():
                continue
            values = self.values[half](hidden[spells]).view(-1, SPELT, self.asked.shape[2])
            scores = torch.einsum("tnd,ndc->tnc", values, self.asked[half])
            out.append(F.cross_entropy(scores.flatten(0, 1), wanted[spells].flatten(), ignore_index=0))
        return torch.stack(out).mean() if out else torch.zeros(())


class Watched:
    """Where a model's heads look, so that they can be taught where to: what an answer's next word is read from is known here, and found by trial only after
    long (supervised attention: Liu et al., Attention Correctness in Neural Image Captioning, 2017)."""

    def __init__(self, model):
        self.seen = {}
        self.layers = model.model.language_model.layers
        for n in {AT_MARKS[0], AT_LETTERS, AT_LETTERS + 1, AT_TEXT[0]}:
            self.layers[n].self_attn.register_forward_pre_hook(lambda _, __, given, n=n: self.seen.update({n: given}), with_kwargs=True)

    def loss(self, samples):
        """Mean cross-entropy of the heads' attention with what is to be looked at."""
        out = []
        for n, given in self.seen.items():
            attention, hidden, (cos, sin) = self.layers[n].self_attn, given["hidden_states"], given["position_embeddings"]
            shape = (*hidden.shape[:-1], -1, attention.head_dim)
            query, key = (part(hidden).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj))
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            for i, (*_, looks) in enumerate(samples):
                at, _, heads, wanted = torch.from_numpy(looks[looks[:, 1] == n].astype(np.int64)).T
                if not len(at):
                    continue
                # What is written at a place is decided at the one before it.
                scores = (query[i][:, at - 1] @ key[i].transpose(1, 2))[heads, torch.arange(len(at))] * attention.scaling
                scores = scores.masked_fill(torch.arange(scores.shape[1]) >= at[:, None], -torch.inf)
                out.append(F.cross_entropy(scores, wanted, reduction="none"))
        return torch.cat(out).mean() if out else torch.zeros(())


def losses(model, batch):
    ids, weights, seen, where = batch
    hidden = forward(model, ids, seen, where)
    wanted = weights[:, 1:] > 0
    logits = model.lm_head(hidden[:, :-1][wanted])
    target = ids[:, 1:][wanted]
    each = F.cross_entropy(logits, target, reduction="none")
    return each, weights[:, 1:][wanted], logits.argmax(-1) == target, wanted


@torch.no_grad()
def measure(model, samples, features, image, pad, size=16):
    """Shares of answers whose every token (of boxes: every figure; of text: all but boxes) is the likeliest, given those before it."""
    model.eval()
    whole, text, count, total = 0, 0, 0, 0.0
    for start in range(0, len(samples), size):
        batch = batch_of(samples[start : start + size], features, image, pad)
        each, weight, right, wanted = losses(model, batch)
        total += each.mean().item()
        full = torch.ones_like(batch[1][:, 1:], dtype=torch.bool)
        full[wanted] = right
        plain = torch.ones_like(full)
        plain[wanted] = right | (weight < 1)
        for i in range(len(full)):
            # Answers are runs of positions that count.
            runs = torch.diff(torch.cat([torch.zeros(1, dtype=torch.int8), wanted[i].to(torch.int8), torch.zeros(1, dtype=torch.int8)]))
            for a, b in zip((runs == 1).nonzero().flatten().tolist(), (runs == -1).nonzero().flatten().tolist()):
                whole += full[i, a:b].all().item()
                text += plain[i, a:b].all().item()
                count += 1
    model.train()
    return {"answers": count, "text right": round(text / count, 4), "boxes exact too": round(whole / count, 4), "loss": round(total / max(1, -(-len(samples) // size)), 4)}


def main():
    parser = argparse.ArgumentParser()
    for name in ("data", "held-out", "instructions", "held-instructions", "tower", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--from", dest="base", type=Path, help="checkpoint that is gone on with, with its tokenizer; the tower is still --tower's")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=89)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    read = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
    told, held_told = read(args.instructions), read(args.held_instructions)
    if args.base:
        tokenizer, model = AutoTokenizer.from_pretrained(args.base), LlavaForConditionalGeneration.from_pretrained(args.base)
    else:
        tokenizer = make_tokenizer(part["value"] for row in told[:20_000] for part in row["conversations"])
        model = make_model(tokenizer)
    state = torch.load(args.tower)
    model.model.vision_tower.load_state_dict(state["tower"])
    tower = model.model.vision_tower
    rows, pictures = load(args.data)
    encoder, plain = Encoder(tokenizer, rows), Encoder(tokenizer)
    watched = Watched(model)
    started = time.time()
    # In the order of the file: short lessons first, if it begins with them.
    samples = [s for s in map(encoder.encode, told) if len(s[0]) <= CONTEXT]
    held = [s for s in map(plain.encode, held_told) if len(s[0]) <= CONTEXT]
    print(f"{len(samples)} conversations of {np.mean([len(s[0]) for s in samples]):.0f} tokens on average, read in {time.time() - started:.0f} s; vocabulary {len(tokenizer)}", flush=True)
    features, held_features = features_of(tower, pictures, samples), features_of(tower, load(args.held_out)[1], held)
    letters = Letters(model, rows, set(pictures_of(samples)))
    image, pad = encoder.image, tokenizer.pad_token_id
    trained = [*model.model.multi_modal_projector.parameters(), *model.model.language_model.parameters(), *model.lm_head.parameters(), *letters.parameters()]
    # Muon (Jordan 2024) for what is multiplied by inside, at the size of AdamW's steps (Liu et al. 2025), and AdamW for words and scales.
    inside = [p for part in (model.model.multi_modal_projector, model.model.language_model.layers) for p in part.parameters() if p.ndim > 1]
    others = [p for p in trained if all(p is not q for q in inside)]
    optimisers = [
        torch.optim.Muon(inside, lr=args.rate, weight_decay=0.05, ns_steps=3, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=args.rate, betas=(0.9, 0.95), weight_decay=0),
    ]
    started, step = time.time(), 0
    queue = []
    model.train()
    tower.eval()
    running = []

    def save():
        model.save_pretrained(args.out)
        processor = LlavaProcessor(
            image_processor=CLIPImageProcessor(
                size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3,
            ),
            tokenizer=tokenizer, patch_size=32, vision_feature_select_strategy="full", num_additional_image_tokens=0, chat_template=tokenizer.chat_template,
        )
        processor.save_pretrained(args.out)

    while True:
        done = (time.time() - started) / (args.minutes * 60)
        if done >= 1:
            break
        if not queue:
            # Of a stretch of the file, as far in it as the time that has gone, batches of like lengths, in any order.
            next_ = int(done * len(samples))
            stretch = [samples[i % len(samples)] for i in range(next_, next_ + 64 * args.batch)]
            stretch.sort(key=lambda s: len(s[0]))
            queue = [stretch[i : i + args.batch] for i in range(0, len(stretch), args.batch)]
            rng.shuffle(queue)
        rate = args.rate * min(1, (step + 1) / 150) * (0.03 + 0.97 * 0.5 * (1 + np.cos(np.pi * done)))
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        chosen = queue.pop()
        batch = batch_of(chosen, features, image, pad)
        each, weight, right, _ = losses(model, batch)
        loss, astray, misread = (each * weight).sum() / weight.sum(), watched.loss(chosen), letters.loss(watched.seen, batch[-1], pictures_of(chosen))
        for optimiser in optimisers:
            optimiser.zero_grad()
        (loss + LOOKING * astray + SPELLING * misread).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        running.append((loss.item(), astray.item(), misread.item()))
        if step % 50 == 0:
            spent = time.time() - started
            print(f"step {step}  loss {np.mean(running, 0)[0]:.3f}  looks {np.mean(running, 0)[1]:.3f}  letters {np.mean(running, 0)[2]:.3f}  rate {rate:.5f}  {step * args.batch / spent:.1f} conversations/s  {done:.0%}, {(args.minutes * 60 - spent) / 60:.0f} min left", flush=True)
            running = []
        if step % 500 == 0:
            print(json.dumps({"step": step, **measure(model, held[:160], held_features, image, pad)}), flush=True)
            save()
    print(json.dumps({"step": step, "conversations": step * args.batch, "minutes": args.minutes, **measure(model, held, held_features, image, pad)}), flush=True)
    save()


if __name__ == "__main__":
    main()
