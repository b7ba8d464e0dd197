# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench_peers.py - times the engine beside other runtimes: the same weights, the same picture, one run.

    python models/bench/bench_peers.py BENCH_ENGINE [--model FILE] [--precisions f32 bf16 int8] [--threads 1 2]
    python models/bench/bench_peers.py BENCH_ENGINE --full [blip_base git_base vit_gpt2] [--folder FOLDER]

BENCH_ENGINE is the program bench_engine of a build, which is driven through its --serve mode. Without --model, the
default configuration with generated weights is used. torch is required. ONNX Runtime needs onnx and onnxruntime,
OpenVINO needs openvino, and nncf for int8; a runtime whose package is missing is left out with a message. All peers
have a KV cache and compute the cross-attention's keys and values once per picture, except "no cache", which computes
all rows for each token, as the plain loop of palme.py does.

Peers take turns, so that other load on the machine affects all of them. Each waits before its turn until the threads of
the one before have stopped spinning. The table shows medians and smallest times. All f32 captions must have the same
ids; otherwise the exit status is 1. int8 means 8-bit weights and activations in all products: ONNX Runtime's dynamic
quantization, and NNCF's post-training quantization for OpenVINO. That one is calibrated with noise, since only its time
matters, and captions in int8 are not compared. OpenVINO in f32 and the loop without cache also stand beside our bf16
and int8.

--full times captioners of transformers at their published sizes, with random weights: each runtime in a process of its
own, whose peak memory stands in the table beside the time; hf_peers.py says how each is set up. transformers is
required, and some 15 GB in FOLDER, where models and what is exported of them are kept for the next time.

See and Step below compute what models/decoder.py does. They are apart from it because exporters need modules whose
caches are inputs and outputs.
"""

import os

# Before torch is loaded, because spinning threads take time from the other peers.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import argparse
import gc
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import ROOT, modelfile
from models.palme import HEAD, alibi_slopes, rotate

PAUSE = 0.1  # seconds before a turn
TOGETHER = 4  # captions at a time


# ---- The model with a cache, as modules that can be exported -----------------------------------


class See(nn.Module):
    """context [B, P, E] -> keys and values of cross-attention, each [layers, B, heads, P, 64]."""

    def __init__(self, model):
        super().__init__()
        self.map = model.encoder_to_decoder
        net = model.decoder.net
        self.blocks = nn.ModuleList(b for kind, (_, b) in zip(net.kinds, net.attn_layers.layers) if kind == "cross")

    def forward(self, context):
        if self.map is not None:
            context = self.map(context)
        return (
            torch.stack([heads(b.to_k(context)) for b in self.blocks]),
            torch.stack([heads(b.to_v(context)) for b in self.blocks]),
        )


def heads(x):
    """[B, n, heads * 64] -> [B, heads, n, 64]"""
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


class Step(nn.Module):
    """One token of each of B sentences: token [B], position [1], caches [layers, B, heads, n, 64] of n = position
    tokens, cross as See has it -> logits [B, V], caches of n + 1."""

    def __init__(self, model):
        super().__init__()
        config, net = model.config, model.decoder.net
        if not (config.cross_attend and config.rotary_xpos):
            sys.exit("only models with cross-attention and rotary_xpos are compared")
        self.net, self.qk_norm = net, config.qk_norm
        cos, sin, gain = net.rotary(config.max_seq_len, config.xpos_center, torch.zeros(1))
        slopes = torch.zeros(config.decoder_heads, 1, 1)
        if config.alibi_pos_bias:
            slopes[: config.alibi_num_heads, 0, 0] = torch.tensor(alibi_slopes(config.alibi_num_heads))
        for name, table in (
            ("cos", cos),
            ("sin", sin),
            ("gain", gain),
            ("slopes", slopes),
            ("places", torch.arange(config.max_seq_len)),
        ):
            self.register_buffer(name, table, persistent=False)

    def forward(self, token, position, keys, values, cross_keys, cross_values):
        x = self.net.token_emb.emb(token).unsqueeze(1)
        cos, sin, gain = self.cos[position], self.sin[position], self.gain[position]
        distance = (position - self.places[: keys.shape[3] + 1]).to(x.dtype)
        bias = -self.slopes * distance
        new_keys, new_values = [], []
        for kind, ((norm,), block) in zip(self.net.kinds, self.net.attn_layers.layers):
            i = len(new_keys)
            if kind == "mlp":
                x = x + block(norm(x))
                continue
            y = norm(x)
            q = heads(block.to_q(y))
            if kind == "self":
                k, v = heads(block.to_k(y)), heads(block.to_v(y))
                if self.qk_norm:
                    q, k = F.normalize(q, dim=-1, eps=1e-12), F.normalize(k, dim=-1, eps=1e-12)
                q, k, v = (rotate(q, cos, sin, gain), rotate(k, cos, sin, 1 / gain), rotate(v, cos, sin, 1 / gain))
                new_keys.append(torch.cat([keys[i], k], 2))
                new_values.append(torch.cat([values[i], v], 2))
                y = F.scaled_dot_product_attention(
                    q, new_keys[i], new_values[i], attn_mask=bias, scale=10.0 if self.qk_norm else None
                )
            else:
                y = F.scaled_dot_product_attention(q, cross_keys[i - 1], cross_values[i - 1])
            x = x + block.to_out(y.transpose(1, 2).flatten(2))
        logits = self.net.to_logits(self.net.attn_layers.final_norm(x))[:, 0]
        return logits, torch.stack(new_keys), torch.stack(new_values)


# ---- Peers ------------------------------------------------------------------------------------


class Peer:
    """encode(image) -> context; see(context) -> (keys, values); step(...) as Step. Arrays are the runtime's own."""

    def caption(self, images, prompt, count):
        """images [B, 3, S, S] as numpy -> B lists of ids. Pictures are encoded one by one, as in the engine."""
        crosses = [self.see(self.encode(image[None])) for image in images]
        cross_keys, cross_values = (self.join([c[i] for c in crosses]) for i in (0, 1))
        keys, values = self.empty(cross_keys), self.empty(cross_values)
        token, ids = np.full(len(images), prompt, np.int64), []
        for position in range(count):
            logits, keys, values = self.step(token, position, keys, values, cross_keys, cross_values)
            token = np.asarray(logits).argmax(-1)  # the first of equals
            ids.append(token)
        return [[int(t[b]) for t in ids] for b in range(len(images))]

    def join(self, arrays):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, 1)

    def empty(self, like):
        return like[:, :, :, :0]

    def timed_encode(self, images):
        since = time.perf_counter_ns()
        self.encode(images[:1])
        return time.perf_counter_ns() - since

    def timed_caption(self, images, prompt, count):
        since = time.perf_counter_ns()
        ids = self.caption(images, prompt, count)
        return time.perf_counter_ns() - since, ids

    def close(self):
        pass


class Torch(Peer):
    name = f"PyTorch {torch.__version__.split('+')[0]}"

    def __init__(self, model, precision, threads, folder):
        torch.set_num_threads(threads)
        self.model, self.see_module, self.step_module = model, See(model).eval(), Step(model).eval()

    def encode(self, image):
        return self.model.encode(torch.from_numpy(image))

    def see(self, context):
        return self.see_module(context)

    def step(self, token, position, *caches):
        return self.step_module(torch.from_numpy(token), torch.tensor([position]), *caches)

    def join(self, arrays):
        return arrays[0] if len(arrays) == 1 else torch.cat(arrays, 1)


class NoCache(Torch):
    name = Torch.name + ", no cache"

    def caption(self, images, prompt, count):
        return [self.model.greedy(self.encode(image[None]), [prompt], count, stop=False)[0] for image in images]


def examples(model):
    """Example inputs of the three modules, for tracing"""
    c = model.config
    cross = torch.rand(c.decoder_depth, 1, c.decoder_heads, c.patches, HEAD)
    cache = torch.rand(c.decoder_depth, 1, c.decoder_heads, 3, HEAD)
    return {
        "encode": (torch.rand(1, 3, c.image_size, c.image_size),),
        "see": (torch.rand(1, c.patches, c.encoder_dim),),
        "step": (torch.tensor([1]), torch.tensor([3]), cache, cache.clone(), cross, cross.clone()),
    }


class Exported(Peer):
    """A runtime that converted the three modules: run(part, *arrays) -> arrays"""

    def encode(self, image):
        return self.run("encode", image)[0]

    def see(self, context):
        return self.run("see", context)

    def step(self, token, position, *caches):
        return self.run("step", token, np.array([position]), *caches)


class OnnxRuntime(Exported):
    def __init__(self, model, precision, threads, folder):
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        modules = {"encode": model.encoder, "see": See(model).eval(), "step": Step(model).eval()}
        names = {
            "encode": ["image"],
            "see": ["context"],
            "step": ["token", "position", "keys", "values", "cross_keys", "cross_values"],
        }
        outputs = {
            "encode": ["context"],
            "see": ["cross_keys", "cross_values"],
            "step": ["logits", "new_keys", "new_values"],
        }
        axes = {
            "token": {0: "b"},
            "keys": {1: "b", 3: "n"},
            "values": {1: "b", 3: "n"},
            "cross_keys": {1: "b"},
            "cross_values": {1: "b"},
            "logits": {0: "b"},
            "new_keys": {1: "b", 3: "m"},
            "new_values": {1: "b", 3: "m"},
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.sessions, self.names = {}, names
        for part, inputs in examples(model).items():
            path = f"{folder}/{part}.onnx"
            if not os.path.exists(path):
                torch.onnx.export(
                    modules[part],
                    inputs,
                    path,
                    input_names=names[part],
                    output_names=outputs[part],
                    opset_version=17,
                    dynamo=False,
                    dynamic_axes=axes if part == "step" else None,
                )
            if precision == "int8":
                path, whole = f"{folder}/{part}.int8.onnx", path
                if not os.path.exists(path):
                    quantize_dynamic(
                        whole,
                        path,
                        op_types_to_quantize=["MatMul", "Gemm"],
                        per_channel=True,
                        weight_type=QuantType.QInt8,
                    )
            self.sessions[part] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, part, *arrays):
        return self.sessions[part].run(None, dict(zip(self.names[part], arrays)))


class OpenVino(Exported):
    def __init__(self, model, precision, threads, folder):
        import openvino

        if precision == "int8":
            import nncf
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]}"
        modules = {"encode": model.encoder, "see": See(model).eval(), "step": Step(model).eval()}
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        core, self.requests = openvino.Core(), {}
        for part, inputs in examples(model).items():
            shapes = None
            if part == "step":
                cache, cross = list(inputs[2].shape), list(inputs[4].shape)
                cache[1] = cross[1] = cache[3] = -1
                shapes = [[-1], [1], cache, cache, cross, cross]
            converted = openvino.convert_model(
                modules[part], example_input=inputs, input=shapes or [list(x.shape) for x in inputs]
            )
            if precision == "int8":
                inputs = [x.numpy() for x in inputs]
                converted = nncf.quantize(
                    converted, nncf.Dataset([inputs]), subset_size=1, model_type=nncf.ModelType.TRANSFORMER
                )
            self.requests[part] = core.compile_model(converted, "CPU", config).create_infer_request()

    def run(self, part, *arrays):
        results = self.requests[part].infer(list(arrays), share_inputs=True)
        return [np.array(results[i]) for i in range(len(results))]  # the request reuses its memory


class Refused(Exception):
    pass


class Ours:
    """The engine, through the lines of bench_engine --serve"""

    name = "gst-palme"

    def __init__(self, program, model_path, precision, threads, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [program, "--serve", "--precision", precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self.ask(f"load {model_path} {threads}")
        except Refused:
            self.close()
            raise

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.startswith("ok"):
            raise Refused(f"{line}: {answer.strip() or 'no answer'}")
        return answer[2:]

    def files(self, images):
        paths = [f"{self.folder}/image{i}.raw" for i in range(len(images))]
        for path, image in zip(paths, images):
            image.astype("<f4").tofile(path)
        return " ".join(paths)

    def timed_encode(self, images):
        return int(self.ask(f"encode 1 - {self.files(images[:1])}"))

    def timed_caption(self, images, prompt, count):
        ns, *captions = self.ask(f"caption 1 {count} {prompt} {self.files(images)}").split("|")
        return int(ns), [[int(t) for t in caption.split()] for caption in captions]

    def close(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


# ---- The run ----------------------------------------------------------------------------------


def measure(peers, images, prompt, tokens, rounds):
    """(name -> [encode, caption, batch], each a list of ns; name -> the ids of its captions in each turn)"""
    times, ids = {p.name: [[], [], []] for p in peers}, {}
    for turn in range(rounds + 1):  # the first one warms up
        for p in peers:
            if isinstance(p, NoCache) and turn > 3:  # it is slow, and three turns are enough
                continue
            time.sleep(PAUSE)
            found = [p.timed_encode(images), *(p.timed_caption(images[:n], prompt, tokens) for n in (1, len(images)))]
            ids.setdefault(p.name, []).append((found[1][1], found[2][1]))
            if turn:
                for list_, ns in zip(times[p.name], (found[0], found[1][0], found[2][0])):
                    list_.append(ns)
    return times, ids


def differing(ids):
    """Names of the peers whose ids differ from those of the first peer in any turn. Prints them."""
    _, wanted = next(iter(ids.values()))[0]
    names = [name for name, turns in ids.items() if any(said != (wanted[:1], wanted) for said in turns)]
    for name in names:
        print(f"{name} has the ids {ids[name][-1]}, wanted {wanted}")
    return names


def show(times, precision, threads):
    ours = times.get(Ours.name)
    print(
        f"\n{precision}, {threads} thread{'s' if threads > 1 else ''}, median (smallest) in ms, and the ratio to "
        f"{Ours.name}:\n"
    )
    print(f"| | encoder | | one caption | | {TOGETHER} captions together | |\n|---|---|---|---|---|---|---|")
    for name, columns in times.items():
        cells = [f"{statistics.median(c) / 1e6:.1f} ({min(c) / 1e6:.1f})" for c in columns]
        ratio = [""] * 3
        if ours:
            ratio = [f"{statistics.median(c) / statistics.median(o):.2f}x" for c, o in zip(columns, ours)]
        print(f"| {name} | " + " | ".join(f"{c} | {r}" for c, r in zip(cells, ratio)) + " |", flush=True)


# Which peers are timed for each precision of ours, and in which precision.
PEERS = {
    "f32": [(Torch, "f32"), (OnnxRuntime, "f32"), (OpenVino, "f32"), (NoCache, "f32")],
    "bf16": [(OpenVino, "f32"), (NoCache, "f32")],
    "int8": [(OnnxRuntime, "int8"), (OpenVino, "int8"), (OpenVino, "f32"), (NoCache, "f32")],
}


def gather(args, path, model, precision, threads, folder):
    """The peers that can be run here, ours first"""
    peers = []
    for kind, own in [(Ours, precision), *PEERS[precision]]:
        try:
            if kind is Ours:
                peers.append(Ours(args.bench_engine, path, precision, threads, folder))
            else:
                peers.append(kind(model, own, threads, folder))
                if own != precision:
                    peers[-1].name += f", {own}"
        except (ImportError, Refused) as reason:
            print(f"{kind.__name__} in {own} is left out: {reason}")
    return peers


# ---- Captioners of transformers ---------------------------------------------------------------

# (kind of hf_peers.py, its precision there, what it is called) for each precision of ours.
FULL_PEERS = {
    "f32": [("torch", "f32", ""), ("onnxruntime", "f32", ""), ("openvino", "f32", "")],
    "bf16": [("openvino", "f32", ", f32")],
    "int8": [
        ("onnxruntime", "int8", ", int8"),
        ("openvino", "int8", ", int8"),
        ("openvino", "int8w", ", int8, of a step the weights alone"),
        ("openvino", "f32", ", f32"),
    ],
}


FULL = ["blip_base", "git_base", "vit_gpt2"]  # those of full_size.py


class OursInFull:
    """The engine, with the methods of hf_peers.Process"""

    def __init__(self, program, model_path, begin, precision, threads, folder):
        self.ours, self.begin, self.name = Ours(program, model_path, precision, threads, folder), begin, Ours.name

    def encode(self, image):
        return int(self.ours.ask(f"encode 1 - {image}"))

    def caption(self, image, count):
        ns, ids = self.ours.ask(f"caption 1 {count} {self.begin} {image}").split("|")
        return int(ns), [int(t) for t in ids.split()]

    def memory(self):
        status = Path(f"/proc/{self.ours.process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def close(self):
        self.ours.close()


def measure_in_full(peers, image, tokens, rounds):
    """name -> {encode, caption: lists of ns, ids: those of each turn, memory: bytes}"""
    found = {p.name: {"encode": [], "caption": [], "ids": []} for p in peers}
    for turn in range(rounds + 1):  # the first one warms up
        for p in peers:
            time.sleep(PAUSE)
            encode, (caption, ids) = p.encode(image), p.caption(image, tokens)
            found[p.name]["ids"].append(ids)
            if turn:
                found[p.name]["encode"].append(encode)
                found[p.name]["caption"].append(caption)
    for p in peers:
        found[p.name]["memory"] = p.memory()
    return found


def show_in_full(found, name, precision, threads, tokens):
    ours = found[Ours.name]
    print(
        f"\n{name}, {precision}, {threads} thread{'s' if threads > 1 else ''}, caption of {tokens} tokens, median ",
        end="",
    )
    print(f"(smallest) in ms, and the ratio to {Ours.name}; peak memory of the process in MB:\n")
    print("| | encoder | | one caption | | memory | |\n|---|---|---|---|---|---|---|")
    for peer, row in found.items():
        cells = []
        for what in ("encode", "caption"):
            ratio = statistics.median(row[what]) / statistics.median(ours[what])
            cells += [f"{statistics.median(row[what]) / 1e6:.0f} ({min(row[what]) / 1e6:.0f})", f"{ratio:.2f}x"]
        cells += [f"{row['memory'] / 1e6:.0f}", f"{row['memory'] / ours['memory']:.2f}x"]
        print(f"| {peer} | " + " | ".join(cells) + " |", flush=True)


def full_model(folder, name):
    """(the folder of transformers, the file of ours), made unless they are there."""
    from models.bench import full_size

    source, path = full_size.write(folder, name), Path(folder) / f"{name}.safetensors"
    if not path.exists():
        importer = ROOT / "models/convert/import_hf.py"
        subprocess.run([sys.executable, importer, source, path], check=True, stdout=subprocess.DEVNULL)
    return source, path


def gather_in_full(args, source, path, precision, threads, missing):
    from models.bench import hf_peers

    peers = [OursInFull(args.bench_engine, path, hf_peers.begin_of(source), precision, threads, args.folder)]
    for kind, own, called in FULL_PEERS[precision]:
        if kind in missing:
            continue
        try:
            peers.append(hf_peers.Process(kind, source, f"{source}.exported", own, threads))
            peers[-1].name += called
        except ImportError as reason:
            print(f"{kind} in {own} is left out: {reason}")
    return peers


def compare_in_full(args):
    """Names of the models for which ids in f32 differ."""
    from models.bench import hf_peers

    different = []
    for name in args.full:
        source, path = full_model(args.folder, name)
        missing = dict(hf_peers.export(source, f"{source}.exported", ("onnxruntime", "openvino")))
        for kind, reason in missing.items():
            print(f"{kind} is left out: {reason}")
        side = 384 if name == "blip_base" else 224
        image = Path(args.folder) / f"image{side}.raw"
        np.random.default_rng(1).random((3, side, side), np.float32).astype("<f4").tofile(image)
        print(f"\n{name}: the file has {path.stat().st_size / 1e6:.0f} MB")
        for precision in args.precisions:
            for threads in args.threads:
                peers = gather_in_full(args, source, path, precision, threads, missing)
                found = measure_in_full(peers, image, args.tokens, args.rounds)
                show_in_full(found, name, precision, threads, args.tokens)
                wanted = found[Ours.name]["ids"][0]
                for peer, row in found.items():
                    if precision == "f32" and any(ids != wanted for ids in row["ids"]):
                        print(f"{peer} has the ids {row['ids'][-1]}, wanted {wanted}")
                        different.append(name)
                for p in peers:
                    p.close()
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_engine", metavar="BENCH_ENGINE", help="program of a build")
    parser.add_argument(
        "--model", metavar="FILE", help="model file; default: the default configuration, random weights"
    )
    parser.add_argument(
        "--full",
        nargs="*",
        metavar="NAME",
        choices=FULL,
        help="time these captioners of transformers; without a name all of them",
    )
    parser.add_argument("--folder", help="for --full: where models are kept; default: build/full_size")
    parser.add_argument(
        "--precisions", nargs="+", default=list(PEERS), choices=list(PEERS), help="of the engine; default: all"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads; default 1 2")
    parser.add_argument("--rounds", type=int, default=9, help="measured turns of each peer; default 9")
    parser.add_argument("--tokens", type=int, help="tokens of a caption; default 16, with --full 20")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # the exporters warn about shapes that are constant
    logging.disable(logging.WARNING)
    args.full = args.full if args.full is None or args.full else FULL
    args.tokens = args.tokens or (16 if args.full is None else 20)
    args.folder = args.folder or str(ROOT / "build" / "full_size")
    different = compare_small(args) if args.full is None else compare_in_full(args)
    if "f32" in args.precisions:
        print("\nThe f32 ids differ." if different else "\nAll f32 captions have the same ids.")
    return 1 if different else 0


def compare_small(args):
    """Names of the peers whose ids in f32 differ, for a model file of ours."""
    different = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = args.model
        if path is None:
            path = f"{folder}/model.safetensors"
            described = ROOT / "tests/data/golden/default_size"
            subprocess.run([sys.executable, ROOT / "tests/fixtures/generate.py", described, path], check=True)
        model = modelfile.load(path)
        config, random = model.config, np.random.default_rng(1)
        images = random.random((TOGETHER, 3, config.image_size, config.image_size), np.float32)
        for precision in args.precisions:
            for threads in args.threads:
                peers = gather(args, path, model, precision, threads, folder)
                if not peers:
                    continue
                times, ids = measure(peers, images, config.bos_token, args.tokens, args.rounds)
                show(times, precision, threads)
                if precision == "f32":
                    different += differing(ids)
                for p in peers:
                    p.close()
                del peers, p
                gc.collect()
    return different


if __name__ == "__main__":
    sys.exit(main())
