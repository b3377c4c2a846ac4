"""Trains the starter dual encoder on the CPU (or a GPU if torch finds one).

    python train.py --data DIR --out DIR --steps 4000 --decay-steps 1000 [--resume] [--seed 7]

Writes OUT/tokenizer.json and OUT/checkpoint.pt (every --save-minutes); --resume goes on from the latter. Each step draws
from a generator seeded with seed and step, so that a resumed run draws what an unbroken one would (dropout apart).
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import captions
import evaluate
from augment import augment
from data import Dataset
from model import DualEncoder

SMOOTHING = 0.05


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--documents", type=Path, help="second picture folder, from render-documents.mjs")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--decay-steps", type=int, default=1000, help="the last steps, over which the rate falls to zero")
    p.add_argument("--stop-at", type=int, help="save and stop at this step, to go on later with --resume")
    p.add_argument("--concepts", type=int, default=128, help="concepts a step; two pictures and three texts each")
    p.add_argument("--rate", type=float, default=1.5e-3)
    p.add_argument("--average", type=float, default=0.997, help="share of the averaged weights that a step keeps")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--save-minutes", type=float, default=3)
    p.add_argument("--eval-minutes", type=float, default=6)
    p.add_argument("--resume", action="store_true")
    return p.parse_args()


def contrast(a, b, scale):
    """Symmetric InfoNCE where row i of `a` belongs to row i of `b`."""
    logits = scale * a @ b.T
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, own, label_smoothing=SMOOTHING) + F.cross_entropy(logits.T, own, label_smoothing=SMOOTHING)) / 2


def soft_cross_entropy(logits, target):
    return -(target * F.log_softmax(logits, -1)).sum(-1).mean()


def losses(model, images, texts, batch, similarity):
    """Words against pictures in both languages, picture against picture, and all of them against the concepts' proxies."""
    n = len(batch["positions"])
    scale = model.scale()
    first, second = images.split(n)
    english, chinese, tagged = texts.split(n)
    words = (contrast(first, english, scale) + contrast(second, english, scale) + contrast(first, chinese, scale) + contrast(second, chinese, scale)) / 4
    pictures = contrast(first, second, scale)
    proxies = F.normalize(model.proxies, dim=-1)
    target = similarity[batch["positions"]]
    by_proxy = soft_cross_entropy(scale * images @ proxies.T, target.repeat(2, 1))
    named = soft_cross_entropy(scale * torch.cat([english, chinese]) @ proxies.T, target.repeat(2, 1))
    tags = soft_cross_entropy(scale * tagged @ proxies.T, batch["tag_targets"])
    return words + 0.4 * pictures + 0.8 * by_proxy + 0.4 * named + 0.4 * tags, {"words": words.item(), "pictures": pictures.item(), "proxy": by_proxy.item(), "tags": tags.item()}


def tokenise(tokenizer, texts, device):
    encoded = tokenizer.encode_batch(texts)
    return torch.tensor([e.ids for e in encoded], device=device), torch.tensor([e.attention_mask for e in encoded], device=device)


def rate_at(step, args):
    """Linear warm-up over 150 steps, constant, then linear to zero over the last --decay-steps."""
    return args.rate * min(1.0, (step + 1) / 150, max(0.0, (args.steps - step) / args.decay_steps))


def parameter_groups(model):
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and n != "proxies"]
    free = [p for n, p in model.named_parameters() if p.ndim <= 1 or n == "proxies"]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]


def make_room(saved, model):
    """Documents may join a resumed run: their proxies are appended as they were initialised."""
    old = len(saved["model"]["proxies"])
    new = model.proxies.detach()[old:]
    if not len(new):
        return
    for weights in (saved["model"], saved["average"]):
        weights["proxies"] = torch.cat([weights["proxies"], new])
    for state in saved["optimiser"]["state"].values():
        for key in ("exp_avg", "exp_avg_sq"):
            if state[key].shape == (old, model.proxies.shape[1]):
                state[key] = torch.cat([state[key], torch.zeros_like(new)])


@torch.no_grad()
def update_average(average, model, keep):
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].mul_(keep).add_(value, alpha=1 - keep)
        else:
            average[name].copy_(value)


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.out.mkdir(parents=True, exist_ok=True)
    data = Dataset(args.data, args.documents)
    path = args.out / "tokenizer.json"
    if args.resume and path.exists():
        tokenizer = Tokenizer.from_file(str(path))
    else:
        tokenizer = captions.train_tokenizer([data.concepts[i] for i in data.trained], data.document_captions)
        tokenizer.save(str(path))
    model = DualEncoder(tokenizer.get_vocab_size(), len(data.trained)).to(device)
    model.vision.to(memory_format=torch.channels_last)
    similarity = data.similarity.to(device)
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=args.rate, betas=(0.9, 0.98))
    average = {k: v.clone() for k, v in model.state_dict().items()}
    step, seconds = 0, 0.0
    checkpoint = args.out / "checkpoint.pt"
    if args.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        make_room(saved, model)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, step, seconds = saved["average"], saved["step"], saved["seconds"]

    def save():
        torch.save({"model": model.state_dict(), "average": average, "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    def report():
        shadow = DualEncoder(tokenizer.get_vocab_size(), len(data.trained))
        shadow.load_state_dict({k: v.cpu() for k, v in average.items()})
        print(json.dumps({"step": step, "hours": round(seconds / 3600, 2), **evaluate.summary(shadow.eval(), tokenizer, data)}), flush=True)

    model.train()
    saved_at = evaluated_at = last = time.time()
    end = min(args.steps, args.stop_at or args.steps)
    while step < end:
        g = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        batch = data.sample(args.concepts, random.Random(args.seed * 7919 + step))
        pixels = augment(batch["rgba"], batch["flips"], batch["colours"], g).to(device).contiguous(memory_format=torch.channels_last)
        batch["tag_targets"] = batch["tag_targets"].to(device)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, args)
        with torch.autocast(device, torch.bfloat16):
            images = model.vision(pixels)
            texts = torch.cat([model.text(*tokenise(tokenizer, part, device)) for part in (batch["names"], batch["others"])])
        loss, parts = losses(model, images, texts, batch, similarity)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        update_average(average, model, min(args.average, (step + 1) / (step + 10)))
        step += 1
        now = time.time()
        seconds, last = seconds + now - last, now
        if step % 20 == 0:
            print(f"step {step} {seconds:.0f}s loss {loss.item():.3f} scale {model.scale().item():.1f} " + " ".join(f"{k} {v:.3f}" for k, v in parts.items()), flush=True)
        if now - saved_at > args.save_minutes * 60 or step == end:
            save()
            saved_at = now
        if now - evaluated_at > args.eval_minutes * 60 or step == end:
            report()
            evaluated_at = last = time.time()


if __name__ == "__main__":
    main()
