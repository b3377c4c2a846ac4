"""Makes an encoder pack with random weights, in the Hugging Face layout, and its checkpoint, which is not part of it.

    python make_pack.py clip  OUT [--size tiny|base] [--variants] [--combined]   CLIP: BPE, crop, projections
    python make_pack.py siglip OUT                                   SigLIP-like: squash, unigram, padded to full length
    python make_pack.py bert  OUT                                    E5-like: WordPiece, mean pooling, prefixes
    python make_pack.py roberta OUT                                  XLM-R-like: unigram, CLS pooling

Needs: torch, transformers, onnx, onnxruntime, onnxscript. Same seed, same weights; the tokenizers library breaks ties at random,
so that the vocabulary is another on every run.
"""

import argparse
import json
import logging
import math
import warnings
from pathlib import Path

import onnx
import onnx.compose
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    SiglipConfig,
    SiglipModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

CORPUS = [
    "a photo of a red running shoe with a white sole",
    "drawing of a cooler: do the mounting holes fit AM4 or LGA1700?",
    "the X-ray shows the third lumbar vertebra (L3).",
    "blue ceramic mug, 350 ml; dishwasher safe. Price: 12.50",
    "主板 支持 AM4 插槽。这是一双红色的跑鞋。",
    "une lampe de bureau noire, l'interrupteur est à gauche",
    "Küchenmesser mit Holzgriff, 20 cm lang",
    "query: how do I clean a cast iron pan? passage: rinse it with hot water",
] * 4


def reinitialise(model, seed):
    """Weights of a scale that makes outputs depend on inputs: the library's own start gives near-constant vectors."""
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        if p.dim() >= 2:
            fan_in = p[0].numel()
            torch.nn.init.normal_(p, 0, 1.0 if "embedding" in name and "patch" not in name else 1.5 / math.sqrt(fan_in))
        elif "norm" in name.lower() and name.endswith("weight"):
            torch.nn.init.normal_(p, 1.0, 0.1)
        else:
            torch.nn.init.normal_(p, 0, 0.1)
    return model.eval()


def clip_tokenizer(vocab, max_len):
    def dress(model):
        tok = Tokenizer(model)
        tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
        tok.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pattern), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tok.decoder = decoders.ByteLevel()
        return tok

    suffix = dict(end_of_word_suffix="</w>", continuing_subword_prefix="")
    learned = dress(models.BPE(**suffix))
    trainer = trainers.BpeTrainer(vocab_size=vocab - 258, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>", show_progress=False)
    learned.train_from_iterator(CORPUS, trainer)
    state = json.loads(learned.to_str())["model"]
    names = list(state["vocab"]) + [c + "</w>" for c in pre_tokenizers.ByteLevel.alphabet() if c + "</w>" not in state["vocab"]]
    # The end of text is the highest id, as in the published CLIP vocabularies: older graphs pool at argmax(input_ids).
    names += ["<|startoftext|>", "<|endoftext|>"]
    tok = dress(models.BPE({n: i for i, n in enumerate(names)}, [tuple(m) for m in state["merges"]], unk_token="<|endoftext|>", **suffix))
    tok.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    bos, eos = tok.token_to_id("<|startoftext|>"), tok.token_to_id("<|endoftext|>")
    tok.post_processor = processors.RobertaProcessing(("<|endoftext|>", eos), ("<|startoftext|>", bos), trim_offsets=False, add_prefix_space=False)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": max_len,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    return tok, config, bos, eos


def unigram_tokenizer(vocab, max_len, cls):
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tok.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"] if cls else ["<pad>", "</s>", "<unk>"]
    tok.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=vocab, special_tokens=special, unk_token="<unk>", show_progress=False))
    eos = ("</s>", tok.token_to_id("</s>"))
    if cls:
        tok.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", tok.token_to_id("<s>")), eos])
    else:
        tok.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [eos])
    config = {"tokenizer_class": "XLMRobertaTokenizer" if cls else "SiglipTokenizer", "model_max_length": max_len, "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return tok, config


def wordpiece_tokenizer(vocab, max_len):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tok.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=vocab, special_tokens=special, show_progress=False))
    tok.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", tok.token_to_id("[CLS]")), ("[SEP]", tok.token_to_id("[SEP]"))]
    )
    return tok, {"tokenizer_class": "BertTokenizer", "model_max_length": max_len, "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}


class Tower(torch.nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run[0]
        self.holder = torch.nn.ModuleList(run[1:])

    def forward(self, *args):
        return self.run(*args)


def export(run, modules, args, inputs, outputs, axes, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Tower([run, *modules]).eval(),
        args,
        str(path),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: dims for name, dims in axes.items()},
        opset_version=18,
        dynamo=False,
        do_constant_folding=True,
    )
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, str(path))


def variants(directory):
    """fp16 and dynamically quantised int8 beside every fp32 graph, named as on the hub."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for path in sorted(directory.glob("onnx/*_model.onnx")) or sorted(directory.glob("onnx/model.onnx")):
        half = convert_float_to_float16(onnx.load(str(path)), keep_io_types=True, disable_shape_infer=True)
        onnx.save(half, str(path.with_name(path.stem + "_fp16.onnx")))
        quantize_dynamic(str(path), str(path.with_name(path.stem + "_quantized.onnx")), weight_type=QuantType.QUInt8)


def combine(directory):
    """Both towers in one graph, onnx/model.onnx, as older conversions have them."""
    vision, text = (onnx.load(str(directory / f"onnx/{tower}_model.onnx")) for tower in ("vision", "text"))
    keep = {"pixel_values", "input_ids", "attention_mask", "image_embeds", "text_embeds"}
    towers = []
    for prefix, graph in (("v/", vision), ("t/", text)):
        del graph.graph.output[1:]
        names = {i.name for i in graph.graph.input} | {o.name for o in graph.graph.output}
        renamed = onnx.compose.add_prefix(graph, prefix)
        for io in [*renamed.graph.input, *renamed.graph.output]:
            plain = io.name.removeprefix(prefix)
            assert plain in names & keep
            for node in renamed.graph.node:
                node.input[:] = [plain if n == prefix + plain else n for n in node.input]
                node.output[:] = [plain if n == prefix + plain else n for n in node.output]
            io.name = plain
        towers.append(renamed)
    onnx.save(onnx.compose.merge_models(*towers, io_map=[]), str(directory / "onnx/model.onnx"))
    for tower in ("vision", "text"):
        (directory / f"onnx/{tower}_model.onnx").unlink()


def write(directory, name, value):
    (directory / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


BATCH = {0: "batch_size"}
TEXT = {0: "batch_size", 1: "sequence_length"}


def make_clip(out, size, seed):
    tiny = size == "tiny"
    max_len = 77
    tok, tok_config, bos, eos = clip_tokenizer(600 if tiny else 1000, max_len)
    vocab = tok.get_vocab_size()
    dims = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    vision = dict(dims, image_size=32, patch_size=8) if tiny else dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32)
    text = dict(dims) if tiny else dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8)
    config = CLIPConfig(
        text_config=dict(text, vocab_size=vocab, max_position_embeddings=max_len, bos_token_id=bos, eos_token_id=eos, pad_token_id=eos),
        vision_config=vision,
        projection_dim=16 if tiny else 512,
        attn_implementation="eager",
    )
    model = reinitialise(CLIPModel(config), seed)
    edge = vision["image_size"]
    def visual(pixels):
        v = model.vision_model(pixel_values=pixels)
        return model.visual_projection(v.pooler_output), v.last_hidden_state
    def textual(ids):
        t = model.text_model(input_ids=ids)
        return model.text_projection(t.pooler_output), t.last_hidden_state
    out.mkdir(parents=True, exist_ok=True)
    export(visual, [model.vision_model, model.visual_projection], (torch.rand(2, 3, edge, edge),), ["pixel_values"], ["image_embeds", "last_hidden_state"], {"pixel_values": BATCH, "image_embeds": BATCH, "last_hidden_state": BATCH}, out / "onnx/vision_model.onnx")
    export(textual, [model.text_model, model.text_projection], (torch.tensor([[bos, 5, 6, eos]] * 2),), ["input_ids"], ["text_embeds", "last_hidden_state"], {"input_ids": TEXT, "text_embeds": BATCH, "last_hidden_state": TEXT}, out / "onnx/text_model.onnx")
    write(out, "config.json", dict(model_type="clip", architectures=["CLIPModel"], projection_dim=config.projection_dim, logit_scale_init_value=2.6592, text_config=dict(max_position_embeddings=max_len, vocab_size=vocab), vision_config=dict(image_size=edge)))
    write(out, "preprocessor_config.json", dict(crop_size=dict(height=edge, width=edge), do_center_crop=True, do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, feature_extractor_type="CLIPFeatureExtractor", image_mean=[0.48145466, 0.4578275, 0.40821073], image_processor_type="CLIPImageProcessor", image_std=[0.26862954, 0.26130258, 0.27577711], resample=3, rescale_factor=1 / 255, size=dict(shortest_edge=edge)))
    finish(out, tok, tok_config)
    return model


def make_siglip(out, seed):
    max_len, edge = 64, 32
    tok, tok_config = unigram_tokenizer(400, max_len, cls=False)
    vocab = tok.get_vocab_size()
    dims = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = SiglipConfig(text_config=dict(dims, vocab_size=vocab, max_position_embeddings=max_len, projection_size=16), vision_config=dict(dims, image_size=edge, patch_size=8), attn_implementation="eager")
    model = reinitialise(SiglipModel(config), seed)
    def visual(pixels):
        v = model.vision_model(pixel_values=pixels)
        return v.last_hidden_state, v.pooler_output
    def textual(ids):
        t = model.text_model(input_ids=ids)
        return t.last_hidden_state, t.pooler_output
    out.mkdir(parents=True, exist_ok=True)
    names = ["last_hidden_state", "pooler_output"]
    export(visual, [model.vision_model], (torch.rand(2, 3, edge, edge),), ["pixel_values"], names, {"pixel_values": BATCH, **{n: BATCH for n in names}}, out / "onnx/vision_model.onnx")
    export(textual, [model.text_model], (torch.randint(3, vocab, (2, max_len)),), ["input_ids"], names, {"input_ids": TEXT, "last_hidden_state": TEXT, "pooler_output": BATCH}, out / "onnx/text_model.onnx")
    write(out, "config.json", dict(model_type="siglip", architectures=["SiglipModel"], text_config=dict(max_position_embeddings=max_len, vocab_size=vocab), vision_config=dict(image_size=edge)))
    write(out, "preprocessor_config.json", dict(do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, image_processor_type="SiglipImageProcessor", processor_class="SiglipProcessor", resample=3, rescale_factor=1 / 255, size=dict(height=edge, width=edge)))
    finish(out, tok, tok_config)
    return model


def make_encoder(out, seed, kind):
    max_len = 128
    if kind == "bert":
        tok, tok_config = wordpiece_tokenizer(500, max_len)
        config = BertConfig(vocab_size=tok.get_vocab_size(), hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=max_len, attn_implementation="eager")
        model = reinitialise(BertModel(config), seed)
        inputs, args = ["input_ids", "attention_mask", "token_type_ids"], 3
        run = lambda i, m, t: model(input_ids=i, attention_mask=m, token_type_ids=t).last_hidden_state
    else:
        tok, tok_config = unigram_tokenizer(400, max_len, cls=True)
        config = XLMRobertaConfig(vocab_size=tok.get_vocab_size(), hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=max_len + 2, pad_token_id=tok.token_to_id("<pad>"), type_vocab_size=1, attn_implementation="eager")
        model = reinitialise(XLMRobertaModel(config), seed)
        inputs, args = ["input_ids", "attention_mask"], 2
        run = lambda i, m: model(input_ids=i, attention_mask=m).last_hidden_state
    out.mkdir(parents=True, exist_ok=True)
    sample = (torch.randint(5, 50, (2, 7)), torch.ones(2, 7, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long))[:args]
    export(run, [model], sample, inputs, ["last_hidden_state"], {**{n: TEXT for n in inputs}, "last_hidden_state": TEXT}, out / "onnx/model.onnx")
    write(out, "config.json", dict(model_type=config.model_type, architectures=[type(model).__name__], hidden_size=24, max_position_embeddings=config.max_position_embeddings, pad_token_id=config.pad_token_id, vocab_size=config.vocab_size))
    (out / "1_Pooling").mkdir(exist_ok=True)
    write(out, "1_Pooling/config.json", dict(word_embedding_dimension=24, pooling_mode_cls_token=kind != "bert", pooling_mode_mean_tokens=kind == "bert", pooling_mode_max_tokens=False, pooling_mode_mean_sqrt_len_tokens=False))
    write(out, "sentence_bert_config.json", dict(max_seq_length=96, do_lower_case=False))
    write(out, "config_sentence_transformers.json", dict(prompts=dict(query="query: ", passage="passage: ") if kind == "bert" else {}))
    finish(out, tok, tok_config)
    return model


def finish(out, tok, tok_config):
    tok.save(str(out / "tokenizer.json"), pretty=False)
    write(out, "tokenizer_config.json", tok_config)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["clip", "siglip", "bert", "roberta"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=["tiny", "base"], default="tiny")
    parser.add_argument("--variants", action="store_true", help="also fp16 and int8 graphs")
    parser.add_argument("--combined", action="store_true", help="clip: both towers in onnx/model.onnx")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    with torch.no_grad():
        if args.kind == "clip":
            model = make_clip(args.out, args.size, args.seed)
        elif args.kind == "siglip":
            model = make_siglip(args.out, args.seed)
        else:
            model = make_encoder(args.out, args.seed, args.kind)
    # The reference answers come from this checkpoint: tools/pack-golden reads it. It is not part of the pack.
    torch.save(model.state_dict(), args.out / "checkpoint.pt")
    (args.out / "checkpoint.config.json").write_text(model.config.to_json_string())
    if args.variants:
        variants(args.out)
    if args.combined:
        combine(args.out)
    print(f"{args.out}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
