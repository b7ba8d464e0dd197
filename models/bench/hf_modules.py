# SPDX-License-Identifier: LGPL-2.1-or-later
"""hf_modules.py - captioners of transformers as three modules that can be exported: the picture's encoder, what is done
once for a picture, and a step with its cache. They compute what `generate` does, with the folder's weights. For
hf_peers.py."""

import torch
import torch.nn.functional as F
from torch import nn


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.contiguous(), bias
    return layer


def turned(layer, part=0, parts=1):  # GPT-2 has its matrices the other way round
    width = layer.weight.shape[1] // parts
    at = slice(part * width, (part + 1) * width)
    return linear(layer.weight[:, at].T, layer.bias[at])


class Layer(nn.Module):
    """One layer of BERT (norms behind the blocks) or GPT-2 (before them)."""

    def __init__(self, source, heads, gpt2, cross):
        super().__init__()
        self.heads, self.before, self.cross = heads, gpt2, cross
        if gpt2:
            attention, mlp = source.attn, source.mlp
            self.q, self.k, self.v = (turned(attention.c_attn, i, 3) for i in range(3))
            self.out, self.up, self.down = turned(attention.c_proj), turned(mlp.c_fc), turned(mlp.c_proj)
            self.norm, self.last_norm = source.ln_1, source.ln_2
            if cross:
                other = source.crossattention
                self.cross_norm, self.cross_q = source.ln_cross_attn, turned(other.q_attn)
                self.cross_k, self.cross_v = (turned(other.c_attn, i, 2) for i in range(2))
                self.cross_out = turned(other.c_proj)
            return
        attention = source.attention
        self.q, self.k, self.v = attention.self.query, attention.self.key, attention.self.value
        self.out, self.norm = attention.output.dense, attention.output.LayerNorm
        self.up, self.down = source.intermediate.dense, source.output.dense
        self.last_norm = source.output.LayerNorm
        if cross:
            other = source.crossattention
            self.cross_q, self.cross_k, self.cross_v = other.self.query, other.self.key, other.self.value
            self.cross_out, self.cross_norm = other.output.dense, other.output.LayerNorm

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def block(self, x, norm, body):
        return x + body(norm(x)) if self.before else norm(x + body(x))

    def mix(self, q, k, v, out):
        return out(F.scaled_dot_product_attention(self.split(q), k, v).transpose(1, 2).flatten(2))

    def forward(self, x, key, value, cross_key=None, cross_value=None):
        kept = []

        def attend(y):
            kept.extend((torch.cat([key, self.split(self.k(y))], 2), torch.cat([value, self.split(self.v(y))], 2)))
            return self.mix(self.q(y), kept[0], kept[1], self.out)

        x = self.block(x, self.norm, attend)
        if self.cross:
            x = self.block(
                x, self.cross_norm, lambda y: self.mix(self.cross_q(y), cross_key, cross_value, self.cross_out)
            )
        act = (lambda y: F.gelu(y, approximate="tanh")) if self.before else F.gelu
        return self.block(x, self.last_norm, lambda y: self.down(act(self.up(y)))), kept[0], kept[1]


class Encode(nn.Module):
    def __init__(self, vision):
        super().__init__()
        self.vision = vision

    def forward(self, pixels):
        return self.vision(pixel_values=pixels).last_hidden_state


class SeeCross(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, context):
        return tuple(layer.split(part(context)) for layer in self.layers for part in (layer.cross_k, layer.cross_v))


class SeePrefix(nn.Module):
    def __init__(self, layers, project):
        super().__init__()
        self.layers, self.project = layers, project

    def forward(self, context):
        x, out = self.project(context), []
        for layer in self.layers:
            none = layer.split(x)[:, :, :0]
            x, key, value = layer(x, none, none)
            out += [key, value]
        return tuple(out)


class Step(nn.Module):
    def __init__(self, layers, cross, embed, positions, first, last, logits):
        super().__init__()
        self.layers, self.cross, self.embed, self.positions = layers, cross, embed, positions
        self.first, self.last, self.logits = first, last, logits

    def forward(self, token, position, *caches):
        x, out = self.first(self.embed(token) + self.positions(position))[:, None], []
        own = 2 * len(self.layers)
        for i, layer in enumerate(self.layers):
            cross = caches[own + 2 * i : own + 2 * i + 2] if self.cross else ()
            x, key, value = layer(x, *caches[2 * i : 2 * i + 2], *cross)
            out += [key, value]
        return (self.logits(self.last(x))[:, 0], *out)


def modules_of(model, kind):
    """(part -> module, sizes): encode(pixels), see(context), step(token, position, ...). see gives keys and values, key
    0, value 0, key 1, ..., each [1, heads, n, width]; step takes a token [1], a position [1], the caches of
    self-attention and, for cross-attention, what see gave; it gives logits and the longer caches."""
    if kind == "blip":
        text, cross, vision = model.text_decoder.bert, True, model.vision_model
        layers = [Layer(x, model.config.text_config.num_attention_heads, False, True) for x in text.encoder.layer]
        head = model.text_decoder.cls.predictions
        last, logits = head.transform, head.decoder
    elif kind == "git":
        text, cross, vision = model.git, False, model.git.image_encoder
        layers = [Layer(x, model.config.num_attention_heads, False, False) for x in text.encoder.layer]
        last, logits = nn.Identity(), model.output
    else:
        text, cross, vision = model.decoder.transformer, True, model.encoder
        layers = [Layer(x, model.config.decoder.n_head, True, True) for x in text.h]
        last, logits = text.ln_f, model.decoder.lm_head
    gpt2 = kind == "vision-encoder-decoder"
    embed = (text.wte, text.wpe) if gpt2 else (text.embeddings.word_embeddings, text.embeddings.position_embeddings)
    first = nn.Identity() if gpt2 else text.embeddings.LayerNorm
    layers = nn.ModuleList(layers)
    see = SeeCross(layers) if cross else SeePrefix(layers, text.visual_projection)
    parts = {"encode": Encode(vision), "see": see, "step": Step(layers, cross, *embed, first, last, logits)}
    side, patch = vision.config.image_size, vision.config.patch_size
    sizes = {
        "side": side,
        "tokens": (side // patch) ** 2 + 1,
        "width": vision.config.hidden_size,
        "layers": len(layers),
        "heads": layers[0].heads,
        "head": layers[0].q.out_features // layers[0].heads,
        "cross": cross,
    }
    return {name: part.eval() for name, part in parts.items()}, sizes
