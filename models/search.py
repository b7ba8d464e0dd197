# SPDX-License-Identifier: LGPL-2.1-or-later
"""search.py - sentences for many pictures at a time: greedy and beam search with a cache of keys and values.

palme.py is the truth: one picture, no cache, every row computed anew. This is the same for evaluation and for captions
in bulk, many times faster, and tests/test_evaluate.py compares the two. It obeys what a model file says of sentences:
length_penalty, no_repeat_ngram, min_length, default_prompt.
"""
import math

import torch
import torch.nn.functional as F

from palme import HEAD, alibi_slopes, rotate


def split_heads(x):
    """[R, n, heads * 64] -> [R, heads, n, 64]"""
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


class CachedDecoder:
    """R = pictures * beams rows of text that grow together, row r about picture r // beams. The centre is fixed."""

    def __init__(self, model, context, beams=1):
        """context [pictures, m, E]: what encode() returned"""
        self.net, self.config, self.beams, self.length = model.decoder.net, model.config, beams, 0
        self.keys, self.values = {}, {}
        if model.encoder_to_decoder is not None:
            context = model.encoder_to_decoder(context)
        c, like = self.config, context
        self.slopes = torch.zeros(c.decoder_heads, 1, 1)
        if c.alibi_pos_bias:
            self.slopes[:c.alibi_num_heads, 0, 0] = torch.tensor(alibi_slopes(c.alibi_num_heads))
        self.slopes = self.slopes.to(like)
        self.rotary = None
        if c.rotary_xpos:
            angles = self.net.rotary(c.max_seq_len, c.xpos_center, torch.empty(0, dtype=like.dtype))
            self.rotary = [x.to(like) for x in angles]
        if c.cross_attend:
            for i, (kind, (_, block)) in enumerate(zip(self.net.kinds, self.net.attn_layers.layers)):
                if kind == "cross":
                    self.keys[i], self.values[i] = split_heads(block.to_k(context)), split_heads(block.to_v(context))
        else:  # the picture stands before the text
            self.extend(context.repeat_interleave(beams, 0))

    def feed(self, tokens):
        """tokens [R] -> logits [R, V] of what follows them"""
        x = self.extend(self.net.token_emb.emb(tokens)[:, None])
        return self.net.to_logits(self.net.attn_layers.final_norm(x[:, -1]))

    def extend(self, x):
        """x [R, n, D] at the next n positions; they see all before them and one another. The last layer's rows."""
        begin, end = self.length, self.length + x.shape[1]
        self.length = end
        if self.net.pos_emb is not None:
            x = x + self.net.pos_emb.emb.weight[begin:end] * self.config.decoder_dim ** -0.5
        at = torch.arange(end, device=x.device)
        bias = -self.slopes * (at[None] - at[begin:, None]).abs().to(x)
        for i, (kind, ((norm,), block)) in enumerate(zip(self.net.kinds, self.net.attn_layers.layers)):
            if kind == "self":
                x = x + self.attend_text(i, block, norm(x), bias, begin, end)
            elif kind == "cross":
                x = x + self.attend_picture(i, block, norm(x))
            else:
                x = x + block(norm(x))
        return x

    def attend_text(self, i, block, x, bias, begin, end):
        q, k, v = split_heads(block.to_q(x)), split_heads(block.to_k(x)), split_heads(block.to_v(x))
        if self.config.qk_norm:
            q, k = F.normalize(q, dim=-1, eps=1e-12), F.normalize(k, dim=-1, eps=1e-12)
        if self.rotary is not None:
            cos, sin, gain = (t[begin:end] for t in self.rotary)
            q, k, v = rotate(q, cos, sin, gain), rotate(k, cos, sin, 1 / gain), rotate(v, cos, sin, 1 / gain)
        if i in self.keys:
            k, v = torch.cat([self.keys[i], k], 2), torch.cat([self.values[i], v], 2)
        self.keys[i], self.values[i] = k, v
        scores = (10 if self.config.qk_norm else HEAD ** -0.5) * q @ k.transpose(-1, -2) + bias
        return block.to_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def attend_picture(self, i, block, x):
        """The beams of a picture share its keys and values: they are queries of one attention."""
        q = split_heads(block.to_q(x).reshape(-1, self.beams * x.shape[1], block.to_q.out_features))
        scores = HEAD ** -0.5 * q @ self.keys[i].transpose(-1, -2)
        y = (scores.softmax(-1) @ self.values[i]).transpose(1, 2).flatten(2)
        return block.to_out(y.reshape(*x.shape[:2], -1))

    def select(self, rows, pictures=None):
        """Goes on with rows [R'] of before; pictures: those that they are about, where some are left out."""
        for i in self.keys:
            if self.net.kinds[i] == "cross":
                if pictures is not None:
                    self.keys[i], self.values[i] = self.keys[i][pictures], self.values[i][pictures]
            else:
                self.keys[i], self.values[i] = self.keys[i][rows], self.values[i][rows]


def forbidden(text, ngram):
    """The tokens that would complete an n-gram that the text already has."""
    if not 0 < ngram <= len(text):
        return []
    begin = text[len(text) - ngram + 1:]
    return [text[i + ngram - 1] for i in range(len(text) - ngram + 1) if text[i:i + ngram - 1] == begin]


def forbid(scores, texts, config, first_too):
    """Sets to -inf what may not follow texts[r] in scores[r, V]. first_too: no sentence begins with its end."""
    for row, text in zip(scores, texts):
        row[forbidden(text, config.no_repeat_ngram)] = -math.inf
        if config.eos_token >= 0 and (len(text) + 1 < config.min_length or first_too and not text):
            row[config.eos_token] = -math.inf


class Held:
    """What words cost in a sentence about one picture, in nats: those whose label its head rejects, and to end without those that
    it is sure of. Words are sequences of tokens; the longest that ends with a token is the word that it completes."""

    def __init__(self, costs, wanted=()):
        """costs: {tuple of ids: nats}, those of the words that cost nothing included where they end with another's;
        wanted: [(nats, list of tuples of ids)], the words of each label that must not be missing"""
        single = [(ids[0], cost) for ids, cost in costs.items() if len(ids) == 1 and cost]
        self.tokens = torch.tensor([t for t, _ in single], dtype=torch.long)
        self.nats = torch.tensor([c for _, c in single], dtype=torch.float64)
        self.single, self.longer = dict(single), {}
        for ids, cost in costs.items():
            if len(ids) > 1:
                self.longer.setdefault(ids[:-1], []).append((ids[-1], cost))
        self.longest = max(map(len, self.longer), default=0)
        self.wanted = wanted

    def apply(self, row, text, eos):
        """Takes from the scores row [V] what each token would cost behind `text`."""
        row[self.tokens] -= self.nats.to(row.dtype)
        settled = set()
        for n in range(min(self.longest, len(text)), 0, -1):
            for token, cost in self.longer.get(tuple(text[-n:]), ()):
                if token not in settled:  # by a longer word
                    settled.add(token)
                    row[token] += self.single.get(token, 0.0) - cost
        for cost, words in self.wanted:
            if not any(contains(text, ids) for ids in words):
                row[eos] -= cost


class Holder:
    """Makes a Held from the labels' probabilities of a picture. A word costs `weight` nats for each nat that the likeliest label
    it may speak of lies below `floor`; a sentence that names no word of a label above `sure` costs `require` nats.

    table: [[word or phrase, places of its labels]]; encode: text -> ids; phrases: those of the labels, which are never
    missed where they are empty"""

    def __init__(self, table, encode, phrases, weight, floor, require=0.0, sure=0.6):
        self.able = [bool(phrase) for phrase in phrases]
        self.weight, self.floor, self.require, self.sure = weight, floor, require, sure
        self.table = [(tuple(encode(word)), places) for word, places in table]

    def __call__(self, probabilities):
        costs, wanted = {}, {}
        for ids, places in self.table:
            p = max(float(probabilities[i]) for i in places)
            costs[ids] = self.weight * max(0.0, math.log(self.floor) - math.log(max(p, 1e-4)))
            if self.require:
                for i in places:
                    if probabilities[i] >= self.sure and self.able[i]:
                        wanted.setdefault(i, []).append(ids)
        return Held(costs, [(self.require, words) for words in wanted.values()])


def contains(text, ids):
    """Whether the sequence `ids` stands in the list `text`."""
    return any(tuple(text[i:i + len(ids)]) == ids for i in range(len(text) - len(ids) + 1))


def start(model, context, prompt, beams):
    """A decoder that has read the prompt, and the logits of what follows. prompt: ids, or as many of them for each
    picture as for the others."""
    decoder = CachedDecoder(model, context, beams)
    prompts = prompt if isinstance(prompt[0], list) else [prompt] * context.shape[0]
    for tokens in zip(*prompts):
        logits = decoder.feed(torch.tensor(tokens, device=context.device).repeat_interleave(beams))
    return decoder, logits


def room(model, context, prompt, steps):
    """How many tokens may be generated: the last one is never fed."""
    prefix = 0 if model.config.cross_attend else context.shape[1]
    prompt = prompt[0] if isinstance(prompt[0], list) else prompt
    most = min(steps, model.config.max_seq_len - prefix - len(prompt) + 1)
    if most < 1:
        raise ValueError(f"a prompt of {len(prompt)} tokens leaves no room for a caption")
    return most


@torch.no_grad()
def greedy(model, context, prompt, steps, held=None):
    """(ids without eos_token, mean log-probability with it) of each picture; prompt: ids, ended by bos_token, or such for
    each picture, all of one length. held: a Held for each picture; what words cost is in the score."""
    c, count = model.config, context.shape[0]
    steps = room(model, context, prompt, steps)
    decoder, logits = start(model, context, prompt, 1)
    alive, texts, sums, ended = list(range(count)), [[] for _ in range(count)], [0.0] * count, set()
    for step in range(steps):
        raw = logits.double().log_softmax(-1).cpu()
        if held is not None:
            for row, p in zip(raw, alive):
                held[p].apply(row, texts[p], c.eos_token)
        allowed = logits.cpu().clone() if held is None else raw.clone()
        forbid(allowed, [texts[p] for p in alive], c, False)
        chosen = allowed.argmax(-1)
        for row, (p, token) in enumerate(zip(alive, chosen.tolist())):
            sums[p] += float(raw[row, token])
            if token == c.eos_token:
                ended.add(p)
            else:
                texts[p].append(token)
        keep = [row for row, p in enumerate(alive) if p not in ended]
        if not keep or step + 1 == steps:
            break
        if len(keep) < len(alive):
            rows = torch.tensor(keep, device=context.device)
            decoder.select(rows, rows)
            alive, chosen = [alive[row] for row in keep], chosen[keep]
        logits = decoder.feed(chosen.to(context.device))
    return [(text, total / (len(text) + (p in ended))) for p, (text, total) in enumerate(zip(texts, sums))]


def best_candidates(scores, count):
    """The `count` largest of each row, largest first, ties by the lower index. (values, indices), both [P, count]"""
    values, indices = scores.topk(count, dim=-1)
    tied = (values[:, 1:] == values[:, :-1]).any(-1) | ((scores >= values[:, -1:]).sum(-1) > count)
    for p in tied.nonzero().flatten().tolist():
        order = scores[p].sort(descending=True, stable=True)
        values[p], indices[p] = order.values[:count], order.indices[:count]
    return values.tolist(), indices.tolist()


class Beam:
    """One picture's search: open sentences as (score, text), and the best finished one."""

    def __init__(self, beams):
        self.opened, self.beams = [(0.0, [])], beams
        self.best, self.value, self.score = None, -math.inf, 0.0

    def step(self, values, indices, vocabulary, eos, alpha, steps):
        """Takes the candidates of one step; (parent beam of each open sentence, whether it is over)"""
        following, parents, length = [], [], len(self.opened[0][1]) + 1
        for score, index in zip(values, indices):
            beam, token = divmod(index, vocabulary)
            if score == -math.inf:
                continue
            text = self.opened[beam][1]
            if token == eos:
                if score / length ** alpha > self.value:
                    self.best, self.value, self.score = text, score / length ** alpha, score / length
            elif len(following) < self.beams:
                following.append((score, text + [token]))
                parents.append(beam)
        over = not following or length == steps or self.value >= following[0][0] / steps ** alpha
        self.opened = following or self.opened
        return parents, over

    def result(self):
        if self.best is not None:
            return self.best, self.score
        score, text = self.opened[0]
        return text, score / max(len(text), 1)


@torch.no_grad()
def beam(model, context, prompt, beams, steps, alpha=None, held=None):
    """As greedy(), by a beam search for each picture."""
    c, count = model.config, context.shape[0]
    alpha = c.length_penalty if alpha is None else alpha
    steps = room(model, context, prompt, steps)
    decoder, logits = start(model, context, prompt, beams)
    searches, alive = [Beam(beams) for _ in range(count)], list(range(count))
    while alive:
        raw = logits.double().log_softmax(-1).cpu().unflatten(0, (-1, beams))
        for p, rows in zip(alive, raw):
            opened = searches[p].opened
            forbid(rows, [text for _, text in opened], c, True)
            for b in range(beams):
                if held is not None and b < len(opened):
                    held[p].apply(rows[b], opened[b][1], c.eos_token)
                rows[b] += opened[b][0] if b < len(opened) else -math.inf
        found = best_candidates(raw.flatten(1), 2 * beams)
        rows, tokens, kept, left = [], [], [], []
        for at, (p, values, indices) in enumerate(zip(alive, *found)):
            parents, over = searches[p].step(values, indices, raw.shape[-1], c.eos_token, alpha, steps)
            if over:
                continue
            fill = beams - len(parents)  # rows that no open sentence needs; their scores do not count
            rows += [at * beams + parent for parent in parents + [parents[0]] * fill]
            tokens += [text[-1] for _, text in searches[p].opened] + [0] * fill
            kept.append(at)
            left.append(p)
        if left:
            gone = len(left) < len(alive)
            where = context.device
            decoder.select(torch.tensor(rows, device=where), torch.tensor(kept, device=where) if gone else None)
            logits = decoder.feed(torch.tensor(tokens, device=where))
        alive = left
    return [search.result() for search in searches]


def grouped(model, context, prompts, beams, steps, alpha=None, held=None, at_once=25):
    """As beam() or greedy(), of any number of pictures with a prompt of their own each: those with prompts of one length are
    searched together. In the order of the pictures."""
    out, groups = [None] * len(prompts), {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(i)
    for some in groups.values():
        for begin in range(0, len(some), at_once):
            part = some[begin:begin + at_once]
            own, costs = [prompts[i] for i in part], None if held is None else [held[i] for i in part]
            found = (greedy(model, context[part], own, steps, costs) if beams == 1
                     else beam(model, context[part], own, beams, steps, alpha, costs))
            for i, result in zip(part, found):
                out[i] = result
    return out
