"""Teaches the vision tower to read: which letters and shapes stand where, how words go on, and where their lines and outlines end.

    python train_tower.py --data DIR --held-out DIR --out tower.pt [--from CHECKPOINT] [--minutes 40]

The heads are thrown away afterwards; what they asked for stays in the tower's 144 tokens, where the language model finds it.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, FocalNetConfig, LlavaForConditionalGeneration

from documents import CELL, FINE, GRID, SIDE, SLOTS, SPELT, Alphabet, labels_of, load, stacked

MEAN = 0.5
DEVIATION = 0.5


def tower_config():
    return FocalNetConfig(
        image_size=SIDE, patch_size=4, embed_dim=32, hidden_sizes=[32, 64, 128, 256], depths=[1, 2, 4, 2],
        focal_levels=[1, 1, 1, 1], focal_windows=[3, 3, 3, 3], use_conv_embed=True, mlp_ratio=3.0, drop_path_rate=0.0,
        hidden_size=256,
    )


class Reader(nn.Module):
    """The tower with what asks it. Letters are asked for at three depths: of the features of 8 pixels which one stands right there, for which nothing has to
    be counted or ordered; of a cell's features which ones stand in it; of the tokens how the words go that begin in them, wherever in them that is."""

    def __init__(self, alphabet):
        super().__init__()
        self.tower = AutoModel.from_config(tower_config())
        # The same, as fused loops: a sixth faster.
        self.fused = torch.compile(self.tower, dynamic=False)
        self.letters, self.shapes = len(alphabet.letters) + 1, len(alphabet.shapes) + 1
        self.sizes = [self.shapes, 4, 4, 2]
        self.heads = nn.ModuleDict({"fine": nn.Linear(64, 2 * self.letters), "cell": nn.Linear(128, SLOTS * self.letters), "token": nn.Linear(256, 4 * sum(self.sizes)), "spelt": nn.Linear(256, 2 * SPELT * self.letters)})
        for stage, name in ((1, "fine"), (2, "cell")):
            self.tower.encoder.stages[stage].register_forward_hook(lambda _, __, out, name=name: setattr(self, f"{name}_features", out[1]))

    def forward(self, pixels):
        tokens = (self.fused if self.training else self.tower)(pixels, output_hidden_states=True).hidden_states[-1]
        n, half = len(tokens), GRID // 2
        # A token's four cells.
        out = self.heads["token"](tokens).view(n, half, half, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(n, GRID, GRID, -1)
        shape, *places = out.split(self.sizes, -1)
        return {
            "fine": self.heads["fine"](self.fine_features).view(n, SIDE // FINE, SIDE // FINE, 2, self.letters),
            "letters": self.heads["cell"](self.cell_features).view(n, GRID, GRID, SLOTS, self.letters),
            "spelt": self.heads["spelt"](tokens).view(n, half, half, 2, SPELT, -1).transpose(2, 3).reshape(n, GRID, half, SPELT, self.letters),
            "shape": shape,
            # Places are worked out in cells from the middle of the square, at a scale at which a network begins near them.
            **{name: GRID / 4 * place for name, place in zip(("words", "shapes", "own"), places)},
        }


def pixels_of(pictures, at, rng=None):
    """Normalised (n, 3, SIDE, SIDE). With `rng`, lightness and a little noise vary."""
    x = torch.from_numpy(np.ascontiguousarray(pictures[at])).permute(0, 3, 1, 2).float() / 255
    if rng is not None:
        gain = torch.from_numpy(rng.uniform(0.85, 1.1, (len(x), 1, 1, 1)).astype(np.float32))
        shift = torch.from_numpy(rng.uniform(-0.05, 0.05, (len(x), 1, 1, 1)).astype(np.float32))
        x = (x * gain + shift + torch.randn_like(x) * float(rng.uniform(0, 0.02))).clamp(0, 1)
    return (x - MEAN) / DEVIATION


def own_places():
    """(GRID, GRID, 2): where each cell's middle lies. Nothing else tells a convolution, or the language model behind it, where it is."""
    along = torch.arange(GRID) + 0.5 - GRID / 2
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def target_of(labels, at):
    return {name: torch.from_numpy(part[at]) for name, part in labels.items()}


def loss_of(out, target):
    loss = 0.1 * F.smooth_l1_loss(out["own"], own_places().expand_as(out["own"]), beta=0.2)
    for name, share, nothing in (("fine", 0.5, 0.05), ("letters", 0.5, 0.05), ("spelt", 1.5, 0.1), ("shape", 0.5, 0.2)):
        weight = torch.ones(out[name].shape[-1])
        weight[0] = nothing
        loss = loss + share * F.cross_entropy(out[name].flatten(0, -2), target[name].long().flatten(), weight=weight)
    for name in ("words", "shapes"):
        there = ~target[name][..., 0].isnan()
        loss = loss + 0.3 * F.smooth_l1_loss(out[name][there], target[name][there], beta=0.2)
    return loss


def pages_and_documents(rows):
    """Numbers of the pages, and of all others."""
    return [[i for i, row in enumerate(rows) if (row["family"] == "page") == is_page] for is_page in (True, False)]


@torch.no_grad()
def measure(model, pictures, labels, which, batch=32):
    """Of the documents whose numbers are `which`: shares of what is there that is named rightly, and misses in pixels."""
    model.eval()
    right, of, miss = Counter(), Counter(), []
    for start in range(0, len(which), batch):
        at = np.array(which[start : start + batch])
        out, target = model(pixels_of(pictures, at)), target_of(labels, at)
        for name in ("fine", "letters", "spelt", "shape"):
            there = target[name] > 0
            right[name] += (out[name].argmax(-1)[there] == target[name][there]).sum().item()
            of[name] += there.sum().item()
        there = ~target["words"][..., 0].isnan()
        miss.append([(out["words"][there] - target["words"][there]).abs().mean().item() * CELL, (out["own"] - own_places()).abs().mean().item() * CELL])
    model.train()
    ends, places = np.nanmean(miss, 0)
    shares = {name: round(right[name] / of[name], 4) for name in of if of[name]}
    return {**shares, "line ends, px off": round(float(ends), 2), "own place, px off": round(float(places), 2)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="base", type=Path, help="checkpoint of a LLaVA, or what this command wrote, whose tower is gone on with")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=88)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    rows, pictures = load(args.data)
    held_rows, held_pictures = load(args.held_out)
    alphabet = Alphabet.of(rows)
    print(f"{len(rows)} documents, {len(alphabet.letters)} letters, {len(alphabet.shapes)} shapes: {alphabet.shapes}", flush=True)
    labels, held = (stacked([labels_of(row, alphabet) for row in which]) for which in (rows, held_rows))
    model = Reader(alphabet)
    if args.base and args.base.is_dir():
        model.tower.load_state_dict(LlavaForConditionalGeneration.from_pretrained(args.base).model.vision_tower.state_dict())
    elif args.base:
        kept = torch.load(args.base)
        model.tower.load_state_dict(kept["tower"])
        # Heads know their letters by number.
        if kept.get("alphabet") == [alphabet.letters, alphabet.shapes]:
            model.heads.load_state_dict(kept["heads"])
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0}], lr=args.rate, betas=(0.9, 0.98), fused=True,
    )
    pages, documents = pages_and_documents(held_rows)

    def tell(every=1, **said):
        """Measures one picture in `every`, and keeps the weights."""
        read = {name: measure(model, held_pictures, held, which[::every]) for name, which in (("documents", documents), ("pages", pages))}
        print(json.dumps({**said, **read}), flush=True)
        torch.save({"tower": model.tower.state_dict(), "heads": model.heads.state_dict(), "alphabet": [alphabet.letters, alphabet.shapes]}, args.out)

    started, step, shown = time.time(), 0, 0
    # Half of every batch is pages of words that cannot be guessed: they teach reading, where documents teach their templates.
    kinds = pages_and_documents(rows)
    orders = [[], []]
    while True:
        done = (time.time() - started) / (args.minutes * 60)
        if done >= 1:
            break
        for order, kind in zip(orders, kinds):
            if len(order) < args.batch:
                order[:] = rng.permutation(kind)
        at = np.sort([orders[i % 2].pop() for i in range(args.batch)])
        # Warm-up, then a cosine over the time that is given.
        rate = args.rate * min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(model(pixels_of(pictures, at, rng)), target_of(labels, at))
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        shown += args.batch
        if step % 50 == 0:
            spent = time.time() - started
            print(f"step {step}  loss {loss.item():.3f}  rate {rate:.5f}  {shown / spent:.1f} pictures/s  {done:.0%}, {(args.minutes * 60 - spent) / 60:.0f} min left", flush=True)
        if step % 500 == 0:
            tell(every=6, step=step)
    tell(step=step, pictures=shown, minutes=args.minutes)


if __name__ == "__main__":
    main()
