# SPDX-License-Identifier: LGPL-2.1-or-later
"""decoder.py - the decoder of palme.py with a cache of keys and values, for many texts at a time.

palme.py is short and computes every row anew; this is what search, evaluation and training run.
tests/python/test_evaluate.py and tests/python/test_training.py compare the two.

R texts grow together, K of them about each picture: text r is about picture r // K. Heads are 64 wide. D is the
decoder's width, E the encoder's, N counts rows of texts of all lengths.
"""

import math

import torch
import torch.nn.functional as F

from models.palme import HEAD, alibi_slopes, rotate


def same(x):
    return x


def split_heads(x):
    """[R, n, heads * 64] -> [R, heads, n, 64]"""
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


def attend(q, k, v, bias=None, scale=HEAD**-0.5):
    """q [R, heads, n, 64], k and v [R, heads, m, 64], bias as that of palme.Attention -> [R, heads, n, 64]"""
    if bias is not None:
        bias = bias.to(q.dtype)
    if q.dtype == torch.bfloat16 and torch.is_grad_enabled():  # the fused one has a slow gradient in bf16 on a CPU
        scores = scale * (q @ k.mT)
        if bias is not None:
            scores = scores + bias
        return scores.float().softmax(-1).to(q.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v, bias, scale=scale)


class Rows:
    """Which of the R * n rows that attention sees are computed. The others are padding: they are zeros for attention
    and cost nothing in all other layers."""

    def __init__(self, texts, n, at=None):
        """at: int64 [N], ascending; None: all rows, N = R * n"""
        self.texts, self.n, self.at = texts, n, at

    def spread(self, x, groups):
        """x [N, heads * 64] -> [groups, heads, R * n / groups, 64]"""
        if self.at is not None:
            x = x.new_zeros(self.texts * self.n, x.shape[-1]).index_copy(0, self.at, x)
        return split_heads(x.view(groups, -1, x.shape[-1]))

    def gather(self, y):
        """The reverse: [groups, heads, R * n / groups, 64] -> [N, heads * 64]"""
        y = y.transpose(1, 2).reshape(self.texts * self.n, -1)
        return y if self.at is None else y[self.at]

    def positions(self, x):
        """x [n, ..], something for each position -> [N, ..], for each row"""
        return x.repeat(self.texts, 1) if self.at is None else x[self.at % self.n]


class CachedDecoder:
    """R texts, as far as they were fed. The centre of the rotary positions is fixed, that of the model file."""

    def __init__(self, model, context, beams=1, drop=same):
        """context [R / beams, m, E]: what encode() returned; beams: K, the texts about each picture; drop: dropout, for
        training"""
        self.net, self.config, self.beams, self.length = model.decoder.net, model.config, beams, 0
        self.texts, self.drop = context.shape[0] * beams, drop
        self.keys, self.values = {}, {}
        if model.encoder_to_decoder is not None:
            context = model.encoder_to_decoder(context)
        c, like = self.config, context
        self.slopes = torch.zeros(c.decoder_heads, 1, 1)
        if c.alibi_pos_bias:
            self.slopes[: c.alibi_num_heads, 0, 0] = torch.tensor(alibi_slopes(c.alibi_num_heads))
        self.slopes = self.slopes.to(like)
        self.rotary = None
        if c.rotary_xpos:
            angles = self.net.rotary(c.max_seq_len, c.xpos_center, torch.empty(0, dtype=like.dtype))
            self.rotary = [x.to(like) for x in angles]
        self.prefix = 0
        if c.cross_attend:
            for i, (kind, (_, block)) in enumerate(zip(self.net.kinds, self.net.attn_layers.layers, strict=True)):
                if kind == "cross":
                    self.keys[i], self.values[i] = split_heads(block.to_k(context)), split_heads(block.to_v(context))
        else:  # the picture stands before the text, and its rows see all of it
            self.prefix = context.shape[1]
            self.extend(context.repeat_interleave(beams, 0).flatten(0, 1), Rows(self.texts, self.prefix))

    def feed(self, tokens):
        """One more token of each text, [R] -> logits [R, V] of what follows"""
        x = self.extend(self.drop(self.net.token_emb.emb(tokens)), Rows(self.texts, 1))
        return self.net.to_logits(self.net.attn_layers.final_norm(x))

    def read(self, tokens, real):
        """tokens int64 [R, n], of which those count where real, bool [R, n], is set; they come first in each text.
        -> the rows of the last layer's norm for these, [N, D], in order. Nothing can be fed after padding."""
        at = real.flatten().nonzero()[:, 0]
        x = self.extend(self.drop(self.net.token_emb.emb(tokens.flatten()[at])), Rows(*tokens.shape, at))
        return self.net.attn_layers.final_norm(x)

    def extend(self, x, rows):
        """x [N, D], the next rows.n positions of each text, which see all before them -> the last block's [N, D]"""
        begin, end = self.length, self.length + rows.n
        self.length = end
        if self.net.pos_emb is not None:
            x = x + rows.positions(self.net.pos_emb.emb.weight[begin:end]) * self.config.decoder_dim**-0.5
        bias = self.bias(begin, end, x)
        for i, (kind, ((norm,), block)) in enumerate(zip(self.net.kinds, self.net.attn_layers.layers, strict=True)):
            y = norm(x)
            if kind == "self":
                y = self.attend_text(i, block, y, rows, bias, begin, end)
            elif kind == "cross":
                y = self.attend_picture(i, block, y, rows)
            else:
                y = block(y)
            x = x + self.drop(y)
        return x

    def bias(self, begin, end, like):
        """[heads, end - begin, end]: these rows of Decoder.bias() in palme.py"""
        at = torch.arange(end, device=like.device)
        distance = at[None] - at[begin:, None]
        bias = -self.slopes * distance.abs().to(like)
        return bias.masked_fill((distance > 0) & (at >= self.prefix), -math.inf)

    def attend_text(self, i, block, x, rows, bias, begin, end):
        q, k, v = (rows.spread(f(x), rows.texts) for f in (block.to_q, block.to_k, block.to_v))
        if self.config.qk_norm:
            q, k = F.normalize(q, dim=-1, eps=1e-12), F.normalize(k, dim=-1, eps=1e-12)
        if self.rotary is not None:
            cos, sin, gain = (t[begin:end] for t in self.rotary)
            q, k, v = (rotate(x, cos, sin, g).to(x.dtype) for x, g in ((q, gain), (k, 1 / gain), (v, 1 / gain)))
        if i in self.keys:
            k, v = torch.cat([self.keys[i], k], 2), torch.cat([self.values[i], v], 2)
        self.keys[i], self.values[i] = k, v
        y = attend(q, k, v, bias, 10.0 if self.config.qk_norm else HEAD**-0.5)
        return block.to_out(rows.gather(y))

    def attend_picture(self, i, block, x, rows):
        """All rows about a picture are queries of one attention, so its keys and values are there once."""
        y = attend(rows.spread(block.to_q(x), len(self.keys[i])), self.keys[i], self.values[i])
        return block.to_out(rows.gather(y))

    def separate(self):
        """Gives each text keys and values of its picture for itself, so that select() may leave out any text."""
        for i in self.keys:
            if self.net.kinds[i] == "cross":
                self.keys[i] = self.keys[i].repeat_interleave(self.beams, 0)
                self.values[i] = self.values[i].repeat_interleave(self.beams, 0)
        self.beams = 1

    def select(self, rows, pictures=None):
        """Goes on with the texts `rows`, int64 [R']. pictures: those that they are about, where some are left out."""
        self.texts = len(rows)
        for i in self.keys:
            if self.net.kinds[i] == "cross":
                if pictures is not None:
                    self.keys[i], self.values[i] = self.keys[i][pictures], self.values[i][pictures]
            else:
                self.keys[i], self.values[i] = self.keys[i][rows], self.values[i][rows]
