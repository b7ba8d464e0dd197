# SPDX-License-Identifier: LGPL-2.1-or-later
"""hf_peers.py - captioners of transformers in other runtimes: what bench_peers.py --full times.

Each runtime is a process of its own that answers lines, so that its memory and its threads are its own:

    python models/bench/hf_peers.py KIND FOLDER EXPORTED PRECISION THREADS

KIND is torch, onnxruntime or openvino; FOLDER a folder of full_size.py; EXPORTED a folder with what `export` wrote. The
lines are "encode IMAGE" and "caption N IMAGE", answered by nanoseconds and ids, and "memory", by the most bytes that
the process ever had.

How each is set up. PyTorch is transformers as it comes: `generate`, its cache, sdpa. The others get the three modules
of hf_modules.py. ONNX Runtime fuses attention, norms and GELU with its own optimizer where that knows the graph, and
quantises dynamically for int8. OpenVINO keeps the cache inside as a state and fuses attention with it; int8 is NNCF's
quantisation of weights and activations, calibrated with noise; int8w takes of a step, which waits for memory, the
weights alone.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import logging
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

PARTS = ("encode", "see", "step")


def kind_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())["model_type"]


def begin_of(folder):
    """The token before the first of a caption. Some versions of transformers leave defaults out of config.json."""
    config = json.loads((Path(folder) / "config.json").read_text())
    return {
        "blip": lambda: config["text_config"].get("bos_token_id", 30522),
        "git": lambda: config.get("bos_token_id", 101),
        "vision-encoder-decoder": lambda: config["decoder_start_token_id"],
    }[config["model_type"]]()


def pixels_of(folder, image):
    """Pixels of 0..1 as the folder's processor scales them. What is timed begins behind it."""
    scaling = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    mean, std = (np.asarray(scaling[key], np.float32).reshape(3, 1, 1) for key in ("image_mean", "image_std"))
    return ((image - mean) / std)[None]


def load_model(folder, hf, torch):
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    classes = {
        "vision-encoder-decoder": hf.VisionEncoderDecoderModel,
        "blip": hf.BlipForConditionalGeneration,
        "git": hf.GitForCausalLM,
    }
    return classes[kind_of(folder)].from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()


def names_of(sizes):
    """(part -> names of inputs, part -> names of outputs)"""
    pairs = [f"{what}_{i}" for i in range(sizes["layers"]) for what in ("key", "value")]
    crosses = ["cross_" + name for name in pairs] if sizes["cross"] else []
    inputs = {"encode": ["pixels"], "see": ["context"], "step": ["token", "position", *pairs, *crosses]}
    outputs = {"encode": ["context"], "see": crosses or pairs, "step": ["logits", *("new_" + name for name in pairs)]}
    return inputs, outputs


def examples_of(sizes, torch):
    def cache(n):
        return [torch.rand(1, sizes["heads"], n, sizes["head"]) for _ in range(2 * sizes["layers"])]

    text = cache(3 if sizes["cross"] else sizes["tokens"] + 3)
    return {
        "encode": (torch.rand(1, 3, sizes["side"], sizes["side"]),),
        "see": (torch.rand(1, sizes["tokens"], sizes["width"]),),
        "step": (torch.tensor([7]), torch.tensor([3]), *text, *(cache(sizes["tokens"]) if sizes["cross"] else [])),
    }


# ---- Exporting, once for a folder ---------------------------------------------------------------


def export(folder, target, runtimes):
    """Writes what the runtimes load, unless it is there. Their packages may be missing: (runtime, reason) then."""
    target, missing = Path(target), []
    target.mkdir(parents=True, exist_ok=True)
    todo = [(name, write) for name, write in (("onnxruntime", write_onnx), ("openvino", write_openvino))]
    todo = [(n, w) for n, w in todo if n in runtimes and not (target / f"{n}.done").exists()]
    if not todo:
        return missing
    import torch
    import transformers as hf

    from models.bench import hf_modules  # with torch, which the processes of the other runtimes do without

    with torch.no_grad():  # not inference_mode, in whose tensors nothing can be traced
        modules, sizes = hf_modules.modules_of(load_model(folder, hf, torch), kind_of(folder))
        (target / "sizes.json").write_text(json.dumps(sizes))
        for name, write in todo:
            try:
                write(modules, sizes, target, torch)
            except ImportError as reason:
                missing.append((name, str(reason)))
                continue
            (target / f"{name}.done").touch()
    return missing


def write_onnx(modules, sizes, target, torch):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    (inputs, outputs), given = names_of(sizes), examples_of(sizes, torch)
    for part in PARTS:
        path, fused, small = (str(target / f"{part}{end}.onnx") for end in (".plain", ".f32", ".int8"))
        axes = {}
        if part == "step":
            axes = {name: {2: "n"} for name in inputs["step"][2:] if not name.startswith("cross")}
            axes |= {name: {2: "m"} for name in outputs["step"][1:]}
        torch.onnx.export(
            modules[part],
            given[part],
            path,
            input_names=inputs[part],
            output_names=outputs[part],
            opset_version=17,
            dynamo=False,
            dynamic_axes=axes,
        )
        kind = "vit" if part == "encode" else "bert"
        model = optimize_model(path, kind, num_heads=sizes["heads"], hidden_size=0, opt_level=1)
        model.save_model_to_file(fused)
        onnx.checker.check_model(path)
        quantize_dynamic(
            fused,
            small,
            op_types_to_quantize=["MatMul", "Gemm", "Attention"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # behind nodes that onnx does not know
        )
        Path(path).unlink()


def write_openvino(modules, sizes, target, torch):
    import nncf
    import openvino as ov

    (inputs, _), given = names_of(sizes), examples_of(sizes, torch)
    for part in PARTS:
        shapes = [list(x.shape) for x in given[part]]
        if part == "step":
            for name, shape in zip(inputs[part], shapes):
                if name.startswith(("key", "value")):
                    shape[2] = -1
        model = ov.convert_model(modules[part], example_input=given[part], input=shapes)
        for port, name in zip(model.inputs, inputs[part]):
            port.get_tensor().set_names({name})
        ov.save_model(model, target / f"{part}.f32.xml", compress_to_fp16=False)
        core = ov.Core()
        plain = core.read_model(target / f"{part}.f32.xml")
        whole = nncf.quantize(
            plain,
            nncf.Dataset([[x.numpy() for x in given[part]]]),
            subset_size=1,
            model_type=nncf.ModelType.TRANSFORMER,
        )
        ov.save_model(whole, target / f"{part}.int8.xml", compress_to_fp16=False)
        weights = nncf.compress_weights(core.read_model(target / f"{part}.f32.xml"))
        ov.save_model(weights, target / f"{part}.weights8.xml", compress_to_fp16=False)


# ---- The runtimes -------------------------------------------------------------------------------


class Torch:
    def __init__(self, folder, exported, precision, threads):
        import torch
        import transformers as hf

        torch.set_num_threads(threads)
        self.torch, self.kind, self.begin = torch, kind_of(folder), begin_of(folder)
        self.name = f"PyTorch {torch.__version__.split('+')[0]}, transformers {hf.__version__}"
        self.model = load_model(folder, hf, torch)
        self.vision = {
            "blip": lambda m: m.vision_model,
            "git": lambda m: m.git.image_encoder,
            "vision-encoder-decoder": lambda m: m.encoder,
        }[self.kind](self.model)

    def encode(self, pixels):
        with self.torch.inference_mode():
            self.vision(pixel_values=self.torch.from_numpy(pixels))

    def caption(self, pixels, count):
        torch = self.torch
        ids = torch.tensor([[self.begin]])
        given = {
            "blip": lambda: {"input_ids": torch.tensor([[self.begin, self.model.config.text_config.sep_token_id]])},
            "git": lambda: {"input_ids": ids},
            "vision-encoder-decoder": lambda: {"decoder_input_ids": ids},
        }[self.kind]()
        with torch.inference_mode():
            out = self.model.generate(
                pixel_values=torch.from_numpy(pixels),
                max_new_tokens=count,
                min_new_tokens=count,
                num_beams=1,
                do_sample=False,
                **given,
            )
        return out[0, -count:].tolist()


class Exported:
    """encode(pixels), see(context) and step(token, position) by a runtime, in three parts."""

    def caption(self, pixels, count):
        self.see(self.encode(pixels))
        token, ids = self.begin, []
        for position in range(count):
            token = int(self.step(token, position).argmax())
            ids.append(token)
        return ids


class OnnxRuntime(Exported):
    def __init__(self, folder, exported, precision, threads):
        import onnxruntime

        self.begin, self.name = begin_of(folder), f"ONNX Runtime {onnxruntime.__version__}"
        self.sizes = json.loads((Path(exported) / "sizes.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.parts = {
            part: onnxruntime.InferenceSession(
                f"{exported}/{part}.{precision}.onnx", options, providers=["CPUExecutionProvider"]
            )
            for part in PARTS
        }
        self.inputs, _ = names_of(self.sizes)

    def encode(self, pixels):
        return self.parts["encode"].run(None, {"pixels": pixels})[0]

    def see(self, context):
        found = self.parts["see"].run(None, {"context": context})
        empty = np.zeros((1, self.sizes["heads"], 0, self.sizes["head"]), np.float32)
        self.cross = found if self.sizes["cross"] else []
        self.own = [empty] * len(found) if self.sizes["cross"] else found

    def step(self, token, position):
        given = [np.array([token], np.int64), np.array([position], np.int64), *self.own, *self.cross]
        logits, *self.own = self.parts["step"].run(None, dict(zip(self.inputs["step"], given)))
        return logits


class OpenVino(Exported):
    def __init__(self, folder, exported, precision, threads):
        import openvino as ov
        from openvino._offline_transformations import apply_make_stateful_transformation

        self.begin, self.name = begin_of(folder), f"OpenVINO {ov.__version__.split('-')[0]}"
        self.sizes = json.loads((Path(exported) / "sizes.json").read_text())
        inputs, _ = names_of(self.sizes)
        self.own = [name for name in inputs["step"] if name.startswith(("key", "value"))]
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "KV_CACHE_PRECISION": "f32",
        }
        core, self.parts = ov.Core(), {}
        for part in PARTS:
            step = {"int8w": "weights8"}.get(precision, precision)
            name = step if part == "step" else "int8" if precision == "int8w" else precision
            model = core.read_model(f"{exported}/{part}.{name}.xml")
            if part == "step":
                for port, new in zip(model.outputs[1:], self.own):
                    port.get_tensor().set_names({"new_" + new})
                apply_make_stateful_transformation(model, {new: "new_" + new for new in self.own})
                self.rest = [port.get_any_name() for port in model.inputs]
            self.parts[part] = core.compile_model(model, "CPU", config).create_infer_request()
        self.ov = ov

    def encode(self, pixels):
        return self.parts["encode"].infer([pixels], share_inputs=True, share_outputs=True)[0]

    def see(self, context):
        found = self.parts["see"].infer([context], share_inputs=True, share_outputs=True)
        found = [found[i] for i in range(2 * self.sizes["layers"])]
        request = self.parts["step"]
        request.reset_state()
        if self.sizes["cross"]:
            for name, x in zip(("cross_" + name for name in self.own), found):
                request.set_tensor(name, self.ov.Tensor(x, shared_memory=True))
            self.kept = found
            return
        for state in request.query_state():
            name = next(n for n in sorted(self.own, key=len, reverse=True) if state.name.startswith(n))
            state.state = self.ov.Tensor(found[self.own.index(name)])

    def step(self, token, position):
        request = self.parts["step"]
        request.set_tensor("token", self.ov.Tensor(np.array([token], np.int64)))
        request.set_tensor("position", self.ov.Tensor(np.array([position], np.int64)))
        request.infer()
        return request.get_output_tensor(0).data


KINDS = {"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def serve(kind, folder, exported, precision, threads):
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    peer, images = KINDS[kind](folder, exported, precision, int(threads)), {}
    print("ok", peer.name, flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "memory":
            print("ok", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            continue
        if rest[-1] not in images:
            side = round((Path(rest[-1]).stat().st_size // 12) ** 0.5)
            images[rest[-1]] = pixels_of(folder, np.fromfile(rest[-1], "<f4").reshape(3, side, side))
        since = time.perf_counter_ns()
        ids = peer.encode(images[rest[-1]]) if word == "encode" else peer.caption(images[rest[-1]], int(rest[0]))
        ns = time.perf_counter_ns() - since
        print("ok", ns, *(ids if word == "caption" else []), flush=True)
    return 0


# ---- What bench_peers.py sees of them -----------------------------------------------------------


class Process:
    """A runtime in its process."""

    def __init__(self, kind, folder, exported, precision, threads):
        program = [sys.executable, __file__, kind, str(folder), str(exported), precision, str(threads)]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = " ".join(self.answer()[0:])

    def answer(self):
        while line := self.process.stdout.readline():
            if line.startswith("ok"):  # whatever else a runtime prints
                return line.split()[1:]
        raise ImportError("it ended; what it said is above")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def encode(self, image):
        return int(self.ask(f"encode {image}")[0])

    def caption(self, image, count):
        ns, *ids = map(int, self.ask(f"caption {count} {image}"))
        return ns, ids

    def memory(self):
        return int(self.ask("memory")[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder")
    parser.add_argument("exported")
    parser.add_argument("precision")
    parser.add_argument("threads")
    options = parser.parse_args()
    return serve(options.kind, options.folder, options.exported, options.precision, options.threads)


if __name__ == "__main__":
    sys.exit(main())
