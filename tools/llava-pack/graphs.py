"""The three graphs of a pack: words to vectors, pictures to vectors, vectors to the next token's logits."""

import contextlib
import io
import tempfile
from pathlib import Path

import onnx
import torch
from transformers import DynamicCache

OPSET = 18


class Vision(torch.nn.Module):
    """pixel_values (1, 3, side, side) to image_features (1, tokens, hidden). One picture, because the model takes its batch apart."""

    def __init__(self, model):
        super().__init__()
        self.model = model.model

    def forward(self, pixel_values):
        features = self.model.get_image_features(pixel_values=pixel_values, return_dict=True).pooler_output
        return torch.stack(list(features))


class Decoder(torch.nn.Module):
    """One graph for the prompt and for each further token: what was computed before comes in as `past`, and goes out whole."""

    def __init__(self, model):
        super().__init__()
        self.language_model = model.model.language_model
        self.head = model.lm_head

    def forward(self, inputs_embeds, attention_mask, position_ids, past):
        cache = DynamicCache()
        for layer, (key, value) in enumerate(past):
            cache.update(key, value, layer)
        new, total = inputs_embeds.shape[1], attention_mask.shape[1]
        # A query sees the keys up to its own place that the mask leaves in.
        places = torch.arange(total)[None, :]
        own = torch.arange(new)[:, None] + (total - new)
        seen = (places <= own)[None, None] & attention_mask[:, None, None, :].bool()
        bias = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        out = self.language_model(inputs_embeds=inputs_embeds, attention_mask=bias, position_ids=position_ids, cache=cache, use_cache=True)
        logits = self.head(out.last_hidden_state[:, -1:])
        return logits, [(layer.keys, layer.values) for layer in out.cache.layers]


def vision_graph(model, side):
    return _export(Vision(model), (torch.zeros(1, 3, side, side),), ["pixel_values"], ["image_features"], None)


def embed_graph(model):
    return _export(
        model.get_input_embeddings(), (torch.zeros(2, 3, dtype=torch.long),), ["input_ids"], ["inputs_embeds"], ({0: "batch_size", 1: "sequence_length"},)
    )


def decoder_graph(model):
    config = model.config.text_config
    heads = config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Two rows, three new tokens after five: no length is another's, or 1, which the tracer would take for a constant.
    batch, new, past = 2, 3, 5
    layers = range(config.num_hidden_layers)
    pair = lambda: (torch.zeros(batch, heads, past, size), torch.zeros(batch, heads, past, size))
    inputs = (
        torch.zeros(batch, new, config.hidden_size),
        torch.ones(batch, past + new, dtype=torch.long),
        torch.arange(past, past + new)[None].repeat(batch, 1),
        [pair() for _ in layers],
    )
    names = lambda stem: [f"{stem}.{layer}.{part}" for layer in layers for part in ("key", "value")]
    grown = {0: "batch_size", 2: "past_sequence_length"}
    return _export(
        Decoder(model),
        inputs,
        ["inputs_embeds", "attention_mask", "position_ids", *names("past_key_values")],
        ["logits", *names("present")],
        (
            {0: "batch_size", 1: "sequence_length"},
            {0: "batch_size", 1: "total_sequence_length"},
            {0: "batch_size", 1: "sequence_length"},
            [(grown, grown) for _ in layers],
        ),
    )


def _export(module, inputs, input_names, output_names, dynamic_shapes):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module.eval(),
            inputs,
            file,
            dynamo=True,
            opset_version=OPSET,
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=dynamic_shapes,
            external_data=True,
            optimize=True,
        )
        return onnx.load(file)
