"""What `check.py` works on: tiny random models, and a set whose answers can be learnt by heart."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoConfig, CLIPImageProcessor, FocalNetConfig, LlavaForConditionalGeneration, LlavaProcessor

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 70, 200), "white": (245, 245, 245)}


def make_models(folder: Path) -> dict[str, Path]:
    clip = folder / "clip"
    maker = Path(__file__).parent.parent / "random-llava" / "make_llava.py"
    subprocess.run([sys.executable, maker, clip], check=True, capture_output=True)
    model = LlavaForConditionalGeneration.from_pretrained(clip)
    # A random head says next to nothing, whatever stands before it; so loud a one can be taught by a LoRA.
    model.lm_head.weight.data *= 20
    model.save_pretrained(clip)
    return {"clip": clip, "focalnet": make_focalnet(folder / "focalnet", clip)}


def make_focalnet(out: Path, like: Path) -> Path:
    """The same language model behind a tower of stages without a class token: 64 pixels, 4 tokens a picture."""
    torch.manual_seed(11)
    config = AutoConfig.from_pretrained(like)
    config.vision_config = FocalNetConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 2, 2, 2],
        focal_levels=[1] * 4,
        focal_windows=[3] * 4,
        use_conv_embed=True,
        mlp_ratio=2.0,
    )
    config.vision_config.hidden_size = 64
    config.vision_feature_select_strategy = "full"
    config.image_seq_length = 4
    model = LlavaForConditionalGeneration(config)
    model.lm_head.weight.data *= 20
    old = LlavaProcessor.from_pretrained(like)
    model.generation_config.eos_token_id = old.tokenizer.eos_token_id
    model.save_pretrained(out)
    square = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    LlavaProcessor(
        image_processor=square,
        tokenizer=old.tokenizer,
        patch_size=32,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token="<image>",
        chat_template=old.chat_template,
    ).save_pretrained(out)
    return out


def make_set(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    rows = []
    for n in range(16):
        colour, rgb = list(COLOURS.items())[n % 4]
        Image.new("RGB", (40 + n, 60), rgb).save(folder / f"images/{n}.png")
        rows.append(row_of(f"r{n}", f"{n}.png", f"<image>\nWhich colour is plate {n}?", f"It is {colour} [1] [[10,20,30,40]]."))
    rows.append(row_of("two", ["0.png", "images/1.png"], "First <image> second <image> which is red?", "The first."))
    rows.append(row_of("none", None, "Which socket?", "No. Not in the sources."))
    (folder / "train.json").write_text(json.dumps(rows, indent=1))
    (folder / "test.json").write_text(json.dumps(rows[:4]))
    return folder


def row_of(row_id, image, question: str, answer: str) -> dict:
    row = {"id": row_id, "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
    return row if image is None else {**row, "image": image}
