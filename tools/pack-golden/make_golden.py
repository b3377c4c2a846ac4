"""Writes a pack's golden.json with another implementation than the one that serves it.

    python make_golden.py PACK [--checkpoint DIR] [--out FILE]

Pixels: transformers' PIL image processor, from the pack's preprocessor_config.json. Token ids: the `tokenizers` library.
Vectors: with --checkpoint (a directory with checkpoint.pt and checkpoint.config.json, as tools/random-pack writes, or any
directory that transformers' from_pretrained takes) PyTorch computes fp32; without it, and for every other variant in onnx/,
ONNX Runtime's Python package does. The file says which.

A pack with 1_Pooling is a text encoder and gets texts only.
"""

import argparse
import base64
import hashlib
import io
import json
import zlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer

SUFFIXES = {"fp32": "", "fp16": "_fp16", "quantized": "_quantized", "int8": "_int8", "uint8": "_uint8"}
TEXTS = [
    "a photo of a red running shoe with a white sole",
    "AM4 socket, 4 mounting holes, 54 x 90 mm",
    "红色的跑鞋",
    "a drawing of a cooler with its mounting holes and " * 80 + "the end",
]


def read(pack, name, default=None):
    path = pack / name
    return json.loads(path.read_text()) if path.exists() else default


def pictures():
    """None is square: square pictures hide a wrong crop."""
    def draw(width, height, pixel):
        y, x = np.mgrid[0:height, 0:width]
        return Image.fromarray(np.stack([np.broadcast_to(c, (height, width)) for c in pixel(x, y)], -1).astype(np.uint8))

    yield "landscape", draw(160, 96, lambda x, y: (x * 255 // 159, y * 255 // 95, np.where((x // 16 + y // 16) % 2, 220, 30)))
    yield "portrait", draw(90, 150, lambda x, y: [np.where((x - 45) ** 2 + (y - 60) ** 2 < 1200, a, b) for a, b in ((200, 240), (40, 240), (30, 235))])
    yield "large", draw(640, 500, lambda x, y: (((x ^ y) & 64) + (x >> 2), ((x * y) >> 11) & 255, (x + 2 * y) >> 3))
    yield "tiny", draw(5, 3, lambda x, y: (x * 60, y * 120, 255 - x * 50))


def image_processor(pack):
    config = read(pack, "preprocessor_config.json")
    kind = config.get("image_processor_type") or config.get("feature_extractor_type") or "CLIPImageProcessor"
    kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil") + "Pil"
    return getattr(transformers, kind)(**{k: v for k, v in config.items() if k not in ("image_processor_type", "feature_extractor_type", "processor_class")})


def pixels_of(processor, image):
    """The network's input before normalisation, as bytes."""
    out = processor(images=image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    return np.ascontiguousarray(np.clip(np.rint(out), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def normalise(pack, pixels):
    config = read(pack, "preprocessor_config.json")
    mean, std = (np.asarray(config.get(k) or d, dtype=np.float32) for k, d in (("image_mean", [0.5] * 3), ("image_std", [0.5] * 3)))
    scaled = pixels.astype(np.float32) * np.float32(config.get("rescale_factor", 1 / 255))
    if config.get("do_normalize", True):
        scaled = (scaled - mean) / std
    return scaled.transpose(2, 0, 1)[None].astype(np.float32)


def unit(v):
    v = np.asarray(v, dtype=np.float64).reshape(-1)
    return (v / np.linalg.norm(v)).astype("<f4")


class Onnx:
    def __init__(self, path):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, feeds, wanted):
        name = next(n for n in wanted if n in self.outputs)
        feeds = {k: v for k, v in feeds.items() if k in self.inputs}
        for k, v in feeds.items():
            kind = self.inputs[k].type
            feeds[k] = v.astype({"tensor(int32)": np.int32, "tensor(float16)": np.float16}.get(kind, v.dtype))
        return self.session.run([name], feeds)[0]


def pooled(states, pooling):
    states = states[0]
    return states[0] if pooling == "cls" else states.mean(0) if pooling == "mean" else states[-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    pack = args.pack
    pooling_config = read(pack, "1_Pooling/config.json")
    is_text = pooling_config is not None
    pooling = None
    if is_text:
        pooling = "cls" if pooling_config.get("pooling_mode_cls_token") else "mean" if pooling_config.get("pooling_mode_mean_tokens") else "last"
    config = read(pack, "config.json")
    manifest = read(pack, "sightline.json", {})
    tokenizer = Tokenizer.from_file(str(pack / "tokenizer.json"))
    limits = [manifest.get("text_max_tokens"), read(pack, "sentence_bert_config.json", {}).get("max_seq_length") if is_text else None, read(pack, "tokenizer_config.json", {}).get("model_max_length"), config.get("text_config", config).get("max_position_embeddings")]
    limit = manifest.get("text_max_tokens") or int(min(x for x in limits if x))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    full_length = str(config.get("model_type", "")).startswith("siglip")
    pad = read(pack, "tokenizer_config.json", {}).get("pad_token")
    pad_id = tokenizer.token_to_id(pad) if pad else 0

    def token_inputs(ids):
        length = limit if full_length else len(ids)
        row = np.full((1, length), pad_id, dtype=np.int64)
        row[0, : len(ids)] = ids
        mask = np.zeros((1, length), dtype=np.int64)
        mask[0, : len(ids)] = 1
        return {"input_ids": row, "attention_mask": mask, "token_type_ids": np.zeros_like(row)}

    golden_pictures, normalised = [], {}
    if not is_text:
        processor = image_processor(pack)
        for name, image in pictures():
            file = io.BytesIO()
            image.save(file, "PNG", optimize=True)
            pixels = pixels_of(processor, image)
            normalised[name] = normalise(pack, pixels)
            golden_pictures.append(dict(id=name, source=base64.b64encode(file.getvalue()).decode(), width=pixels.shape[1], height=pixels.shape[0], pixels=base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode(), pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest()))
    space = "text" if is_text else "image"
    texts = [dict(id=f"text-{n}", space=space, text=text, ids=tokenizer.encode(text).ids) for n, text in enumerate(TEXTS, 1)]

    def with_onnx(suffix):
        if is_text:
            graph = Onnx(pack / f"onnx/model{suffix}.onnx")
            run_text = lambda ids: pooled(graph.run(token_inputs(ids), ["last_hidden_state", "token_embeddings"]), pooling)
            run_picture = None
        else:
            vision, text = (Onnx(pack / f"onnx/{tower}_model{suffix}.onnx") for tower in ("vision", "text"))
            run_text = lambda ids: text.run(token_inputs(ids), ["text_embeds", "pooler_output"])
            run_picture = lambda pixels: vision.run({"pixel_values": pixels}, ["image_embeds", "pooler_output"])
        return run_picture, run_text

    def with_torch(directory):
        if (directory / "checkpoint.pt").exists():
            model_config = transformers.AutoConfig.for_model(**json.loads((directory / "checkpoint.config.json").read_text()))
            model = transformers.AutoModel.from_config(model_config)
            model.load_state_dict(torch.load(directory / "checkpoint.pt"))
        else:
            model = transformers.AutoModel.from_pretrained(directory)
        model.eval()
        tensor = lambda d: {k: torch.from_numpy(v) for k, v in d.items()}
        def run_text(ids):
            feeds = tensor(token_inputs(ids))
            if is_text:
                return pooled(model(**{k: v for k, v in feeds.items() if k != "token_type_ids" or config["model_type"] == "bert"}).last_hidden_state.numpy(), pooling)
            out = model.get_text_features(input_ids=feeds["input_ids"])
            return getattr(out, "pooler_output", out).numpy()
        def run_picture(pixels):
            out = model.get_image_features(pixel_values=torch.from_numpy(pixels))
            return getattr(out, "pooler_output", out).numpy()
        return run_picture, run_text

    vectors, engines = {}, []
    stem = "model" if is_text else "vision_model"
    with torch.no_grad():
        for variant, suffix in SUFFIXES.items():
            if not (pack / f"onnx/{stem}{suffix}.onnx").exists():
                continue
            by_torch = variant == "fp32" and args.checkpoint
            run_picture, run_text = with_torch(args.checkpoint) if by_torch else with_onnx(suffix)
            engines.append(f"{variant}: " + (f"torch {torch.__version__}" if by_torch else f"onnxruntime {ort.__version__} (Python)"))
            answers = {p["id"]: unit(run_picture(normalised[p["id"]])) for p in golden_pictures}
            answers |= {t["id"]: unit(run_text(t["ids"])) for t in texts}
            vectors[variant] = {name: base64.b64encode(v.tobytes()).decode() for name, v in answers.items()}

    made_with = f"pixels: transformers {transformers.__version__}; {'; '.join(engines)}"
    golden = dict(format=1, origin="reference", made_with=made_with, pictures=golden_pictures, texts=texts, vectors=vectors)
    out = args.out or pack / "golden.json"
    out.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print(f"{out}: {made_with}")


if __name__ == "__main__":
    main()
