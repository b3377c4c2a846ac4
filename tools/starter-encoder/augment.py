"""Batched augmentation of RGBA pictures: one warp, a background, colours, an outline, erasing."""

import torch
import torch.nn.functional as F

from model import PIXELS


def to_network(rgb):
    """RGB in [0, 1] -> the network's range (mean 0.5, deviation 0.5)."""
    return (rgb - 0.5) / 0.5


def plain(rgba, size=PIXELS):
    """uint8 [n, s, s, 4] -> network input on white, without augmentation."""
    x = rgba.permute(0, 3, 1, 2).float() / 255
    rgb = x[:, :3] * x[:, 3:] + (1 - x[:, 3:])
    return to_network(F.interpolate(rgb, size=(size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1))


def uniform(n, low, high, g):
    return torch.rand(n, generator=g) * (high - low) + low


def chance(n, p, g):
    return (torch.rand(n, generator=g) < p).float()


def warp(x, may_flip, g):
    """Rotation, scale, aspect, shear, shift and a smooth random displacement in one sampling."""
    n = x.shape[0]
    angle = uniform(n, -0.26, 0.26, g)
    scale = uniform(n, 0.86, 1.45, g)
    aspect = uniform(n, -0.18, 0.18, g).exp()
    shear = uniform(n, -0.12, 0.12, g)
    flip = 1 - 2 * chance(n, 0.35, g) * may_flip
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [
            torch.stack([cos * aspect * flip, -sin + shear, uniform(n, -0.18, 0.18, g)], 1),
            torch.stack([sin * flip + shear, cos / aspect, uniform(n, -0.18, 0.18, g)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, (n, 4, PIXELS, PIXELS), align_corners=False)
    bend = F.interpolate(torch.randn(n, 2, 4, 4, generator=g) * 0.06, size=(PIXELS, PIXELS), mode="bicubic", align_corners=False)
    grid = grid + bend.permute(0, 2, 3, 1) * chance(n, 0.6, g)[:, None, None, None]
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def background(n, g):
    """White for half of the pictures; one colour, or a slope between two, for the rest."""
    white = torch.ones(n, 3, 1, 1)
    light = uniform((n, 3, 1, 1), 0.7, 1.0, g)
    any_colour = torch.rand(n, 3, 1, 1, generator=g)
    slope = torch.linspace(0, 1, PIXELS)[None, None, :, None]
    kind = torch.rand(n, 1, 1, 1, generator=g)
    flat = torch.where(kind < 0.5, white, torch.where(kind < 0.75, light, any_colour))
    second = torch.where(kind > 0.88, torch.rand(n, 3, 1, 1, generator=g), flat)
    return flat * (1 - slope) + second * slope


def move_colours(rgb, strength, g):
    """Brightness, contrast, chroma and hue; `strength` 0..1 per picture (low where a colour is the meaning)."""
    n = rgb.shape[0]
    s = strength * chance(n, 0.7, g)
    y = rgb.mean(1, keepdim=True)
    chroma = (1 + uniform(n, -0.6, 0.5, g) * s)[:, None, None, None]
    chroma = chroma * (1 - chance(n, 0.08, g) * (strength > 0.5))[:, None, None, None]
    rgb = y + (rgb - y) * chroma
    mix = torch.eye(3)[None] + torch.randn(n, 3, 3, generator=g) * (0.10 * s)[:, None, None]
    rgb = torch.einsum("nij,njhw->nihw", mix, rgb)
    gain = (1 + uniform(n, -0.25, 0.25, g) * (0.3 + 0.7 * s))[:, None, None, None]
    shift = (uniform(n, -0.12, 0.12, g) * (0.3 + 0.7 * s))[:, None, None, None]
    return ((rgb - 0.5) * gain + 0.5 + shift).clamp(0, 1)


def outline(rgb, alpha, g):
    """A dark rim around the silhouette of one picture in eight."""
    n = rgb.shape[0]
    rim = (F.max_pool2d(alpha, 3, 1, 1) - alpha).clamp(0, 1) * chance(n, 0.125, g)[:, None, None, None]
    ink = uniform((n, 3, 1, 1), 0.0, 0.3, g)
    return rgb * (1 - rim) + ink * rim


def soften(rgb, g):
    """Lower resolution for one picture in six."""
    small = F.interpolate(rgb, size=(40, 40), mode="bilinear", antialias=True, align_corners=False)
    low = F.interpolate(small, size=(PIXELS, PIXELS), mode="bilinear", align_corners=False)
    pick = chance(rgb.shape[0], 0.16, g)[:, None, None, None]
    return rgb * (1 - pick) + low * pick


def erase(rgb, g):
    """A rectangle of one colour over a third of the pictures."""
    n = rgb.shape[0]
    axis = torch.arange(PIXELS)
    size, corner = uniform((n, 2), 8, 26, g), uniform((n, 2), -4, PIXELS - 8, g)
    inside = [(axis[None] >= corner[:, i : i + 1]) & (axis[None] < (corner + size)[:, i : i + 1]) for i in (0, 1)]
    hole = (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float() * chance(n, 0.33, g)[:, None, None, None]
    return rgb * (1 - hole) + torch.rand(n, 3, 1, 1, generator=g) * hole


def augment(rgba, may_flip, colour_strength, g):
    """uint8 [n, s, s, 4] -> augmented network input [n, 3, 64, 64]."""
    x = rgba.permute(0, 3, 1, 2).float() / 255
    x = torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)
    x = warp(x, may_flip, g)
    alpha = x[:, 3:].clamp(0, 1)
    coloured = move_colours((x[:, :3] / alpha.clamp(min=1e-3)).clamp(0, 1), colour_strength, g)
    back = background(x.shape[0], g)
    out = coloured * alpha + back * (1 - alpha)
    out = outline(out, alpha, g)
    return to_network(erase(soften(out, g), g))
