"""Writes a run's averaged weights as an encoder pack in the Hugging Face layout.

    python export.py --data DIR --run DIR --out ../../models/starter

fp32 graphs keep their weights as fp16 initialisers followed by a Cast, which ONNX Runtime folds when it loads; the torch
weights are rounded to fp16 first, so that the graphs compute what torch computes. The quantised graphs are int8.
"""

import argparse
import copy
import json
import random
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch.nn.utils.fusion import fuse_conv_bn_eval

import captions
import checkpoint
import evaluate
from augment import plain
from data import Dataset
from model import DIM, PIXELS

OPSET = 18


def fuse(module):
    """Folds every BatchNorm into the convolution before it."""
    for child in module.children():
        fuse(child)
    if isinstance(module, torch.nn.Sequential):
        kept = []
        for layer in module:
            if isinstance(layer, torch.nn.BatchNorm2d) and isinstance(kept[-1], torch.nn.Conv2d):
                kept[-1] = fuse_conv_bn_eval(kept[-1], layer)
            else:
                kept.append(layer)
        module._modules = {str(i): layer for i, layer in enumerate(kept)}
    return module


def round_weights(module):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(p.half().float())
    return module


def shrink(graph_path: Path, out: Path):
    """fp32 initialisers of more than 16 numbers become fp16 followed by Cast to fp32."""
    model = onnx.load(graph_path)
    initialisers, casts = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size <= 16 or not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            initialisers.append(tensor)
            continue
        initialisers.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + "_fp16"))
        casts.append(helper.make_node("Cast", [tensor.name + "_fp16"], [tensor.name], to=TensorProto.FLOAT, name="widen_" + tensor.name))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(initialisers)
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, out)


class Feed(CalibrationDataReader):
    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        return next(self.batches, None)


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def cosine(a, b):
    values = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"mean": round(float(values.mean()), 6), "min": round(float(values.min()), 6), "n": len(values)}


def export_graphs(model, folder: Path, calibration):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "vision.onnx"
        batch = torch.export.Dim("batch_size", min=1, max=4096)
        seq = torch.export.Dim("sequence_length", min=2, max=captions.MAX_TOKENS)
        common = {"dynamo": True, "opset_version": OPSET, "external_data": False, "verbose": False}
        torch.onnx.export(model.vision, (torch.randn(2, 3, PIXELS, PIXELS),), str(raw), input_names=["pixel_values"], output_names=["image_embeds"], dynamic_shapes=({0: batch},), **common)
        shrink(raw, folder / "vision_model.onnx")
        quantize_static(raw, folder / "vision_model_quantized.onnx", Feed({"pixel_values": c} for c in calibration), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, calibrate_method=CalibrationMethod.MinMax, op_types_to_quantize=["Conv", "MatMul", "Gemm"])
        raw = Path(scratch) / "text.onnx"
        ids = torch.ones(2, 7, dtype=torch.int64)
        torch.onnx.export(model.text, (ids, torch.ones_like(ids)), str(raw), input_names=["input_ids", "attention_mask"], output_names=["text_embeds"], dynamic_shapes=({0: batch, 1: seq}, {0: batch, 1: seq}), **common)
        shrink(raw, folder / "text_model.onnx")
        quantize_dynamic(raw, folder / "text_model_quantized.onnx", weight_type=QuantType.QInt8, per_channel=True)


def write_configs(out: Path, model, tokenizer_path: Path, scale: float, trained: dict):
    def write(name, value):
        (out / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    tokenizer = json.loads(tokenizer_path.read_text())
    tokenizer["truncation"] = tokenizer["padding"] = None
    write("tokenizer.json", tokenizer)
    ids = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    write("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": captions.MAX_TOKENS, "clean_up_tokenization_spaces": False,
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "model_input_names": ["input_ids", "attention_mask"],
    })
    write("special_tokens_map.json", {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})
    text = model.text
    write("config.json", {
        "model_type": "clip", "projection_dim": DIM, "logit_scale_init_value": round(float(np.log(scale)), 6),
        "text_config": {
            "model_type": "clip_text_model", "vocab_size": text.token.num_embeddings, "hidden_size": text.token.embedding_dim, "num_hidden_layers": len(text.blocks),
            "num_attention_heads": text.heads, "max_position_embeddings": captions.MAX_TOKENS, "projection_dim": DIM,
            "pad_token_id": ids["[PAD]"], "bos_token_id": ids["[CLS]"], "eos_token_id": ids["[SEP]"],
        },
        "vision_config": {"model_type": "clip_vision_model", "image_size": PIXELS, "num_channels": 3, "projection_dim": DIM},
    })
    half = [0.5, 0.5, 0.5]
    write("preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": PIXELS}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": PIXELS, "width": PIXELS}, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": half, "image_std": half,
    })
    write("sightline.json", {
        "name": "starter", "version": 1, "languages": ["en", "zh"], "text_max_tokens": captions.MAX_TOKENS, "prompt_templates": ["{}"],
        "logit_scale": round(scale, 4), "dimension": DIM, "license": "Apache-2.0", "trained": trained,
    })


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--run", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args()
    torch.manual_seed(0)
    data = Dataset(args.data)
    model, tokenizer, saved = checkpoint.load(args.run)
    vision = round_weights(fuse(copy.deepcopy(model.vision)))
    model.vision, model.text = vision, round_weights(model.text)
    args.out.mkdir(parents=True, exist_ok=True)

    rows = [r for style, found in sorted(data.plain.items()) if data.styles[style]["use"] == "train" for r in found.values()]
    random.Random(3).shuffle(rows)
    calibration = [plain(data.pictures.take(rows[i : i + 32])).numpy() for i in range(0, 512, 32)]
    write_configs(args.out, model, args.run / "tokenizer.json", model.scale().item(), {"steps": saved["step"], "hours": round(saved["seconds"] / 3600, 2)})
    export_graphs(model, args.out / "onnx", calibration)

    probe = sorted(data.plain[evaluate.GALLERY])[::3]
    pixels = plain(data.pictures.take([data.plain[evaluate.GALLERY][c] for c in probe]))
    encoded = tokenizer.encode_batch([data.concepts[c]["zh" if i % 2 else "en"]["label"] for i, c in enumerate(probe)])
    ids, mask = torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])
    with torch.no_grad():
        images, texts = model.vision(pixels).numpy(), model.text(ids, mask).numpy()
    report = {}
    for suffix in ("", "_quantized"):
        got = session(args.out / f"onnx/vision_model{suffix}.onnx").run(None, {"pixel_values": pixels.numpy()})[0]
        report[f"vision{suffix}"] = cosine(got, images)
        got = session(args.out / f"onnx/text_model{suffix}.onnx").run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        report[f"text{suffix}"] = cosine(got, texts)
    report["bytes"] = {f.name: f.stat().st_size for f in sorted((args.out / "onnx").iterdir())}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
