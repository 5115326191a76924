#!/usr/bin/env python3
"""The same work in PyTorch, and where they are installed in flashinfer and transformers: what gpu_kernels' figures compare to.

    bench/gpu/compare_torch.py [--json FILE]

Times are by CUDA events. Ops are captured into a CUDA graph as gpu_kernels does it, with operands that rotate through more
memory than the L2 holds where those are read from DRAM; what cannot be captured says "eager".
"""
import argparse
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

COLD_BYTES = 192 << 20
MOST_COPIES = 64
json_file = None
table = ""


def begin(name, note):
    global table
    table = name
    print(f"\n### {name}\n\n{note}\n\n| what | value | unit | remark |\n|---|---:|---|---|", flush=True)


def result(what, value, unit, remark=""):
    print(f"| {what} | {value:.4g} | {unit} | {remark} |", flush=True)
    if json_file:
        number = value if math.isfinite(value) else None
        json_file.write(json.dumps({"table": table, "what": what, "value": number, "unit": unit, "remark": remark}) + "\n")
        json_file.flush()


def failed(what, error):
    result(what, math.nan, "us", f"{type(error).__name__}: {error}".replace("|", "/").replace("\n", " ")[:120])


def events_us(run, count, rounds=11):
    """Median microseconds of one of `count` calls."""
    for _ in range(2):
        run()
    times = []
    for _ in range(rounds):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3 / count)
    return sorted(times)[len(times) // 2]


def graph_us(work, count):
    """One of `count` calls work(i) in a captured graph."""
    for i in range(count):
        work(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            work(i)
    return events_us(graph.replay, count)


def eager_us(work, count=10):
    return events_us(lambda: [work(i) for i in range(count)], count)


def copies_of(size):
    return max(1, min(MOST_COPIES, COLD_BYTES // int(size) + 1))


def randn(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def measure(what, work, count, remark):
    note = ""
    try:
        try:
            us = graph_us(work, count)
        except RuntimeError:
            us, note = eager_us(work), ", eager"
        result(what, us, "us", remark(us) + note)
    except Exception as error:  # one op that is not there must not end the comparison
        failed(what, error)


def compare_linear():
    begin("torch linear", "bf16 torch.mm, weights from DRAM.")
    for name, N, K in (("124M qkv", 2304, 768), ("124M down", 768, 3072), ("8B qkv", 6144, 4096),
                       ("8B gate up", 28672, 4096), ("8B down", 4096, 14336)):
        for T in (1, 16, 64, 2048):
            copies = copies_of(2 * N * K) if T <= 64 else 1
            weights = [randn(N, K) for _ in range(copies)]
            x, out = randn(T, K), randn(T, N)
            measure(f"{name} T={T}", lambda i: torch.mm(x, weights[i % copies].t(), out=out), max(copies, 16),
                    lambda us: f"{2 * N * K / us * 1e-3:.0f} GB/s, {2 * T * N * K / us * 1e-6:.0f} TFLOP/s")


def compare_attention():
    begin("torch attention", "bf16 scaled_dot_product_attention. Decode on a contiguous cache, one length for all.")
    for name, H, Hkv, Dh in (("124M", 12, 12, 64), ("XL", 25, 25, 64), ("8B", 32, 8, 128)):
        gqa = {"enable_gqa": True} if H != Hkv else {}
        for S, length in ((1, 128), (1, 512), (1, 2048), (1, 8192), (64, 512), (256, 512)):
            size = 4 * S * length * Hkv * Dh
            copies = copies_of(size)
            q = randn(S, H, 1, Dh)
            kv = [(randn(S, Hkv, length, Dh), randn(S, Hkv, length, Dh)) for _ in range(copies)]
            measure(f"decode {name} S={S} at {length}",
                    lambda i: F.scaled_dot_product_attention(q, *kv[i % copies], **gqa), max(copies, 8),
                    lambda us: f"{size / us * 1e-3:.0f} GB/s")
        for T in (512, 2048, 8192):
            q, k, v = randn(1, H, T, Dh), randn(1, Hkv, T, Dh), randn(1, Hkv, T, Dh)
            measure(f"prefill {name} T={T}", lambda i: F.scaled_dot_product_attention(q, k, v, is_causal=True, **gqa), 2,
                    lambda us: f"{2 * H * Dh * T * T / us * 1e-6:.0f} TFLOP/s")


def compare_rows():
    begin("torch rows", "bf16 rows; ours read the residual stream in fp32.")
    for T in (1, 64, 2048):
        for D in (768, 4096):
            x, w, b = randn(T, D), randn(D), randn(D)
            measure(f"layer norm D={D} T={T}", lambda i: F.layer_norm(x, (D,), w, b), 50,
                    lambda us: f"{4 * T * D / us * 1e-3:.0f} GB/s")
        x = randn(T, 14336)
        measure(f"gelu tanh F=14336 T={T}", lambda i: F.gelu(x, approximate="tanh"), 50,
                lambda us: f"{4 * T * 14336 / us * 1e-3:.0f} GB/s")


def torch_sample(logits, top_k, top_p):
    """Top-k, top-p and a draw the usual way: sort, cut, softmax, cumulative sum, cut, draw."""
    values, ids = logits.sort(dim=-1, descending=True)
    if top_k:
        values[:, top_k:] = -math.inf
    probs = values.softmax(dim=-1)
    if top_p < 1:
        probs[probs.cumsum(dim=-1) - probs > top_p] = 0
    return ids.gather(1, torch.multinomial(probs, 1))


def compare_sample():
    begin("torch sample", "fp32 logits, V = 128256, standard normal rows.")
    try:
        import flashinfer
    except ImportError:
        flashinfer = None
    for B in (1, 64, 512):
        logits = torch.randn(B, 128256, device="cuda")
        for name, top_k, top_p in (("no filter", 0, 1.0), ("top_k 50, top_p 0.95", 50, 0.95), ("top_p 0.95", 0, 0.95)):
            what = f"{name}, {B} rows"
            try:
                us = eager_us(lambda _: torch_sample(logits, top_k, top_p), 3)
                result(f"torch {what}", us, "us", "eager")
            except Exception as error:
                failed(f"torch {what}", error)
            if not flashinfer:
                continue
            try:
                if top_k:
                    us = eager_us(lambda _: flashinfer.sampling.top_k_top_p_sampling_from_logits(logits, top_k, top_p))
                elif top_p < 1:
                    us = eager_us(lambda _: flashinfer.sampling.top_p_sampling_from_probs(logits.softmax(-1), top_p))
                else:
                    us = eager_us(lambda _: flashinfer.sampling.sampling_from_probs(logits.softmax(-1)))
                result(f"flashinfer {what}", us, "us", "eager, softmax included")
            except Exception as error:
                failed(f"flashinfer {what}", error)


def compare_generate():
    begin("transformers", "generate() of GPT-2 124M with random bf16 weights, greedy.")
    try:
        import transformers
    except ImportError:
        result("generate", math.nan, "tok/s", "transformers is not installed")
        return
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).to("cuda", torch.bfloat16).eval()
    for batch, tokens in ((1, 128), (64, 64)):
        prompt = torch.randint(0, 50257, (batch, 16), device="cuda")
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        try:
            with torch.inference_mode():
                model.generate(prompt, **{**options, "max_new_tokens": 8, "min_new_tokens": 8})
                torch.cuda.synchronize()
                start = time.perf_counter()
                model.generate(prompt, **options)
                torch.cuda.synchronize()
            result(f"generate, {batch} rows", batch * tokens / (time.perf_counter() - start), "tok/s")
        except Exception as error:
            failed(f"generate, {batch} rows", error)


def main():
    global json_file
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", help="append the rows to this file, a JSON object a line")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU that PyTorch can use", file=sys.stderr)
        return 1
    if args.json:
        json_file = open(args.json, "a", encoding="utf-8")
    print(f"\nPyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    with torch.no_grad():
        for compare in (compare_sample, compare_attention, compare_generate, compare_linear, compare_rows):
            compare()
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
