"""Writes a LLaVA checkpoint as a pack for the local model server.

    python export.py CHECKPOINT OUT [--weights fp32|fp16|int8] [--name N] [--max-images 4] [--languages en,zh]
    python export.py CHECKPOINT OUT --adapter LORA [--adapter-name N]     into OUT, which is there: OUT/adapters/N

CHECKPOINT is a directory of `LlavaForConditionalGeneration`, with its tokenizer, chat template and image processor. What is written and how
it is checked is in README.md. Ends with an error, and leaves OUT as it was, when the graphs do not give transformers' tokens.
"""

import argparse
import json
import logging
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from transformers import AutoImageProcessor, AutoTokenizer, LlavaForConditionalGeneration

import golden
import graphs
from weights import KINDS, compress, round_weights, strip

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

BOX_FRAMES = ["thousand", "unit", "square_pixels", "picture_pixels"]
COPIED = ["config.json", "generation_config.json", "tokenizer.json", "special_tokens_map.json"]
# What the file of an image processor says beside how pixels are made.
PROCESSOR_KEYS = ["image_processor_type", "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_pad", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_convert_rgb"]
# A model of this size and more does not fit one protobuf message.
MOST_INLINE_BYTES = 1_500_000_000


def main():
    args = arguments()
    checkpoint = load(args)
    model, tokenizer, image_processor, side = checkpoint
    before = {name: value.clone() for name, value in model.state_dict().items()} if args.adapter else {}
    if args.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, args.adapter).merge_and_unload().eval()
    changed = [name for name, value in model.state_dict().items() if name not in before or not torch.equal(before[name], value)]
    if not changed:
        sys.exit(f"{args.adapter} changes nothing")
    parts = sorted({part_of(name) for name in changed})
    table = round_weights(model, args.weights)
    made = {
        "embed_tokens": graphs.embed_graph(model),
        "vision_encoder": graphs.vision_graph(model, side),
        "decoder_model_merged": graphs.decoder_graph(model),
    }
    for graph in made.values():
        compress(graph, args.weights, table)
        strip(graph)
    tokens_per_image = made["vision_encoder"].graph.output[0].type.tensor_type.shape.dim[1].dim_value
    prompts = golden.Prompts(tokenizer, image_processor, tokenizer.convert_ids_to_tokens(model.config.image_token_id), tokens_per_image)
    cases = golden.cases(model, prompts, side, args.max_images)

    out = args.out / "adapters" / args.adapter_name if args.adapter else args.out
    with tempfile.TemporaryDirectory(dir=args.out.parent) as folder:
        pack = Path(folder) / "pack"
        write_graphs(pack / "onnx", {name: graph for name, graph in made.items() if name in parts})
        # Those that an adapter shares with its pack are checked as the pack has them.
        files = {name: str(pack / "onnx" / f"{name}.onnx") if name in parts else str(args.out / "onnx" / f"{name}.onnx") for name in made}
        golden.check(files, model, prompts, side, cases)
        note = {"weights": args.weights, "transformers": __import__("transformers").__version__, "torch": torch.__version__.split("+")[0]}
        write_json(pack / "golden.json", {**note, "cases": cases})
        if args.adapter:
            write_json(pack / "sightline.json", {"name": args.adapter_name})
        else:
            write_layout(pack, args, tokenizer, image_processor)
            about = {
                "name": args.name,
                "box_frame": args.box_frame,
                "max_images": args.max_images,
                "image_side_px": side,
                "tokens_per_image": tokens_per_image,
                "context_tokens": args.context_tokens or model.config.text_config.max_position_embeddings,
            }
            if args.no_yes_no:
                about["answers_yes_no"] = False
            if args.languages:
                about["languages"] = args.languages.split(",")
            write_json(pack / "sightline.json", about)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            if (out / "README.md").exists():
                shutil.copy(out / "README.md", pack)
            shutil.rmtree(out)
        pack.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {', '.join(parts)}; {size:,} bytes; {len(cases)} golden cases, the least margin {min(c['least_margin'] for c in cases)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", choices=KINDS, default="fp16")
    parser.add_argument("--name", help="as answers and GET /v1/models tell it; by default the directory's")
    parser.add_argument("--box-frame", choices=BOX_FRAMES, default="thousand")
    parser.add_argument("--max-images", type=int, default=4)
    parser.add_argument("--context-tokens", type=int, help="by default the text model's positions")
    parser.add_argument("--no-yes-no", action="store_true", help="the claim check never asks it: it did not learn to say yes or no")
    parser.add_argument("--languages", help="ISO 639-1, comma-separated")
    parser.add_argument("--adapter", type=Path, help="a LoRA of peft's, merged and written beside the pack's own graphs")
    parser.add_argument("--adapter-name", help="by default the adapter's directory")
    parser.add_argument("--replace", action="store_true", help="OUT may be there; its model card stays")
    args = parser.parse_args()
    args.name = args.name or args.out.name
    args.adapter_name = args.adapter_name or (args.adapter.name if args.adapter else None)
    args.out = args.out.resolve()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.adapter_name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", args.adapter_name):
        parser.error("an adapter's name has letters, digits, dots, dashes and underscores")
    if args.adapter and not (args.out / "sightline.json").exists():
        parser.error(f"{args.out} is no pack: export the checkpoint without --adapter first")
    if not args.adapter and args.out.exists() and not args.replace:
        parser.error(f"{args.out} is there already; --replace writes over it")
    if args.adapter:
        about = json.loads((args.out / "sightline.json").read_text())
        args.max_images = about["max_images"]
        args.weights = json.loads((args.out / "golden.json").read_text())["weights"]
    return args


def load(args):
    model = LlavaForConditionalGeneration.from_pretrained(args.checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    image_processor = AutoImageProcessor.from_pretrained(args.checkpoint)
    if not tokenizer.chat_template:
        sys.exit("the checkpoint has no chat template")
    side = model.config.vision_config.image_size
    shape = tuple(image_processor(images=golden.pictures(side)[:1], return_tensors="pt")["pixel_values"].shape)
    if shape != (1, 3, side, side):
        sys.exit(f"the image processor makes {shape} of a picture of {side} x {side}; one crop of the model's own square is what packs hold")
    return model, tokenizer, image_processor, side


def part_of(name):
    if "embed_tokens" in name:
        return "embed_tokens"
    return "vision_encoder" if "vision_tower" in name or "multi_modal_projector" in name else "decoder_model_merged"


def write_graphs(folder, made):
    folder.mkdir(parents=True)
    for name, graph in made.items():
        file = folder / f"{name}.onnx"
        large = sum(len(weights.raw_data) for weights in graph.graph.initializer) > MOST_INLINE_BYTES
        onnx.save_model(graph, file, save_as_external_data=large, location=f"{name}.onnx_data" if large else None)
        # The file, because a model in memory is not checked above 2 GiB.
        onnx.checker.check_model(file)


def write_layout(pack, args, tokenizer, image_processor):
    for name in COPIED:
        if (args.checkpoint / name).exists():
            shutil.copyfile(args.checkpoint / name, pack / name)
    config = json.loads((args.checkpoint / "tokenizer_config.json").read_text())
    # How it was once loaded is nothing of the tokenizer's.
    config = {key: value for key, value in config.items() if key not in ("is_local", "local_files_only")}
    write_json(pack / "tokenizer_config.json", {**config, "chat_template": tokenizer.chat_template})
    told = json.loads(image_processor.to_json_string())
    kept = {key: told[key] for key in PROCESSOR_KEYS if told.get(key) is not None}
    kept["image_processor_type"] = re.sub(r"(Fast|Pil)$", "", kept["image_processor_type"])
    write_json(pack / "preprocessor_config.json", kept)


def write_json(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    main()
