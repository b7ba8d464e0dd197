# SPDX-License-Identifier: LGPL-2.1-or-later
"""batch.py - the model of palme.py for training: many captions of many photos at once, with gradients and dropout.

This computes what palme.py computes, but faster: a photo is encoded once for all its captions, attention is torch's
fused one, and the stem can start in the middle, from cached maps. tests/python/test_training.py compares the two.

Rows: B photos, K captions of each, L tokens of the longest; captions of one photo stand next to each other.
"""

import math

import torch
import torch.nn.functional as F

from models.decoder import CachedDecoder, attend, same, split_heads


class Dropout:
    """Dropout whose masks are windows of one buffer of random numbers: drawing fresh ones costs more than the layer."""

    def __init__(self, p, generator, size=1 << 22, device="cpu", seed=0):
        self.p, self.generator, self.size = p, generator, size
        self.buffer = None
        if p > 0:  # of its own seed, so that a run that goes on has the same one
            self.buffer = (torch.rand(size, generator=torch.Generator().manual_seed(seed)) >= p).to(torch.float32).to(
                device
            ) / (1 - p)

    def __call__(self, x):
        if self.buffer is None:
            return x
        n = x.numel()
        if n > self.size // 2:  # too large for a window: drawn for this one
            return x * ((torch.rand(x.shape, generator=self.generator) >= self.p).to(x) / (1 - self.p))
        if self.buffer.dtype != x.dtype:
            self.buffer = self.buffer.to(x.dtype)
        at = int(torch.randint(self.size - n, (1,), generator=self.generator))
        return x * self.buffer[at : at + n].view(x.shape).to(x.dtype)


def late_blocks(stem, x, first):
    """The blocks of the stem from `first` on: [B, tokens, channels] of a cache -> [B, channels, h, w]."""
    b, n, c = x.shape
    side = math.isqrt(n)
    x = x.transpose(1, 2).reshape(b, c, side, side).contiguous(memory_format=torch.channels_last)
    for block in stem.blocks[first:]:
        x = block(x)
    return x


def attention(block, x, source):
    q, k, v = (split_heads(f(y)) for f, y in ((block.to_q, x), (block.to_k, source), (block.to_v, source)))
    return block.to_out(attend(q, k, v).transpose(1, 2).flatten(2))


def some_tokens(count, tokens, share, generator):
    """Which of a photo's tokens are seen: int64 [count, share * tokens], other ones for each photo; None: all."""
    if share >= 1:
        return None
    return torch.rand(count, tokens, generator=generator).argsort(1)[:, : max(1, round(share * tokens))]


def encode(model, rows, first=None, drop=same, seen=None):
    """As model.encode(): [B, tokens, E]. rows: pictures [B, 3, S, S] in 0..1; or, if `first` is the block where the
    stem goes on, [B, tokens, channels] of a cache; or [B, channels, h, w] that late_blocks() made of them. seen: what
    some_tokens() chose; the others are as if they were not there."""
    encoder = model.encoder
    if first is not None:
        if rows.ndim == 3:
            rows = late_blocks(encoder.stem, rows, first)
        x = rows.flatten(2).transpose(1, 2)
    else:
        x = encoder.patches(rows) if encoder.stem is None else encoder.stem(rows)
    position = encoder.pos_embedding
    if seen is not None:
        seen = seen.to(x.device)[:, :, None]
        x = x.gather(1, seen.expand(-1, -1, x.shape[2]))
        position = position.expand(len(x), -1, -1).gather(1, seen.expand(-1, -1, position.shape[2]))
    if first is not None:  # a 1x1 convolution is a product
        x = F.relu6(F.linear(x, encoder.stem.head.weight[:, :, 0, 0], encoder.stem.head.bias))
    x = drop(encoder.patch_to_embedding(x) + position)
    for i, ((norm,), block) in enumerate(encoder.attn_layers.layers):
        y = norm(x)
        x = x + drop(attention(block, y, y) if i % 2 == 0 else block(y))
    return encoder.attn_layers.final_norm(x)


def decode(model, tokens, real, context, drop=same):
    """tokens int64 [B * K, L]; real bool [B * K, L], which of them count (they come first in each row); context
    [B, m, E] -> the last hidden rows of the real tokens [N, D], normed, in order. Half of all tokens are padding, and
    only attention itself, a small part of the work, computes them."""
    return CachedDecoder(model, context, len(tokens) // len(context), drop).read(tokens, real)


@torch.no_grad()
def sample(model, context, per_photo, steps, generator, min_p=0.0, prompts=None):
    """Draws captions: B * K lists of ids, those that came to an end with eos_token. Tokens less likely than min_p times
    the likeliest are left out. prompts: what stands before bos_token, ids of one length for each photo."""
    config, rows = model.config, context.shape[0] * per_photo
    state = CachedDecoder(model, context, per_photo)
    state.separate()
    for tokens in zip(*(prompts or ())):
        state.feed(torch.tensor(tokens, device=context.device).repeat_interleave(per_photo))
    last = torch.full((rows,), config.bos_token, device=context.device)
    alive, out = list(range(rows)), [[] for _ in range(rows)]
    for _ in range(steps):
        p = state.feed(last).float().softmax(-1)
        if min_p > 0:
            p = p * (p >= min_p * p.amax(-1, keepdim=True))
        sums = p.cumsum(-1)
        at = torch.rand(len(p), 1, generator=generator).to(p.device) * sums[:, -1:]
        last = torch.searchsorted(sums, at, right=True)[:, 0].clamp(max=p.shape[1] - 1)
        for row, token in zip(alive, last.tolist()):
            if not out[row] or out[row][-1] != config.eos_token:
                out[row].append(token)
        keep = [i for i, row in enumerate(alive) if out[row][-1] != config.eos_token]
        if not keep:
            break
        if len(keep) < 0.8 * len(alive):  # dropping rows copies all keys and values
            left = torch.tensor(keep, device=last.device)
            state.select(left, left)
            alive, last = [alive[i] for i in keep], last[left]
    return out
