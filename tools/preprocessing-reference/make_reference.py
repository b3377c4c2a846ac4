"""Draws the pictures of test/fixtures/pictures and runs transformers' processors over them.

    python make_reference.py ../../test/fixtures/pictures

Writes the pictures, `reference/<processor>/<picture>.png` (the network's input before normalisation) and `reference.json`.
Each picture is opened with Pillow and turned by ImageOps.exif_transpose, as transformers.image_utils.load_image does, then
goes through the processor's PIL backend. Where Sightline deviates on purpose, the reference is made from the picture that
it means to see, and reference.json says how far transformers' own answer is from that.
"""

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image, ImageDraw, ImageOps

PROCESSORS = {
    "clip-64": transformers.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    "siglip-64": transformers.SiglipImageProcessorPil(size={"height": 64, "width": 64}),
    "vit-bilinear-64": transformers.ViTImageProcessorPil(size={"height": 64, "width": 64}, resample=2),
    "llava-pad-64": transformers.LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    "clip-224": transformers.CLIPImageProcessorPil(),
}
AT_224 = {"landscape.jpg", "portrait.png", "huge.jpg", "exif-6.jpg", "wide.jpg", "cmyk.jpg"}


def scene(width, height, seed=1):
    """Soft light, hard edges and a little grain: about what a photograph asks of a resampler. Supersampled, so not aliased."""
    rng = np.random.default_rng(seed)
    s = max(1, min(4, 1200 // max(width, height)))
    y, x = np.mgrid[0 : height * s, 0 : width * s].astype(np.float32) / (min(width, height) * s)
    base = np.stack([128 + 90 * np.sin(3 * x + 2 * y), 128 + 90 * np.sin(2 * x - 4 * y + 1), 128 + 90 * np.cos(5 * x * y)], -1)
    picture = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    unit = min(width, height) * s
    for _ in range(12):
        cx, cy, r = rng.random() * width * s, rng.random() * height * s, (0.03 + 0.15 * rng.random()) * unit
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=colour)
        else:
            draw.rectangle([cx - r, cy - r / 2, cx + r, cy + r / 2], fill=colour)
    picture = picture.resize((width, height), Image.Resampling.BOX)
    grain = rng.normal(0, 2, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def png(width, height, depth, colour_type, rows):
    """A PNG that Pillow cannot write: 16 bits a sample."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures():
    """Name, bytes, the picture that Sightline means to see where that is not what Pillow opens, and why."""
    base = scene(96, 64)
    yield "landscape.jpg", saved(scene(240, 160), "JPEG", quality=90), None, None
    yield "portrait.png", saved(scene(90, 150, 2).quantize(200).convert("RGB"), "PNG", optimize=True), None, None
    yield "square.webp", saved(scene(100, 100, 3), "WEBP", lossless=True), None, None
    yield "wide.jpg", saved(scene(333, 101, 4), "JPEG", quality=85), None, None
    yield "odd.png", saved(scene(67, 65, 5), "PNG", optimize=True), None, None
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"exif-{orientation}.jpg", saved(base, "JPEG", quality=90, exif=exif), None, None
    yield "cmyk.jpg", saved(scene(120, 90, 6).convert("CMYK"), "JPEG", quality=90), None, None
    cmyk = np.asarray(scene(80, 60, 7).convert("CMYK")).copy()
    cmyk[..., 3] = np.linspace(0, 200, 80).astype(np.uint8)[None]
    yield "cmyk-black.tif", saved(Image.fromarray(cmyk, "CMYK"), "TIFF", compression="tiff_lzw"), None, None
    yield "grey.jpg", saved(scene(100, 80, 8).convert("L"), "JPEG", quality=90), None, None
    yield "palette.png", saved(scene(100, 70, 9).quantize(32), "PNG", optimize=True), None, None
    yield "palette.gif", saved(scene(70, 90, 9).quantize(32), "GIF"), None, None
    transparent = scene(90, 70, 10).quantize(31)
    yield "palette-transparent.png", saved(transparent, "PNG", transparency=3, optimize=True), None, None
    rgba = scene(100, 75, 11).convert("RGBA")
    rgba.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 100).astype(np.uint8), (75, 1))))
    yield "alpha.png", saved(rgba, "PNG", optimize=True), None, None
    yield "grey-alpha.png", saved(rgba.convert("LA"), "PNG", optimize=True), None, None
    yield "bilevel.png", saved(scene(120, 80, 12).convert("1"), "PNG", optimize=True), None, None
    yield "first-frame.gif", saved(scene(60, 48, 13).quantize(24), "GIF", save_all=True, append_images=[scene(60, 48, 14).quantize(24)], duration=100), None, None
    yield "tiff.tif", saved(scene(90, 60, 15), "TIFF", compression="tiff_deflate"), None, None
    yield "avif.avif", saved(scene(120, 80, 16), "AVIF", quality=80), None, None
    yield "progressive.jpg", saved(scene(120, 80, 17), "JPEG", quality=85, progressive=True), None, None
    small = scene(1, 1, 18)
    yield "one-pixel.png", saved(small, "PNG"), None, None
    yield "thin.png", saved(scene(3, 200, 19), "PNG"), None, None
    yield "huge.jpg", saved(scene(4000, 2600, 20).filter(PIL.ImageFilter.GaussianBlur(6)), "JPEG", quality=30), None, None

    eight = np.asarray(scene(80, 60, 21).convert("L"))
    sixteen = ((eight.astype(np.uint16) << 8) | 0x40).astype(">u2")
    why = "16 bits a sample are scaled by their range; Pillow clips grey ones to white"
    yield "grey-16.png", png(80, 60, 16, 0, [r.tobytes() for r in sixteen]), Image.fromarray(eight).convert("RGB"), why
    colour = np.asarray(scene(80, 60, 22))
    sixteen = ((colour.astype(np.uint16) << 8) | 0x40).astype(">u2")
    yield "rgb-16.png", png(80, 60, 16, 2, [r.tobytes() for r in sixteen]), None, None


def pixels_of(processor, image):
    out = processor(images=image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    return np.ascontiguousarray(np.clip(np.rint(out), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, data, meant, why in pictures():
        (folder / name).write_bytes(data)
        opened = Image.open(io.BytesIO(data))
        opened.load()
        opened = ImageOps.exif_transpose(opened)
        row = dict(picture=name, mode=opened.mode, width=opened.width, height=opened.height, deviation=why, transformers_mean_difference=None, processors=[])
        for processor_name, processor in PROCESSORS.items():
            if processor_name == "clip-224" and name not in AT_224:
                continue
            if processor_name in ("vit-bilinear-64", "llava-pad-64") and (opened.mode != "RGB" or meant):
                continue
            own = pixels_of(processor, opened)
            pixels = pixels_of(processor, meant) if meant else own
            if meant and processor_name == "clip-64":
                row["transformers_mean_difference"] = round(float(np.abs(own.astype(int) - pixels).mean()), 2)
            target = folder / "reference" / processor_name / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target, optimize=True)
            row["processors"].append(processor_name)
        rows.append(row)
    made_with = f"transformers {transformers.__version__}, Pillow {PIL.__version__}, numpy {np.__version__}"
    configs = {n: {k: v for k, v in p.to_dict().items() if v is not None} for n, p in PROCESSORS.items()}
    (folder / "reference.json").write_text(json.dumps(dict(made_with=made_with, processors=configs, pictures=rows), indent=1) + "\n")
    print(made_with, len(rows), "pictures")


if __name__ == "__main__":
    import PIL.ImageFilter

    main()
