"""The two towers. Both end in a linear projection into one space; vectors leave L2-normalised."""

import torch
import torch.nn.functional as F
from torch import nn

PIXELS = 64
DIM = 256


class Block(nn.Module):
    """Two 3x3 convolutions with a residual path."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = inside == outside and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


class VisionTower(nn.Module):
    """Residual CNN: 64 px -> 32 -> 16 -> 8 -> 4, average and maximum pooled."""

    def __init__(self, widths=(32, 64, 128, 256), depths=(1, 2, 2, 2), dropout=0.1):
        super().__init__()
        layers = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        inside = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            for i in range(depth):
                layers.append(Block(inside, width, 2 if i == 0 and stage > 0 else 1))
                inside = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(2 * inside, DIM)

    def forward(self, pixels):
        maps = self.features(pixels)
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return F.normalize(self.projection(self.dropout(pooled)).float(), dim=-1)


class TextTower(nn.Module):
    """Small pre-norm transformer; the mean over the tokens is projected."""

    def __init__(self, vocabulary: int, width=160, layers=2, heads=4, positions=64, dropout=0.1):
        super().__init__()
        self.heads = heads
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        nn.init.normal_(self.token.weight, std=0.05)
        nn.init.normal_(self.position.weight, std=0.01)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 3 * width),
                    "down": nn.Linear(3 * width, width),
                }
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width, DIM)

    def attend(self, block, x, bias):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in block["qkv"](x).chunk(3, -1))
        weights = (q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + bias.to(q.dtype)).softmax(-1)
        return block["out"]((weights @ v).transpose(1, 2).reshape(batch, length, width))

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.to(torch.float32)
        bias = ((1.0 - mask) * -10000.0)[:, None, None, :]
        x = self.token(input_ids) + self.position(torch.arange(input_ids.shape[1], device=input_ids.device))[None]
        x = self.dropout(x)
        for block in self.blocks:
            x = x + self.dropout(self.attend(block, block["norm1"](x), bias))
            x = x + self.dropout(block["down"](F.gelu(block["up"](block["norm2"](x)))))
        weights = mask[:, :, None]
        pooled = (self.norm(x) * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return F.normalize(self.projection(pooled).float(), dim=-1)


class DualEncoder(nn.Module):
    """Both towers, the learned logit scale, and one proxy vector per training concept (used in training only)."""

    def __init__(self, vocabulary: int, concepts: int):
        super().__init__()
        self.vision = VisionTower()
        self.text = TextTower(vocabulary)
        self.log_scale = nn.Parameter(torch.tensor(2.7))
        self.proxies = nn.Parameter(F.normalize(torch.randn(concepts, DIM), dim=-1))

    def scale(self):
        return self.log_scale.clamp(max=4.0).exp()
