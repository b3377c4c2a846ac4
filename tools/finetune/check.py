"""Checks this folder on tiny random models, on the CPU in about two minutes: `python check.py [--only NAME]`.

Both towers that are claimed: CLIP, whose projections have the same names as the language model's, and FocalNet, which has stages.
A check that fails raises AssertionError; the last line says how many there were.
"""

import argparse
import json
import re
import shutil
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, LlavaForConditionalGeneration

import adapt
import tune
from check_material import make_models, make_set, row_of
from encode import IGNORED, ChatEncoder, collate, messages_of
from instruction_set import MARK, BadRow, Row, read_set, read_turn

# No `<|im_end|>` behind an answer, and pictures before words: the form of llava-1.5's template.
VICUNA_TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for p in m['content'] if p['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
TENSOR = re.compile(
    r"base_model\.model\.model\.language_model\.layers\.\d+\."
    r"(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.lora_[AB]\.weight"
)
FAST = [
    "--warm-up",
    "2",
    "--batch",
    "2",
    "--accumulate",
    "2",
    "--rate",
    "1e-2",
    "--rank",
    "8",
    "--alpha",
    "16",
    "--test-every",
    "100",
]
FAST += ["--test-rows", "4", "--answer-tokens", "64", "--threads", "1", "--four-bit", "off"]


def check_bad_rows(at) -> None:
    """What cannot be used is left out with its line and id; what follows a broken row is read all the same."""
    folder = at.scratch / "bad"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "images/a.png")
    (folder / "images/torn.png").write_bytes((folder / "images/a.png").read_bytes()[:40])
    rows = [
        row_of("good", "a.png", "<image>\nq", "a"),
        row_of("away", "b.png", "<image>\nq", "a"),
        row_of("torn", "torn.png", "<image>\nq", "a"),
        row_of("unmarked", "a.png", "q", "a"),
        row_of("good", "a.png", "<image>\nagain", "a"),
        row_of("outside", "../../etc/hostname", "<image>\nq", "a"),
        row_of("marked answer", "a.png", "<image>\nq", "this: <image>"),
        row_of("parts", None, "q", "a"),
    ]
    rows[-1]["conversations"][0]["parts"] = ["another"]
    lines = [json.dumps(row) for row in rows] + [
        '{"id": "broken", "conversations": [{"from": }]}',
        json.dumps(row_of("last", None, "q", "a")),
    ]
    (folder / "train.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    kept, problems = read_set(folder, "train.json")
    assert [row.id for row in kept] == ["good", "last"], kept
    assert [(p.line, p.id) for p in problems] == [
        (3, "away"), (4, "torn"), (5, "unmarked"), (6, "good"), (7, "outside"), (8, "marked answer"), (9, "parts"), (10, "")
    ], problems  # fmt: skip
    (folder / "test.json").write_text("[" + lines[0] + "]")
    try:
        run(at, "clip", "refused", "--set", str(folder))
    except SystemExit as refusal:
        assert "8 of 10 rows cannot be used" in str(refusal), refusal
    else:
        raise AssertionError("a set with mostly bad rows was trained on")


def check_mask(at) -> None:
    """Labels stand on the answers and the tokens that end them, nowhere else, and the prompt is the sequence up to them."""
    for name, template in (("clip", None), ("focalnet", None), ("clip", VICUNA_TEMPLATE)):
        encoder = encoder_of(at.models[name], template)
        image_token = encoder.processor.image_token_id
        per_image = encoder.encode(rows_of(at)["r0"])["input_ids"].count(image_token)
        assert per_image == {"clip": 16, "focalnet": 4}[name], per_image
        for row in rows_of(at).values():
            encoded = encoder.encode(row)
            assert encoded["input_ids"].count(image_token) == per_image * len(row.images)
            learned = [label for label in encoded["labels"] if label != IGNORED]
            text = encoder.tokenizer.decode(learned, skip_special_tokens=False)
            assert text.strip() == row.answer + "<|im_end|>", text
            prompt = encoder.prompt(row)["input_ids"][0].tolist()
            first = encoded["labels"].index(learned[0])
            assert encoded["input_ids"][:first] == prompt[:first] and len(prompt) - first in (0, 1), (prompt, encoded)
        turns = (("user", (MARK, "First?")), ("assistant", ("One.",)), ("user", ("Second?",)), ("assistant", ("Two.",)))
        encoded = encoder.encode(Row("turns", 1, rows_of(at)["r0"].images, turns, "Be brief."))
        text = encoder.tokenizer.decode([label for label in encoded["labels"] if label != IGNORED], skip_special_tokens=False)
        assert re.sub(r"\s", "", text) == "One.<|im_end|>Two.<|im_end|>", text
        try:
            encoder.encode(Row("order", 1, (), (("user", ("a<|im_end|>b",)), ("assistant", ("c",)))))
        except BadRow:
            continue
        raise AssertionError("a control token in a row's text was taken")
    turn = {"from": "human", "value": "Source [1]\nPicture:\n<image>\nWhat?"}
    assert read_turn(turn)[1] == ("Source [1]\nPicture:", MARK, "What?")
    assert read_turn({**turn, "parts": ["Source [1]", "Picture:", MARK, "What?"]})[1] == ("Source [1]", "Picture:", MARK, "What?")
    content = messages_of(Row("parts", 1, (), (("user", ("Picture:", MARK)), ("assistant", ("x",)))))[0]["content"]
    assert content == [{"type": "text", "text": "Picture:"}, {"type": "image"}], content


def check_what_is_trained(at) -> None:
    """The LoRA wraps the language model's seven projections and no vision module; freed layers are the last that are used."""
    for name, last in (
        ("clip", "model.vision_tower.encoder.layers.1"),
        ("focalnet", "model.vision_tower.encoder.stages.3.layers.1"),
    ):
        model = adapt.load_model(at.models[name], torch.float32, False)
        vision_names = {n.split(".")[-1] for n, _ in model.model.vision_tower.named_modules()}
        assert name != "clip" or {"q_proj", "k_proj", "v_proj"} <= vision_names
        found = adapt.last_vision_layers(model, 1)
        assert found == [last] or found == [last.replace("vision_tower.", "vision_tower.vision_model.")], found
        if name == "clip":
            model.config.vision_feature_layer = -2
            assert adapt.last_vision_layers(model, 1)[0].endswith("layers.0")
        adapted = adapt.add_lora(model, rank=8, alpha=16, dropout=0.0, unfreeze_vision=0, four_bit=False, checkpointing=False)
        trained = [n for n, p in adapted.named_parameters() if p.requires_grad]
        layers = model.config.text_config.num_hidden_layers
        assert len(trained) == layers * len(adapt.PROJECTIONS) * 2, len(trained)
        assert all("language_model" in n and ".lora_" in n for n in trained)
        assert not any("lora" in n for n, _ in adapted.base_model.model.model.vision_tower.named_modules())


def check_adapter(at) -> None:
    """Answers are learnt by heart; the adapter is one that vLLM takes, with the merged model's logits; nothing else changes."""
    for name in at.models:
        out = run(at, name, f"adapter-{name}", "--steps", "60")
        record = json.loads((out / "training.json").read_text())
        assert record["status"] == "done" and record["kind"] == "adapter" and record["steps"] == 60
        assert record["after"]["test_loss"] < 0.1 * record["before"]["test_loss"], record
        assert record["before"]["exact"] == 0 and record["after"]["exact"] >= 0.75, record
        assert (out / "curve.svg").read_text().lstrip().startswith("<?xml")
        adapter = out / "tuned"
        config = json.loads((adapter / "adapter_config.json").read_text())
        tensors = load_file(adapter / "adapter_model.safetensors")
        assert all(TENSOR.fullmatch(tensor) for tensor in tensors) and len(tensors) == 28, sorted(tensors)[:3]
        assert (
            config["peft_type"] == "LORA"
            and config["r"] == 8
            and config["bias"] == "none"
            and config["init_lora_weights"] is True
        )
        unsupported = (
            "modules_to_save",
            "use_dora",
            "use_rslora",
            "lora_bias",
            "layer_replication",
            "use_qalora",
            "rank_pattern",
            "alpha_pattern",
        )
        assert not any(config.get(option) for option in unsupported), config
        batch = batch_of(at, name)
        loaded = PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained(at.models[name]), adapter).eval()
        with torch.no_grad():
            apart = loaded(**batch).logits
            merged = loaded.merge_and_unload().eval()
            together = merged(**batch).logits
        assert (apart - together).abs().max() < 1e-4, (apart - together).abs().max()
        changed = changed_parameters(at.models[name], merged)
        assert changed and all(re.search(r"language_model\.layers\.\d+\..*_proj\.weight$", n) for n in changed), changed


def check_vision(at) -> None:
    """With a vision layer freed a whole model comes out, which differs from the base in that layer and the projections alone."""
    for name, layer in (("clip", r"encoder\.layers\.1\."), ("focalnet", r"encoder\.stages\.3\.layers\.1\.")):
        out = run(at, name, f"vision-{name}", "--unfreeze-vision", "1", "--name", "seeing", "--no-checkpointing")
        record = json.loads((out / "training.json").read_text())
        assert record["kind"] == "model" and record["parameters"]["vision"] > 0
        assert record["after"]["test_loss"] < 0.2 * record["before"]["test_loss"], record
        merged = LlavaForConditionalGeneration.from_pretrained(out / "seeing").eval()
        changed = changed_parameters(at.models[name], merged)
        vision = [n for n in changed if "vision_tower" in n]
        assert vision and all(re.search(layer, n) for n in vision), vision
        assert all("vision_tower" in n or re.search(r"language_model\.layers\.\d+\..*_proj\.weight$", n) for n in changed), (
            changed
        )
        adapt.load_processor(out / "seeing")
        # What was measured last while training is what the saved model answers with.
        encoder = encoder_of(out / "seeing")
        rows = [encoder.encode(rows_of(at)[f"r{n}"]) | {"pixel_values": encoder.pixels(rows_of(at)[f"r{n}"])} for n in range(4)]
        with torch.no_grad():
            loss = float(merged(**collate(rows, encoder.tokenizer.pad_token_id)).loss)
        assert abs(loss - record["after"]["test_loss"]) < 1e-3, (loss, record["after"])


def check_half_precision(at) -> None:
    """In bfloat16 it learns too, with what is trained kept in fp32, and saves a model in bfloat16."""
    out = run(at, "focalnet", "half", "--dtype", "bf16", "--unfreeze-vision", "1")
    record = json.loads((out / "training.json").read_text())
    assert record["after"]["test_loss"] < 0.2 * record["before"]["test_loss"], record
    assert AutoConfig.from_pretrained(out / "tuned").dtype == torch.bfloat16


def check_resume(at) -> None:
    """A run that stopped, also while it saved, goes on to the uninterrupted one's end; other arguments or models are refused."""
    whole = run(at, "clip", "whole", "--unfreeze-vision", "1")
    run(at, "clip", "parted", "--unfreeze-vision", "1", "--stop-at", "8")
    checkpoints = at.scratch / "parted" / "checkpoints"
    for step, state in ((12, None), (16, '{"global_step": 16, "log_his')):
        torn = shutil.copytree(checkpoints / "checkpoint-8", checkpoints / f"checkpoint-{step}")
        (torn / "trainer_state.json").unlink()
        if state:
            (torn / "trainer_state.json").write_text(state)
    for changed, model, options in (
        ("unfreeze_vision", "clip", ()),
        ("the base model", "focalnet", ("--unfreeze-vision", "1")),
    ):
        try:
            run(at, model, "parted", "--resume", *options)
        except SystemExit as refusal:
            assert changed in str(refusal), refusal
        else:
            raise AssertionError(f"a resume was taken with another: {changed}")
    parted = run(at, "clip", "parted", "--unfreeze-vision", "1", "--resume")
    left, right = (load_file(out / "tuned" / "model.safetensors") for out in (whole, parted))
    furthest = max(float((left[n] - right[n]).abs().max()) for n in left)
    assert left.keys() == right.keys() and furthest < 1e-5, furthest
    curves = [json.loads((out / "training.json").read_text())["curve"] for out in (whole, parted)]
    assert [p["step"] for p in curves[0]] == [p["step"] for p in curves[1]], curves
    assert all(abs(a["loss"] - b["loss"]) < 1e-3 for a, b in zip(*curves) if "loss" in a), curves


def run(at, model: str, out: str, *options: str) -> Path:
    folder = at.scratch / out
    argv = ["--model", str(at.models[model]), "--set", str(at.set), "--out", str(folder), "--steps", "20", *FAST, *options]
    assert tune.main(argv) == 0
    return folder


def rows_of(at) -> dict[str, Row]:
    rows, problems = read_set(at.set, "train.json")
    assert not problems, problems
    return {row.id: row for row in rows}


def encoder_of(path: Path, template: str | None = None) -> ChatEncoder:
    processor = adapt.load_processor(path)
    if template:
        processor.chat_template = template
    return ChatEncoder(processor, {processor.tokenizer.eos_token_id}, 2048)


def batch_of(at, name: str) -> dict:
    encoder = encoder_of(at.models[name])
    rows = [rows_of(at)[row] for row in ("r0", "two", "none")]
    items = [encoder.encode(row) | {"pixel_values": encoder.pixels(row)} for row in rows]
    return collate(items, encoder.tokenizer.pad_token_id)


def changed_parameters(base: Path, other) -> list[str]:
    old = LlavaForConditionalGeneration.from_pretrained(base).state_dict()
    return [name for name, tensor in other.state_dict().items() if not torch.equal(tensor, old[name])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one check, by its name")
    only = parser.parse_args().only
    checks = [check_bad_rows, check_mask, check_what_is_trained, check_adapter, check_vision, check_half_precision, check_resume]
    checks = [check for check in checks if only in (None, check.__name__.removeprefix("check_"))]
    with tempfile.TemporaryDirectory() as scratch:
        at = argparse.Namespace(scratch=Path(scratch), models=make_models(Path(scratch)), set=make_set(Path(scratch) / "set"))
        for check in checks:
            check(at)
            print(f"ok  {check.__name__.removeprefix('check_')}: {check.__doc__}", flush=True)
    print(f"{len(checks)} checks passed")


if __name__ == "__main__":
    main()
