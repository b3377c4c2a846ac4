"""Makes a LLaVA with random weights, as `transformers serve` loads one: a real server to prove the protocol on, without a GPU.

    python make_llava.py OUT [--shape tiny|starter] [--adapter DIR]
    transformers serve OUT --device cpu --port 8000

What it says is noise. `tiny`: a CLIP tower of 32 pixels and a Llama of two layers, about 0.3 million parameters. `starter`: a FocalNet tower
of 384 pixels and a Llama of six layers, about 8 million, the shape of the starter model. `--adapter` writes a random LoRA of the language model
beside it. Same seed, same weights; the tokenizers library breaks ties at random, so that the vocabulary is another on every run.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    FocalNetConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

CORPUS = [
    "Does the cooler fit AM4? Yes, its holes are 54 by 90 mm apart [1].",
    "The X-ray shows the third lumbar vertebra [2] at [[100,200,300,400]].",
    "No. The drawing shows another socket: LGA1700.",
    "主板 支持 AM4 插槽。这是一双红色的跑鞋。",
] * 4

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<|im_start|>", "<|im_end|>"]

# Roles in ChatML; a picture stands where it stood among the message's parts.
CHAT_TEMPLATE = """{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}"""


# How many positions both shapes have: room for a pipeline's prompt in a vocabulary of little more than bytes.
POSITIONS = 8192


def make_tokenizer():
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=tok,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", "<|im_start|>"],
        model_max_length=POSITIONS,
        chat_template=CHAT_TEMPLATE,
    )


def tiny(tokenizer):
    edge, patch = 32, 8
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=edge, patch_size=patch)
    text = text_config(tokenizer, len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    return vision, text, "default", (edge // patch) ** 2


def starter(tokenizer):
    vision = FocalNetConfig(
        image_size=384, patch_size=4, embed_dim=32, hidden_sizes=[32, 64, 128, 256], depths=[1, 2, 4, 2], focal_levels=[1] * 4, focal_windows=[3] * 4, use_conv_embed=True, mlp_ratio=3.0
    )
    vision.hidden_size = vision.hidden_sizes[-1]
    text = text_config(tokenizer, 2048, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8)
    return vision, text, "full", 144


def text_config(tokenizer, vocab_size, **shape):
    return LlamaConfig(
        vocab_size=vocab_size,
        max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )


def make_adapter(model, out):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=16, target_modules=r".*language_model.*\.(q_proj|v_proj|down_proj)", init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=["tiny", "starter"], default="tiny")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = make_tokenizer()
    vision, text, strategy, image_tokens = {"tiny": tiny, "starter": starter}[args.shape](tokenizer)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy=strategy,
        vision_feature_layer=-1,
        image_seq_length=image_tokens,
    )
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    edge = vision.image_size
    # A picture of LlavaProcessor's is (side / patch size) squared tokens, and a CLS token more or less.
    has_cls = strategy == "default"
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}),
        tokenizer=tokenizer,
        patch_size=round(edge / image_tokens**0.5),
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1 if has_cls else 0,
        image_token="<image>",
        chat_template=CHAT_TEMPLATE,
    )
    model.save_pretrained(args.out)
    processor.save_pretrained(args.out)
    print(f"{args.out}: {sum(p.numel() for p in model.parameters()):,} parameters")
    if args.adapter:
        make_adapter(model, args.adapter)


if __name__ == "__main__":
    main()
