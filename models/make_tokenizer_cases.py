# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/data/tokenizer/*.json: tokenizers, texts, and what the `tokenizers` library makes of them.

    python models/make_tokenizer_cases.py [--check] [MODEL.safetensors]

Each file holds a small byte-level BPE (or, in default.json, none: the default model has it), texts with
their ids and the text that these ids decode to, and ids in disorder with what they decode to. The ids
are those of encode_special_tokens=True and add_special_tokens=False. --check writes nothing and fails
if a file differs from what would be written.
"""
import copy
import json
import pathlib
import random
import struct
import sys

import make_unicode
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "data" / "tokenizer"
SPECIAL = ["<pad>", "<bos>", "<eos>"]

CORPUS = """
a dog runs through the grass with a ball in its mouth . two dogs are playing on the beach .
a man in a red shirt is standing on a rock near the water . a woman is sitting at a table with a child .
the boy jumps into the swimming pool . three people are walking down the street in the rain .
a little girl with brown hair is climbing on a wooden ladder . children play football in the park .
it's a sunny day and they're all there; we've seen that he'll win, I'd say, but don't bet on it!
der Hund läuft über die grüne Wiese . une fille joue à côté du château . el niño corre por la montaña .
собака бежит по траве . 犬が草の上を走る . 一只狗在草地上奔跑 . 개가 달린다 . 12 34 567 2024 3.14
""".strip().split("\n")

TEXTS = [
    "", " ", "  ", "a", " a", "a ", " a ", "a  b", "a   b", "\t", "a\tb", "a\t\tb", "\n", "a\nb\n\nc\n",
    "a \n b", " \n ", "a\r\nb", "the dog runs", "The Dog RUNS.", "  the  dog   runs    ",
    "a man in a red shirt is standing on a rock near the water .",
    "it's", "It'S IT'S", "we've they're he'll I'd I'm don't let's", "'s 't 're 've 'm 'll 'd", "'x '",
    "''s", "a's's", "dogs'", "'re", "'re're", "'r", "'v e", "’s", "!'s", " 's", "1's", "'ſ",
    "hello, world!", "wait...what?!", "a-b_c/d\\e", "(a) [b] {c} <d>", "$3.50 100% #1 @home", "a+b=c",
    "1", "12", "1234567890", "3.14", "1,000,000", "a1b2", "x2 2x", "2nd", "１２３", "٣٤٥", "४५६", "๑๒๓",
    "½ ¼ ²³ Ⅷ ① ㊿ 一二三", "𝟘𝟙𝟚", "໑", "𑁧",
    "é", "café", "cafe\u0301", "naïve coöperation", "Ärger über Öl, Straße", "señor mañana", "Łódź Gdańsk",
    "ÀÉÎÕÜ àéîõü", "ﬁ ﬂ", "İstanbul ısı", "Ǆ ǅ ǆ", "ª º", "ʰ ˈa", "Ω Ω", "ΑΒΓ αβγ ς", "Привет, мир!",
    "собака бежит", "שלום עולם", "שָׁלוֹם", "مرحبا بالعالم", "مَرْحَبًا", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "ជំរាបសួរ", "თბილისი", "ᎣᏏᏲ", "ᚠᚢᚦ", "𐌰𐌱𐌲", "𐐷 𐑀",
    "你好，世界！", "一只狗在草地上奔跑", "犬が草の上を走る", "カタカナ ひらがな ｶﾀｶﾅ", "개가 달린다", "각 각",
    "𠀀𠮷", "〇〡〢", "㐀", "鿿", "🐕", "🐕 🐈", "a🐕b", "🐕🐕🐕", "👨‍👩‍👧‍👦", "👋🏽", "🇩🇪🇫🇷", "❤️", "☃", "1️⃣", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "dog 🐕 runs", "(╯°□°)╯︵ ┻━┻", "♪♫", "→ ← ↔", "€£¥₿", "№ ™ ©®", "«a» „b“ ‚c‘ “d”", "a–b—c…",
    "a\u00a0b", "\u00a0a", "a\u00a0", "a\u00a0\u00a0b", " \u00a0a", "\u00a0 a", "a\u3000b", "\u3000\u3000a",
    "a\u2003b", "a\u2028b", "a\u2029b", "a\u0085b", "a\u1680b", "a\u202fb", "a\u205fb", "a\u000bb",
    "a\u000cb", "a\u001cb", "a\u200bb", "a\u2060b", "\ufeffa", "a\u180eb", "a\u00adb", "a\u200db",
    " \u2003 \u3000x", "x \t\u00a0 y", "\u3000", "a \u3000", "\u2003the", "\t the", "the\u3000 dog",
    "a\u0301\u0302\u0303", "\u0301", " \u0301a", "e\u20dd", "ा", "\u0903a",
    "<eos>", "<bos>the dog<eos>", "a <pad> b", "<eos><eos>", " <eos> ", "<EOS>", "<eos", "eos>", "< eos >",
    "<|endoftext|>", "</s>", "<unk>", "[CLS]", "▁the", "Ġthe", "Ċ", "ĠĠ", "ÃĦ", "Ā",
    "<dog>", "a<dog>b", "a <dog> b", "<dog><dog>", "<dog", "<<dog>>", "<dog>s", "<eos><dog><eos>", "dog>",
    "snow man", "snowman", "snowmen", "<do", "<eo<dog>", "<eos>s>", "os>s", "os> <eos>", "日本", "日本語", "a日本b", "日 本",
    "\x01\x02\x1b[31m", "\x7f", "\u0080\u009f", "\ufffd", "\uffff", "\ufdd0", "\ue000", "\U0010ffff",
    "\u0378", "\U000e0001", "\U0001fbf0", "ꟸ", "\u1c89\u1c8a", "\ua7da", "\U00016d40", "\U00010d4a",
    "\U0001e4d0", "\U00031350", "\U0002ebf0", "\U0001ccf0", "\U00011de0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ab" * 40, "the" * 20, "ha" * 33 + "!", "the dog " * 12,
    "in the park in the park", "swimming swimmingly swim", "ththththe", "eeee", "  .  .  .", "... . ..",
    "running\u0301", "x" * 200, "é" * 30, "犬" * 20, "🐕" * 12, " " * 40, " " * 39 + "a", "\n" * 20,
    "{\"a\": [1, 2, \"b\"]}", "SELECT * FROM t WHERE a='b' -- c", "https://example.org/a?b=c&d=%20#e",
    "A photo of", "describe the picture:", "What's in this image?", "Q: what? A:",
]


def train(prefix_space):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, min_frequency=1,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def as_object(tokenizer):
    return json.loads(tokenizer.to_str())


def without_merges(characters):
    """A vocabulary of single characters that lacks most bytes: what is not in it vanishes."""
    found = as_object(train(True))
    found["model"]["merges"] = []
    alphabet = ["Ġ"] + characters
    found["model"]["vocab"] = {t: i for i, t in enumerate(SPECIAL + alphabet)}
    return found


def variants():
    pairs = as_object(train(False))
    yield "pairs", pairs
    strings = as_object(train(True))
    strings["model"]["merges"] = [" ".join(m) for m in strings["model"]["merges"]]
    yield "strings", strings
    yield "letters", without_merges([chr(c) for c in range(33, 127)])
    added = train(True)
    added.add_tokens([AddedToken("<dog>", normalized=False), AddedToken("os>s", normalized=True),
                      AddedToken("日本", normalized=True), AddedToken("snow", normalized=False),
                      AddedToken("snowman", normalized=False), AddedToken("<eo", normalized=True),
                      AddedToken("os>", normalized=False)])
    yield "added", as_object(added)
    whole = copy.deepcopy(pairs)
    whole["model"]["ignore_merges"] = True
    # Three words that no merge leads to.
    for word in ["swimmingly", "Ġdogs'", "ĠĠĠ"]:
        whole["model"]["vocab"][word] = len(whole["model"]["vocab"])
    yield "whole", whole
    plain = copy.deepcopy(pairs)
    plain["pre_tokenizer"]["use_regex"] = False
    plain["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                               "use_regex": True}
    yield "plain", plain
    yield "every_pair", every_pair()


def every_pair():
    """A merge for each two bytes that are neighbours anywhere in the texts: a word that is split at a
    wrong place, or not split at a right one, has other ids."""
    found = without_merges([])
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = sorted({(a, b) for text in TEXTS for word, _ in byte_level.pre_tokenize_str(text)
                    for a, b in zip(word, word[1:])})
    random.Random(1).shuffle(pairs)
    tokens = SPECIAL + alphabet + [a + b for a, b in pairs]
    found["model"]["vocab"] = {t: i for i, t in enumerate(tokens)}
    found["model"]["merges"] = [a + " " + b for a, b in pairs]
    return found


def classes():
    """How many characters of each class there are, and the FNV-1a hash of all classes in order."""
    names = [name for name, _, _ in make_unicode.CLASSES]
    class_of = bytearray(0x110000)
    for number, (_, pattern, _) in enumerate(make_unicode.CLASSES):
        for point in make_unicode.members(pattern):
            class_of[point] = number + 1
    value = 0xCBF29CE484222325
    for c in class_of:
        value = (value ^ c) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return {**{n: class_of.count(i + 1) for i, n in enumerate(names)}, "hash": f"{value:016x}"}


def cases_of(tokenizer, text, decodes):
    library = Tokenizer.from_str(text)
    library.encode_special_tokens = True
    size = library.get_vocab_size(with_added_tokens=True)
    rng = random.Random(20240229)
    cases = []
    for words in TEXTS:
        ids = library.encode(words, add_special_tokens=False).ids
        decoded = library.decode(ids, skip_special_tokens=True)
        cases.append({"text": words, "ids": ids, "decoded": decoded})
    disorder = [[i] for i in range(min(size, decodes))]
    disorder += [[rng.randrange(min(size, 259)) for _ in range(rng.randrange(1, 9))]
                 for _ in range(decodes)]
    found = []
    for ids in disorder:
        decoded = library.decode(ids, skip_special_tokens=True)
        if "\0" not in decoded:  # U+FFFD in the engine, whose strings end with NUL
            found.append({"ids": ids, "decoded": decoded})
    return {"vocabulary": size, "cases": cases, "decodes": found, "tokenizer": tokenizer}


def put(name, text):
    path = TARGET / name
    if "--check" not in sys.argv[1:]:
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{name} differs")


def write(name, found):
    lines = [f'"vocabulary": {found["vocabulary"]}']
    for key in ["cases", "decodes"]:
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in found[key])
        lines.append(f'"{key}": [\n{rows}]')
    lines.append('"tokenizer": ' + json.dumps(found["tokenizer"], ensure_ascii=False))
    put(f"{name}.json", "{" + ",\n".join(lines) + "}\n")
    print(f'{name}: {found["vocabulary"]} tokens, {len(found["cases"])} texts')


def main():
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in variants():
        write(name, cases_of(tokenizer, json.dumps(tokenizer), 300 if name == "pairs" else 30))
    given = [a for a in sys.argv[1:] if a != "--check"]
    model = given[0] if given else ROOT / "models" / "palme-default.safetensors"
    with open(model, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    put("unicode.json", json.dumps(classes()) + "\n")
    write("default", cases_of(None, header["__metadata__"]["tokenizer"], 30))


if __name__ == "__main__":
    main()
