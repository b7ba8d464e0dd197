# SPDX-License-Identifier: LGPL-2.1-or-later
"""palme.py - the model in torch, as short as can be read: a picture in, token logits out.

This is the truth that the C engine reproduces. It is written for reading and for checking, not for
speed: there is no cache, each call computes all rows. It works in float32 and float64. Modules are
named so that state_dict() has exactly the tensor names of a model file.

Letters: S image_size, p patch_size, P patches, E and D the widths of encoder and decoder, V the
vocabulary, n tokens, c the xpos centre. Heads are 64 wide. Everything has a batch dimension first.
"""

import json
import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import nn

HEAD = 64  # width of a head
ROTARY = 32  # how many of them rotate; the pairs are (k, k + 16)

# kernel, stride, expansion, (channels, blocks) of lite0, lite1 and lite2
STAGES = [
    (3, 1, 1, (16, 1), (16, 1), (16, 1)),
    (3, 2, 6, (24, 2), (24, 3), (24, 3)),
    (5, 2, 6, (40, 2), (40, 3), (48, 3)),
    (3, 2, 6, (80, 3), (80, 4), (88, 4)),
    (5, 1, 6, (112, 3), (112, 4), (120, 4)),
    (5, 2, 6, (192, 4), (192, 5), (208, 5)),
    (3, 1, 6, (320, 1), (320, 1), (352, 1)),
]


@dataclass
class Config:
    """The 17 parameters of the constructor, then those of this project's model files."""

    image_size: int = 256
    patch_size: int = 32
    encoder_dim: int = 512
    encoder_depth: int = 6
    encoder_heads: int = 8
    num_tokens: int = 20000
    max_seq_len: int = 1024
    decoder_dim: int = 512
    decoder_depth: int = 6
    decoder_heads: int = 8
    alibi_num_heads: int = 4  # None: all heads
    use_abs_pos_emb: bool = False
    cross_attend: bool = True
    alibi_pos_bias: bool = True
    rotary_xpos: bool = True
    attn_flash: bool = True  # chooses a kernel elsewhere; nothing here
    qk_norm: bool = True
    stem: str = "none"
    train_length: int = None  # max_seq_len
    xpos_center: int = None  # see below
    bos_token: int = 0
    eos_token: int = -1  # -1: there is none
    pad_token: int = None
    image_resize: str = "squash"
    default_prompt: str = ""
    default_beams: int = 1
    length_penalty: float = 0.7
    no_repeat_ngram: int = 0
    min_length: int = 1
    min_score: float = None
    precisions: tuple = ("f32",)
    labels: dict = None  # what labels there are and how they are read; see models/FORMAT.md

    def __post_init__(self):
        if self.alibi_num_heads is None:
            self.alibi_num_heads = self.decoder_heads
        if self.train_length is None:
            self.train_length = self.max_seq_len
        if self.xpos_center is None:  # half of what one training sequence feeds to the decoder
            prefix = 0 if self.cross_attend else self.patches
            self.xpos_center = (prefix + self.train_length - 1) // 2

    @property
    def patches(self):
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def read(cls, text):
        """From the JSON of a model file; keys it does not know are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in json.loads(text).items() if k in known})

    @classmethod
    def read_plain(cls, text):
        """From the constructor's arguments of a reference checkpoint, where qk_norm does nothing."""
        return cls(**{**json.loads(text), "qk_norm": False})


# ---- The convolutional stem: EfficientNet-Lite with batch norm folded into the convolutions ----


def convolve(x, conv, size, stride=1, groups=1):
    """A convolution with TensorFlow's SAME padding, which for stride 2 is smaller at the top left."""
    pads = []
    for m in (x.shape[3], x.shape[2]):
        total = max((-(-m // stride) - 1) * stride + size - m, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), conv.weight, conv.bias, stride, groups=groups)


class StemBlock(nn.Module):
    def __init__(self, cin, cout, size, stride, expansion):
        super().__init__()
        m = cin * expansion
        self.expand = nn.Conv2d(cin, m, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(m, m, size, groups=m)
        self.project = nn.Conv2d(m, cout, 1)
        self.size, self.stride, self.skip = size, stride, stride == 1 and cin == cout

    def forward(self, x):
        y = x if self.expand is None else F.relu6(convolve(x, self.expand, 1))
        y = F.relu6(convolve(y, self.depthwise, self.size, self.stride, y.shape[1]))
        y = convolve(y, self.project, 1)
        return x + y if self.skip else y


class Stem(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, h/32 * w/32, 1280]"""

    def __init__(self, name):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3)
        blocks, cin = [], 32
        for size, stride, expansion, *sizes in STAGES:
            cout, count = sizes[int(name.removeprefix("efficientnet_lite"))]
            for i in range(count):
                blocks.append(StemBlock(cin, cout, size, stride if i == 0 else 1, expansion))
                cin = cout
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(cin, 1280, 1)

    def forward(self, image):
        x = (255 * image - 127) / 128  # padded zeros are zeros after this
        x = F.relu6(convolve(x, self.conv, 3, 2))
        for block in self.blocks:
            x = block(x)
        return F.relu6(convolve(x, self.head, 1)).flatten(2).transpose(1, 2)


class Labels(nn.Module):
    """Probabilities of labels from the stem's last map: [B, cells, 1280] -> [B, L]. Classes exclude one another, things
    do not. Several classes may share a label: their probabilities add up. A label that both a class and a thing have
    takes the larger probability."""

    def __init__(self, labels):
        super().__init__()
        self.count = len(labels["names"])
        self.class_labels, self.thing_labels = labels.get("classes", []), labels.get("things", [])
        self.classes = nn.Linear(1280, len(self.class_labels)) if self.class_labels else None
        self.things = nn.Linear(2 * 1280, len(self.thing_labels)) if self.thing_labels else None

    def forward(self, maps):
        mean, most = maps.mean(1), maps.amax(1)
        p = maps.new_zeros(len(maps), self.count)
        if self.classes is not None:
            of = torch.tensor(self.class_labels)
            kept = (of >= 0).nonzero()[:, 0]
            p = p.index_add(1, of[kept], self.classes(mean).softmax(-1)[:, kept])
        if self.things is not None:
            of = torch.tensor(self.thing_labels)
            p = p.index_copy(1, of, torch.maximum(p[:, of], self.things(torch.cat([mean, most], 1)).sigmoid()))
        return p


# ---- Layers of both stacks --------------------------------------------------------------------


class Attention(nn.Module):
    """Softmax attention without biases; 64 * heads need not equal dim."""

    def __init__(self, dim, heads):
        super().__init__()
        self.to_q = nn.Linear(dim, HEAD * heads, bias=False)
        self.to_k = nn.Linear(dim, HEAD * heads, bias=False)
        self.to_v = nn.Linear(dim, HEAD * heads, bias=False)
        self.to_out = nn.Linear(HEAD * heads, dim, bias=False)

    def forward(self, x, context=None, bias=None, rotary=None, qk_norm=False):
        """bias [heads, n, n]: what is added to the scaled scores, -inf for what is hidden."""
        source = x if context is None else context
        q, k, v = (
            t.unflatten(-1, (-1, HEAD)).transpose(1, 2) for t in (self.to_q(x), self.to_k(source), self.to_v(source))
        )
        if qk_norm:
            q, k = F.normalize(q, dim=-1, eps=1e-12), F.normalize(k, dim=-1, eps=1e-12)
        if rotary is not None:
            cos, sin, gain = rotary
            q, k, v = (
                rotate(q, cos, sin, gain),
                rotate(k, cos, sin, 1 / gain),
                rotate(v, cos, sin, 1 / gain),
            )  # v too, and nothing is rotated back
        scores = (10 if qk_norm else HEAD**-0.5) * q @ k.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        y = scores.softmax(-1) @ v
        return self.to_out(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.ff = nn.Sequential(
            nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU()),  # the erf form
            nn.Identity(),
            nn.Linear(4 * dim, dim),
        )

    def forward(self, x):
        return self.ff(x)


class Layers(nn.Module):
    """A stack: layers.{i}.0.0 is the norm before block i, layers.{i}.1 the block."""

    def __init__(self, dim, blocks):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([nn.ModuleList([nn.LayerNorm(dim)]), b]) for b in blocks)
        self.final_norm = nn.LayerNorm(dim)


def rotate(x, cos, sin, gain):
    """[.., n, 64]: rotates and scales the pairs (k, k + 16) of the first 32 values."""
    a, b, rest = x[..., :16], x[..., 16:32], x[..., 32:]
    return torch.cat([(a * cos - b * sin) * gain, (b * cos + a * sin) * gain, rest], -1)


def alibi_slopes(m):
    """The slopes of m heads; for no power of two, those of the next lower one and some between."""
    r = 1 << (m.bit_length() - 1)
    slopes = [2.0 ** (-8 * (h + 1) / r) for h in range(r)]
    return slopes if r == m else slopes + alibi_slopes(2 * r)[::2][: m - r]


# ---- Encoder and decoder ----------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim, self.p = config.encoder_dim, config.patch_size
        values = 3 * self.p**2 if config.stem == "none" else 1280
        self.stem = None if config.stem == "none" else Stem(config.stem)
        self.pos_embedding = nn.Parameter(torch.zeros(1, config.patches, dim))
        self.patch_to_embedding = nn.Sequential(nn.LayerNorm(values), nn.Linear(values, dim), nn.LayerNorm(dim))
        self.attn_layers = Layers(
            dim,
            [b for _ in range(config.encoder_depth) for b in (Attention(dim, config.encoder_heads), FeedForward(dim))],
        )

    def patches(self, image):
        """[B, 3, h, w] -> [B, patches, 3 p^2]; inside a patch: row, column, channel."""
        b, _, h, w = image.shape
        x = image.reshape(b, 3, h // self.p, self.p, w // self.p, self.p)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 3 * self.p**2)

    def maps(self, image):
        """What stands before the embedding: [B, patches, 1280] of a stem, else [B, patches, 3 p^2]."""
        return self.patches(image) if self.stem is None else self.stem(image)

    def forward(self, image):
        return self.embed(self.maps(image))

    def embed(self, x):
        x = self.patch_to_embedding(x)
        x = x + self.pos_embedding[:, : x.shape[1]]
        for (norm,), block in self.attn_layers.layers:
            x = x + block(norm(x))
        return self.attn_layers.final_norm(x)


class Table(nn.Module):
    def __init__(self, rows, dim):
        super().__init__()
        self.emb = nn.Embedding(rows, dim)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, dim = config, config.decoder_dim
        self.token_emb = Table(config.num_tokens, dim)
        absolute = config.use_abs_pos_emb and not config.rotary_xpos
        self.pos_emb = Table(config.max_seq_len, dim) if absolute else None
        kinds = ["self", "cross", "mlp"] if config.cross_attend else ["self", "mlp"]
        self.kinds = kinds * config.decoder_depth
        self.attn_layers = Layers(
            dim, [FeedForward(dim) if kind == "mlp" else Attention(dim, config.decoder_heads) for kind in self.kinds]
        )
        self.to_logits = nn.Linear(dim, config.num_tokens)

    def rotary(self, n, center, like):
        """cos, sin and gain [n, 16]. The angle is a product in fp32, whatever the model computes in."""
        k = torch.arange(ROTARY // 2, dtype=torch.float32)
        inv_freq = 1.0 / 10000 ** (2 * k / ROTARY)
        angle = torch.outer(torch.arange(n, dtype=torch.float32), inv_freq).to(like)
        scale = ((2 * k + 0.4 * ROTARY) / (1.4 * ROTARY)).to(like)
        power = (torch.arange(n, dtype=like.dtype) - center) / 512
        return angle.cos(), angle.sin(), scale ** power[:, None]

    def bias(self, n, visible, like):
        """[heads, n, n]: ALiBi, and -inf where row i may not see key j."""
        distance = (torch.arange(n)[None] - torch.arange(n)[:, None]).to(like)
        slopes = torch.zeros(self.config.decoder_heads, 1, 1).to(like)
        if self.config.alibi_pos_bias:
            m = self.config.alibi_num_heads
            slopes[:m, 0, 0] = torch.tensor(alibi_slopes(m)).to(like)
        hidden = (distance > 0) & (torch.arange(n) >= visible)
        return (-slopes * distance.abs()).masked_fill(hidden, -math.inf)

    def forward(self, tokens, context=None, center=None):
        """tokens [B, n], context [B, m, D] -> logits [B, n, V]. Without cross-attention the context stands
        before the text and is visible to all rows. No center: half of all rows, as the reference has it."""
        x, prefix = self.token_emb.emb(tokens), 0
        if not self.config.cross_attend and context is not None:
            x, prefix = torch.cat([context, x], 1), context.shape[1]
        n = x.shape[1]
        if self.pos_emb is not None:
            x = x + self.pos_emb.emb.weight[:n] * self.config.decoder_dim**-0.5
        rotary = None
        if self.config.rotary_xpos:
            rotary = self.rotary(n, n // 2 if center is None else center, x)
        bias = self.bias(n, prefix, x)
        for kind, ((norm,), block) in zip(self.kinds, self.attn_layers.layers):
            if kind == "self":
                x = x + block(norm(x), None, bias, rotary, self.config.qk_norm)
            elif kind == "cross":
                x = x + block(norm(x), context)
            else:
                x = x + block(norm(x))
        return self.to_logits(self.attn_layers.final_norm(x[:, prefix:]))


class Palme(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.labels = Labels(config.labels) if config.labels else None
        self.encoder_to_decoder = None
        if config.encoder_dim != config.decoder_dim:
            self.encoder_to_decoder = nn.Linear(config.encoder_dim, config.decoder_dim, bias=False)
        self.decoder = nn.Module()
        self.decoder.net = Decoder(config)

    def load(self, state):
        """Takes tensors under `decoder.net.` or `decoder.`; the rotary buffers are computed here."""
        names = {}
        for name, value in state.items():
            if name.startswith("decoder.") and not name.startswith("decoder.net."):
                name = "decoder.net." + name.removeprefix("decoder.")
            if name in names:
                raise ValueError(f"{name} is there twice")
            if ".rotary_pos_emb." not in name:
                names[name] = value
        self.load_state_dict(names)
        return self.eval()

    def encode(self, image):
        """[B, 3, h, w] in 0..1 -> [B, tokens, E]"""
        return self.encoder(image)

    def look(self, image):
        """[B, 3, h, w] in 0..1 -> what encode() returns, and the labels' probabilities [B, L] (None without labels)"""
        maps = self.encoder.maps(image)
        return self.encoder.embed(maps), None if self.labels is None else self.labels(maps)

    def decode(self, tokens, context=None, center=None):
        """tokens [B, n] and what encode() returned (or None) -> logits [B, n, V]"""
        if self.encoder_to_decoder is not None and context is not None:
            context = self.encoder_to_decoder(context)
        return self.decoder.net(tokens, context, center)

    def forward(self, image, tokens):
        """As the reference's PalmE: every token predicts the next. (logits [B, n - 1, V], loss)"""
        logits = self.decode(tokens[:, :-1].clamp(min=0), self.encode(image))
        return logits, F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-100)

    def forward_gpt4(self, image, tokens):
        """As the reference's GPT4MultiModal: all tokens, no shift, no loss. logits [B, n, V]"""
        return self.decode(tokens, self.encode(image))

    # ---- Sentences: one picture, context [1, m, E], lists of ids ----

    @torch.no_grad()
    def last_logits(self, context, text, center):
        return self.decode(torch.tensor([text]), context, center)[0, -1]

    def greedy(self, context, prompt, steps, stop=True, reference=False, center=None):
        """The largest logit each time, until eos_token if `stop`. `reference`: the reference's loop, where
        the centre follows the length. Returns the new tokens and their rows of logits."""
        text, rows = list(prompt), []
        center = self.config.xpos_center if center is None else center
        for _ in range(steps):
            rows.append(self.last_logits(context, text, None if reference else center))
            text.append(int(rows[-1].argmax()))  # the first of equals
            if stop and text[-1] == self.config.eos_token:
                break
        return text[len(prompt) :], torch.stack(rows)

    def beam(self, context, prompt, beams, alpha, steps):
        """The best sentence of a beam search, without eos_token."""
        eos, center = self.config.eos_token, self.config.xpos_center
        opened, best, best_value = [(0.0, [])], None, -math.inf
        for step in range(1, steps + 1):
            rows = [
                self.last_logits(context, list(prompt) + text, center).double().log_softmax(-1) + score
                for score, text in opened
            ]
            scores = torch.stack(rows)
            if step == 1:
                scores[:, eos] = -math.inf
            order = scores.flatten().sort(descending=True, stable=True).indices[: 2 * beams]
            following = []
            for beam, token in (divmod(int(i), scores.shape[1]) for i in order):
                score, text = float(scores[beam, token]), opened[beam][1]
                if token == eos:
                    if score / step**alpha > best_value:
                        best, best_value = text, score / step**alpha
                elif len(following) < beams and score > -math.inf:
                    following.append((score, text + [token]))
            opened = following
            if not opened or best_value >= opened[0][0] / steps**alpha:
                break
        return opened[0][1] if best is None else best


def filter_probabilities(logits, temperature=1.0, top_k=0, top_p=1.0):
    """Temperature, then top-k (0 is off), then top-p (1 is off), then renormalised. [V] -> [V] in double.
    Ties at the edge go to the lower id."""
    probabilities = (logits.double() / temperature).softmax(-1)
    order = probabilities.sort(descending=True, stable=True).indices
    if top_k > 0:
        order = order[:top_k]
    sorted_ = probabilities[order] / probabilities[order].sum()
    if top_p < 1:
        order = order[sorted_.cumsum(0) - sorted_ <= top_p]  # the sum of those before; the first stays
    kept = torch.zeros_like(probabilities)
    kept[order] = probabilities[order] / probabilities[order].sum()
    return kept


def squash(pixels, size):
    """uint8 [h, w, 3] -> uint8 [size, size, 3]: the whole picture by a separable triangle filter, antialiased,
    rounded to 8 bits once."""

    def weights(n):
        reduction = n / size
        support = max(1.0, reduction)
        at = (torch.arange(size, dtype=torch.float64)[:, None] + 0.5) * reduction
        w = (1 - (torch.arange(n) + 0.5 - at).abs() / support).clamp(min=0)
        return w / w.sum(1, keepdim=True)

    rows = weights(pixels.shape[0]) @ pixels.double().flatten(1)
    y = weights(pixels.shape[1]) @ rows.unflatten(1, (-1, 3))
    return (y + 0.5).floor().clamp(0, 255).to(torch.uint8)
