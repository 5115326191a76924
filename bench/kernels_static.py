#!/usr/bin/env python3
"""What can be told about the CUDA kernels without a GPU.

    bench/kernels_static.py [--cache DIR] [--arch 80,90] [--jobs 2] [--json FILE] [--program build/release/tempera]

Compiles every kernels/*.cu to a cubin for each architecture and prints Markdown: for each kernel instantiation registers,
shared memory, stack, spills and how many warps of it an SM holds; then, for the shapes of src/model/random.c, what a decode
step reads and computes, the least time that takes, and how many kernels it launches. Results are cached by content, so a
second run takes no time. Exit status 1 when a hot kernel spills or has a stack frame, or when --program
launches another number of kernels than is listed here; 2 when nvcc fails.

Needs python3 and nvcc, and nothing else.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Kernels of the token path, as patterns of "file:kernel". A spill or a stack frame in one of them fails the report. Not
# among them: heads wider than 128 and fp32 attention, which are there to be right; packing and random weights, which run
# at load; and what the sampler's short lists cannot decide.
HOT = [
    r"linear[a-z_0-9]*:.*",
    r"attention[a-z_0-9]*:(?!.*\bfloat\b)(?!.*\b256\b).*",
    r"norm:.*",
    r"gate:.*",
    r"operand:.*",
    r"embed:.*",
    r"rope_store:.*",
    r"sample:(scan|draw)\b.*",
    r"measure:.*",
]

# Dynamic shared memory of kernels that have some, as their launchers compute it: a pattern of "file:kernel", and bytes from
# its groups. (rope_store's depends on the shape, and is small.)
DYNAMIC = [
    (r"linear_tile:tile<\w+, (\d+), (\d+), .*", lambda BM, BN: 3 * (int(BM) + int(BN)) * 128),
    (r"attention_prefill:prefill<(\w+), (\d+)>", lambda T, W: prefill_bytes(4 if T == "float" else 2, int(W))),
    (r"sample:draw", lambda: 4144 + 4 * 4096 * 4 + 16),
]


def prefill_bytes(size, W):
    """struct prefill_shape of kernels/attention_prefill.cu."""
    split, warps = (2 if W > 128 else 1), (8 if size == 2 else 4)
    piece = max(64 * round_up(W * size // 16, 4), W * 64 * size // 16)
    slots = 4 if piece <= 1024 else 2 if piece <= 2048 else 1
    block = 64 // size
    query = warps // split * (round_up(W, block) // block) * 64 if W * size > 256 else 0
    return (slots * piece + query) * 16


# Per SM, from the tables of the CUDA programming guide: registers, warps, blocks, bytes of shared memory, bytes of it that
# each block costs besides its own.
LIMITS = {
    80: {"registers": 65536, "warps": 64, "blocks": 32, "shared": 164 * 1024, "reserved": 1024},
    86: {"registers": 65536, "warps": 48, "blocks": 16, "shared": 100 * 1024, "reserved": 1024},
    89: {"registers": 65536, "warps": 48, "blocks": 24, "shared": 100 * 1024, "reserved": 1024},
    90: {"registers": 65536, "warps": 64, "blocks": 32, "shared": 228 * 1024, "reserved": 1024},
    100: {"registers": 65536, "warps": 64, "blocks": 32, "shared": 228 * 1024, "reserved": 1024},
    120: {"registers": 65536, "warps": 48, "blocks": 32, "shared": 100 * 1024, "reserved": 1024},
}

DEVICES = {"H100": 3.35e12, "H200": 4.8e12}  # bytes/s that the data sheets state
ROOFLINE_CONTEXTS = (0, 512, 2048)
CACHE_FORMAT = 1  # of what is kept about a compiled file

# ---- compiling -------------------------------------------------------------------------------------------------------


def included(path, seen):
    """The file and all files of the checkout that it includes."""
    seen.add(path)
    for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.MULTILINE):
        for folder in (path.parent, ROOT, ROOT / "src"):
            file = (folder / name).resolve()
            if file.is_file():
                if file not in seen:
                    included(file, seen)
                break
    return seen


def fingerprint(source, flags, nvcc_version):
    """Of everything that the cubin depends on."""
    digest = hashlib.sha256(f"{CACHE_FORMAT} {flags} {nvcc_version}".encode())
    for path in sorted(included(source, set())):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def parse_ptxas(text):
    """{mangled name: resources} from what ptxas -v says."""
    kernels = {}
    current = None
    for line in text.splitlines():
        if match := re.search(r"Function properties for (\S+)", line):
            current = kernels.setdefault(match.group(1), {})
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if current is not None:
                current.update(zip(("stack", "spill_stores", "spill_loads"), map(int, match.groups())))
        elif match := re.search(r"Used (\d+) registers", line):
            if current is not None:
                shared = re.search(r"(\d+) bytes smem", line)
                barriers = re.search(r"used (\d+) barriers", line)
                current["registers"] = int(match.group(1))
                current["shared"] = int(shared.group(1)) if shared else 0
                current["barriers"] = int(barriers.group(1)) if barriers else 0
            current = None
    return {name: k for name, k in kernels.items() if "registers" in k}


def parse_ptx(text):
    """{mangled name: threads of a block at most} from the directives that __launch_bounds__ leaves."""
    bounds = {}
    for match in re.finditer(r"\.entry (\w+)\s*\((?:[^{;]|;(?!\n\.))*?\)([^{]*)\{", text):
        threads = re.search(r"\.(?:maxntid|reqntid) (\d+)", match.group(2))
        bounds[match.group(1)] = int(threads.group(1)) if threads else 1024
    return bounds


def compile_kernels(nvcc, source, arch, flags):
    with tempfile.TemporaryDirectory(prefix="kernels-static-") as folder:
        command = [nvcc, "-cubin", f"-arch=sm_{arch}", *flags.split(), f"-I{ROOT}", f"-I{ROOT / 'src'}",
                   f"-I{ROOT / 'kernels'}", "-Xptxas", "-v", "--keep", "--keep-dir", folder,
                   "-o", f"{folder}/{source.stem}.cubin", str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{source.name} for sm_{arch}:\n{done.stderr or done.stdout}")
        kernels = parse_ptxas(done.stderr + done.stdout)
        bounds = parse_ptx((pathlib.Path(folder) / f"{source.stem}.ptx").read_text())
    for name, k in kernels.items():
        k["threads"] = bounds.get(name, 1024)
    return {name: k for name, k in kernels.items() if name in bounds}


def cached_kernels(nvcc, version, cache, source, arch, flags):
    key = fingerprint(source, f"{arch} {flags}", version)
    path = cache / f"{source.stem}.sm_{arch}.json"
    try:
        stored = json.loads(path.read_text())
        if stored["key"] == key:
            return stored["kernels"]
    except (OSError, ValueError, KeyError):
        pass
    kernels = compile_kernels(nvcc, source, arch, flags)
    path.write_text(json.dumps({"key": key, "kernels": kernels}))
    return kernels


# ---- names and occupancy ---------------------------------------------------------------------------------------------


def demangle(names):
    if not names or not shutil.which("c++filt"):
        return dict(zip(names, names))
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, text.splitlines()))


def readable(name):
    """void (anonymous namespace)::norm<(int)4, (bool)1, __half>(norm_args) -> norm<4, true, f16>"""
    name = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+?::|_INTERNAL_\w+?::|_NV_ANON_NAMESPACE::", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, c in enumerate(name):  # the parameters start at the first parenthesis outside the template's arguments
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            name = name[:i]
            break
    name = re.sub(r"\(bool\)1", "true", name)
    name = re.sub(r"\(bool\)0", "false", name)
    name = re.sub(r"\([\w: ]+\)(-?\d+)", r"\1", name)
    return name.replace("__nv_bfloat16", "bf16").replace("__half", "f16").strip()


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


def occupancy(kernel, arch):
    """(blocks, warps) of an SM that hold this kernel and nothing else."""
    limits = LIMITS[arch]
    warps = round_up(kernel["threads"], 32) // 32
    registers = round_up(kernel["registers"] * 32, 256) * round_up(warps, 4)
    shared = round_up(kernel["shared"] + kernel["dynamic"], 128) + limits["reserved"]
    blocks = min(limits["blocks"], limits["warps"] // warps, limits["registers"] // registers,
                 limits["shared"] // shared)
    return blocks, blocks * warps


def is_hot(label):
    return any(re.fullmatch(pattern, label) for pattern in HOT)


def dynamic_bytes(label):
    for pattern, size in DYNAMIC:
        if match := re.fullmatch(pattern, label):
            return size(*match.groups())
    return 0


def collect(args):
    version = subprocess.run([args.nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    args.cache.mkdir(parents=True, exist_ok=True)
    sources = sorted((ROOT / "kernels").glob("*.cu"))
    jobs = [(source, arch) for source in sources for arch in args.arch]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        found = list(pool.map(lambda job: cached_kernels(args.nvcc, version, args.cache, *job, args.flags), jobs))
    rows = []
    for (source, arch), kernels in zip(jobs, found):
        names = demangle(list(kernels))
        for mangled, kernel in kernels.items():
            row = {"file": source.stem, "kernel": readable(names[mangled]), "arch": arch, **kernel}
            label = f"{row['file']}:{row['kernel']}"
            row["dynamic"] = dynamic_bytes(label)
            row["blocks"], row["warps"] = occupancy(row, arch)
            row["hot"] = is_hot(label)
            row["clean"] = not (row["stack"] or row["spill_stores"] or row["spill_loads"])
            rows.append(row)
    return sorted(rows, key=lambda r: (r["file"], r["kernel"], r["arch"]))


# ---- what a decode step costs ----------------------------------------------------------------------------------------


def model_shapes():
    """The table of src/model/random.c, so that the two cannot differ."""
    text = (ROOT / "src/model/random.c").read_text()
    pattern = r'\{"([\w.-]+)",\s*"(\w+)",' + r"\s*(\d+)," * 7 + r"\s*[\d.e+]+,\s*[\d.e+-]+,\s*(true|false)"
    shapes = []
    for match in re.finditer(pattern, text):
        name, family, *numbers, tied = match.groups()
        shapes.append({"name": name, "family": family, "tied": tied == "true",
                       **dict(zip(("V", "D", "L", "H", "Hkv", "F", "context"), map(int, numbers)))})
    if not shapes:
        raise RuntimeError("no shapes found in src/model/random.c")
    return shapes


# Kernels of a decode step as src/model/forward.c and the CUDA backend launch them, for few rows, where the first kernel of a
# block takes in its norm and the KV store, and for many; --program counts them for one row.
LAYER_LAUNCHES = {
    "few": ["norm, qkv, rope, store", "attention", "attention out", "norm, up", "down"],
    "many": ["norm", "qkv", "rope, store", "attention", "attention out", "norm", "up", "down"],
}
STEP_LAUNCHES = ["embed", "final norm", "head"]
DRAW_LAUNCHES = ["scan", "draw", "rest"]


def launches(layers, rows="few"):
    return layers * len(LAYER_LAUNCHES[rows]) + len(STEP_LAUNCHES) + len(DRAW_LAUNCHES)


def is_gated(shape):
    return shape["family"] != "gpt2"


def step_cost(shape):
    """Bytes (16-bit elements) and operations of a decode step of one sequence, as src/model/plan.c counts them."""
    D, L, F = shape["D"], shape["L"], shape["F"]
    head = D // shape["H"]
    matrices = [((shape["H"] + 2 * shape["Hkv"]) * head, D), (D, shape["H"] * head),
                (2 * F if is_gated(shape) else F, D), (D, F)]
    layer = sum(N * round_up(K, 16) for N, K in matrices)
    elements = L * layer + shape["V"] * round_up(D, 16)
    kv = 2 * L * shape["Hkv"] * head * 2
    return {"weights": 2 * elements, "kv_per_token": kv, "flops": 2 * elements,
            "attention_flops_per_token": 4 * L * shape["H"] * head,
            "launches": launches(L), "launches_many_rows": launches(L, "many")}


def count_launches(program):
    """(layers, launches) of a recorded decode step of the demo model on the emulated device."""
    with tempfile.TemporaryDirectory(prefix="kernels-static-") as folder:
        calls = pathlib.Path(folder) / "calls"
        model = json.loads((ROOT / "tools/demo/model/config.json").read_text())
        subprocess.run([program, "generate", "--device", "simt", "-p", "One day", "--temperature", "0", "--max-tokens", "4",
                        "-q"], env={**os.environ, "TEMPERA_SIMT_CALLS": str(calls)}, check=True, stdout=subprocess.DEVNULL)
        recorded = re.findall(r"cudaStreamBeginCapture\n(.*?)cudaStreamEndCapture", calls.read_text(), re.DOTALL)
    if not recorded:
        raise RuntimeError(f"{program}: no step was recorded")
    return model["n_layer"], max(len(re.findall(r"^launch$", text, re.MULTILINE)) for text in recorded)


def roofline():
    rows = []
    for shape in model_shapes():
        cost = step_cost(shape)
        row = {"model": shape["name"], **cost, "floors": {}}
        for device, bandwidth in DEVICES.items():
            for context in ROOFLINE_CONTEXTS:
                if context <= shape["context"]:
                    seconds = (cost["weights"] + context * cost["kv_per_token"]) / bandwidth
                    row["floors"][f"{device} @{context}"] = seconds * 1e6
        rows.append(row)
    return rows


# ---- the report ------------------------------------------------------------------------------------------------------


def kernel_table(rows, arch):
    lines = [f"### sm_{arch}", "",
             "| file | kernel | threads | registers | shared | stack | spill st/ld | blocks/SM | warps/SM |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for r in rows:
        if r["arch"] != arch:
            continue
        shared = str(r["shared"]) + (f" + {r['dynamic']}" if r["dynamic"] else "")
        mark = "" if r["clean"] else " **!**" if r["hot"] else " !"
        lines.append(f"| {r['file']} | `{r['kernel']}`{mark} | {r['threads']} | {r['registers']} | {shared} | {r['stack']} "
                     f"| {r['spill_stores']}/{r['spill_loads']} | {r['blocks']} "
                     f"| {r['warps']} ({100 * r['warps'] // LIMITS[arch]['warps']}%) |")
    return lines + [""]


def cost_table(rows):
    columns = [f"{device} @{context}" for device in DEVICES for context in ROOFLINE_CONTEXTS]
    lines = ["## A decode step, 16-bit weights", "",
             "Floor in microseconds: bytes over the data sheet's bandwidth (" +
             ", ".join(f"{d} {b / 1e12:g} TB/s" for d, b in DEVICES.items()) +
             "), one sequence, @ tokens of context. Launches with the draw's three, for few rows and for many.", "",
             "| model | weights GB | KV bytes/token | GFLOP | launches | many rows | " + " | ".join(columns) + " |",
             "|---|---:|---:|---:|---:|---:|" + "---:|" * len(columns)]
    for r in rows:
        floors = " | ".join(f"{r['floors'][c]:.0f}" if c in r["floors"] else "" for c in columns)
        lines.append(f"| {r['model']} | {r['weights'] / 1e9:.3f} | {r['kv_per_token']} | {r['flops'] / 1e9:.2f} "
                     f"| {r['launches']} | {r['launches_many_rows']} | {floors} |")
    return lines + [""]


def main():
    parser = argparse.ArgumentParser(description="static report of the CUDA kernels")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "build" / "kernels-static")
    parser.add_argument("--arch", default="80,90", help="compute capabilities, comma-separated")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="also write all figures to this file")
    parser.add_argument("--flags", default="-std=c++17 -O3", help="compiler flags besides architecture and paths")
    parser.add_argument("--program", help="a tempera with the emulated device: counts the launches of a decode step")
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    args = parser.parse_args()
    args.arch = [int(a) for a in args.arch.split(",")]
    if unknown := [a for a in args.arch if a not in LIMITS]:
        parser.error(f"no limits known for sm_{unknown[0]} (known: {', '.join(map(str, LIMITS))})")
    if not shutil.which(args.nvcc):
        parser.error(f"{args.nvcc}: no nvcc there")
    try:
        rows = collect(args)
        counted = count_launches(args.program) if args.program else None
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    costs = roofline()
    bad = [r for r in rows if r["hot"] and not r["clean"]]

    lines = ["# Kernels, statically", "", f"{len({(r['file'], r['kernel']) for r in rows})} instantiations in "
             f"{len({r['file'] for r in rows})} files. Shared memory in bytes, static + dynamic. `!`: spills or stack; "
             "**!**: in a hot kernel.", ""]
    for arch in args.arch:
        lines += kernel_table(rows, arch)
    lines += cost_table(costs)
    stale = False
    if counted:
        layers, number = counted
        expected = launches(layers)
        stale = number != expected
        lines += [f"Counted on the emulated device: {number} launches in a decode step of the demo model ({layers} layers)"
                  + (f"; this script's list says {expected}, and is out of date." if stale else ", as listed here."), ""]
    if bad:
        lines += ["## Spills in hot kernels", ""]
        lines += [f"- sm_{r['arch']} {r['file']}: `{r['kernel']}`: stack {r['stack']}, spills {r['spill_stores']}/"
                  f"{r['spill_loads']} bytes" for r in bad]
    else:
        lines.append("No hot kernel spills or has a stack frame.")
    print("\n".join(lines))
    if args.json:
        args.json.write_text(json.dumps({"kernels": rows, "decode": costs, "failed": len(bad)}, indent=1) + "\n")
    return 1 if bad or stale else 0


if __name__ == "__main__":
    sys.exit(main())
