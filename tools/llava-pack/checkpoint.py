"""Makes a checkpoint of `LlavaForConditionalGeneration` of a pack that `export.py` wrote, to tune or to train it on.

    python checkpoint.py PACK OUT

A graph has lost the names of its weights. The same model with other weights, exported in the same way, tells which is which. OUT holds the weights as the pack
stores them (rounded, where it is fp16 or int8); it is written only if transformers says with them what the pack's golden.json says.
"""

import argparse
import json
import logging
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import AutoImageProcessor, AutoTokenizer, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

import golden
import graphs

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    about = json.loads((args.pack / "sightline.json").read_text())
    config = LlavaConfig.from_pretrained(args.pack, attn_implementation="eager")
    side = config.vision_config.image_size
    model = marked(config)
    state = {}
    for name, graph in {"embed_tokens": graphs.embed_graph(model), "vision_encoder": graphs.vision_graph(model, side), "decoder_model_merged": graphs.decoder_graph(model)}.items():
        state.update(weights_of(args.pack / "onnx" / f"{name}.onnx", graph, places_in(graph, model)))
    # A tensor under two names, as of tied embeddings, is found under one; what the pictures' path never uses is in no graph.
    missing = [name for name, _ in model.named_parameters() if name not in state]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name].reshape(parameter.shape)) if name in state else parameter.zero_()
    model.generation_config = model.generation_config.from_pretrained(args.pack)
    tokenizer = AutoTokenizer.from_pretrained(args.pack)
    image_processor = AutoImageProcessor.from_pretrained(args.pack)
    tokens = about["tokens_per_image"]
    prompts = golden.Prompts(tokenizer, image_processor, tokenizer.convert_ids_to_tokens(config.image_token_id), tokens)
    kept = json.loads((args.pack / "golden.json").read_text())["cases"]
    for was, now in zip(kept, golden.cases(model, prompts, side, about["max_images"]), strict=True):
        if was["token_ids"] != now["token_ids"]:
            sys.exit(f"{args.pack}: the model says other tokens than golden.json for {was['name']!r}; nothing is written")
    model.save_pretrained(args.out)
    # As many tokens as the pack has for a picture, whatever its tower cuts off.
    processor = LlavaProcessor(
        image_processor=image_processor, tokenizer=tokenizer, patch_size=side // math.isqrt(tokens), vision_feature_select_strategy="full",
        num_additional_image_tokens=0, chat_template=tokenizer.chat_template,
    )
    processor.save_pretrained(args.out)
    print(f"{args.out}: {len(state)} tensors, {len(kept)} golden cases agree" + (f"; zero, being in no graph: {', '.join(missing)}" if missing else ""))


def marked(config):
    """The model with weights that no two tensors share."""
    torch.manual_seed(1)
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def places_in(graph, model):
    """Of a graph's initializers, by name: (parameter, whether it lies transposed). Folded ones have another shape, and the same values in the same order."""
    known = {}
    for name, parameter in model.named_parameters():
        array = parameter.detach().numpy()
        known[array.tobytes()] = (name, False)
        if array.ndim == 2:
            known.setdefault(np.ascontiguousarray(array.T).tobytes(), (name, True))
    arrays = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.graph.initializer}
    return {name: known[array.tobytes()] for name, array in arrays.items() if array.tobytes() in known}


def weights_of(file, reference, places):
    """Looked up where they are used: tensors of equal values, such as biases of zero, are one in a pack."""
    graph = onnx.load(file).graph
    held = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    # Before the graph's own nodes stand those that make fp32 of what is stored.
    nodes = list(graph.node)[len(graph.node) - len(reference.graph.node) :]
    if [node.op_type for node in nodes] != [node.op_type for node in reference.graph.node]:
        sys.exit(f"{file} was exported in another way: the same versions of torch and transformers make the same graph")
    out = {}
    for ours, theirs in zip(reference.graph.node, nodes):
        for name, stored in zip(ours.input, theirs.input):
            if name in places:
                parameter, turned = places[name]
                tensor = torch.from_numpy(np.array(_unpacked(held, stored), np.float32))
                out[parameter] = tensor.T if turned else tensor
    return out


def _unpacked(held, name):
    if f"{name}_q" in held:
        return held[f"{name}_q"].astype(np.float32) * held[f"{name}_scale"]
    return held[f"{name}_fp16"] if f"{name}_fp16" in held else held[name]


if __name__ == "__main__":
    main()
