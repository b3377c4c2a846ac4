"""Loads a LLaVA checkpoint, puts the LoRA on its language model, frees vision layers, and saves what came of it."""

import hashlib
import importlib.util
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import AutoConfig, AutoProcessor, BitsAndBytesConfig, LlavaForConditionalGeneration

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# By the whole path: the seven names alone are also those of CLIP's projections, which vLLM's LoRA does not reach.
TARGETS = rf".*language_model\.layers\.\d+\.(self_attn|mlp)\.({'|'.join(PROJECTIONS)})"
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def pick_precision(dtype: str, four_bit: str) -> tuple[torch.dtype, bool, str]:
    """(dtype, whether to load in 4 bits, a sentence that says why). Raises SystemExit where 4 bits are demanded in vain."""
    cuda = torch.cuda.is_available()
    chosen = DTYPES[dtype] if dtype != "auto" else torch.bfloat16 if cuda else torch.float32
    missing = (
        "no CUDA device" if not cuda else "" if importlib.util.find_spec("bitsandbytes") else "bitsandbytes is not installed"
    )
    if four_bit == "on" and missing:
        raise SystemExit(f"--four-bit on: {missing}.")
    if four_bit != "off" and not missing:
        return chosen, True, "4-bit loading (nf4, double quantisation)"
    why = f"no 4-bit loading: {missing or 'it is switched off'}"
    return chosen, False, f"{why}; {str(chosen).removeprefix('torch.')} on {'CUDA' if cuda else 'the CPU'}"


def digest(path: Path) -> str:
    """sha256 over the checkpoint's configuration and weights: which model something was tuned from, wherever it lies."""
    whole = hashlib.sha256()
    files = [path / "config.json", *sorted(path.glob("*.safetensors")), *sorted(path.glob("*.bin"))]
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def load_model(path: Path, dtype: torch.dtype, four_bit: bool) -> LlavaForConditionalGeneration:
    """The checkpoint, on CUDA where there is one. Raises SystemExit when it is no LLaVA."""
    config = AutoConfig.from_pretrained(path)
    if config.model_type != "llava":
        raise SystemExit(f"{path}: the model is a {config.model_type!r}; this tunes 'llava' (LlavaForConditionalGeneration).")
    options = {"dtype": dtype}
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "lm_head"],
        )
    if torch.cuda.is_available():
        options["device_map"] = {"": 0}
    return LlavaForConditionalGeneration.from_pretrained(path, **options)


def load_processor(path: Path):
    """The checkpoint's processor. Raises SystemExit without a chat template, because nothing says how turns are written then."""
    processor = AutoProcessor.from_pretrained(path)
    if not (processor.chat_template or processor.tokenizer.chat_template):
        raise SystemExit(f"{path}: no chat template.")
    return processor


def stop_ids(model: nn.Module, tokenizer) -> set[int]:
    """Tokens that end an answer: those of the generation config and the tokenizer's own."""
    named = model.generation_config.eos_token_id
    ids = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
    return {i for i in ids if i is not None}


def last_vision_layers(model: nn.Module, count: int) -> list[str]:
    """Paths of the last `count` vision layers whose output the language model sees, the first of them first.

    Layers are what stands in module lists named `layers`, in their order; in a tower of stages those of all stages. Layers behind
    `vision_feature_layer` (llava-1.5 takes the last but one) are passed over. Raises SystemExit when there are fewer.
    """
    tower = "model.vision_tower"
    lists = [(name, m) for name, m in model.get_submodule(tower).named_modules() if isinstance(m, nn.ModuleList)]
    lists = [(name, m) for name, m in lists if name.split(".")[-1] == "layers"]
    paths = [f"{tower}.{name}.{i}" for name, m in lists for i in range(len(m))]
    if len(lists) == 1:
        feature = model.config.vision_feature_layer
        used = max(i if i >= 0 else len(paths) + 1 + i for i in ([feature] if isinstance(feature, int) else feature))
        paths = paths[:used]
    if len(paths) < count:
        raise SystemExit(f"--unfreeze-vision {count}: the vision tower has {len(paths)} layers in use.")
    return paths[len(paths) - count :]


def add_lora(
    model: nn.Module, *, rank: int, alpha: int, dropout: float, unfreeze_vision: int, four_bit: bool, checkpointing: bool
) -> PeftModel:
    """Freezes the model; puts the LoRA on the language model's projections, trained copies in place of freed vision layers."""
    if four_bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    freed = last_vision_layers(model, unfreeze_vision) if unfreeze_vision else None
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        target_modules=TARGETS,
        modules_to_save=freed,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # Steps of this size vanish in bfloat16.
    if checkpointing:
        adapted.activation_checkpointing_enable({"use_reentrant": False})
        # Reentrant checkpoints alone need gradients of the inputs, and the hook fails on towers whose embedding gives a tuple.
        adapted.disable_input_require_grads()
    return adapted


def save_result(adapted: PeftModel, processor, base: Path, dtype: torch.dtype, out: Path) -> str:
    """Writes what is served. `adapter`: the LoRA alone. `model`: a whole checkpoint, because no adapter holds vision layers."""
    if not adapted.peft_config["default"].modules_to_save:
        adapted.save_pretrained(out)
        (out / "README.md").unlink(missing_ok=True)  # A card of placeholders, written by peft.
        for file in out.iterdir():
            file.chmod(0o644)  # The weights are written for their owner alone; a server may be another user.
        return "adapter"
    # Merged into the weights as they were published: merging into 4 bits would round them.
    whole = LlavaForConditionalGeneration.from_pretrained(base, dtype=dtype)
    with tempfile.TemporaryDirectory(dir=out.parent) as weights:
        adapted.save_pretrained(weights)
        PeftModel.from_pretrained(whole, weights).merge_and_unload().save_pretrained(out)
    processor.save_pretrained(out)
    return "model"
