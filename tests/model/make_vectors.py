#!/usr/bin/env python3
"""Make the reference vectors of the model tests.

    python3 tests/model/make_vectors.py            # every case
    python3 tests/model/make_vectors.py llama phi  # only these cases
    python3 tests/model/make_vectors.py --check    # write nothing; compare with the committed files

Needs torch, transformers 5, safetensors and numpy (tests/model/README.md names the versions that made
the committed files). Everything runs on one CPU core in about a quarter of a minute.

For every case the script builds a tiny model of one family, draws its weights from a fixed stream, saves
it with `save_pretrained` and writes next to it `vectors.safetensors`:

    ids       I32 [S, T]     S token sequences
    logprobs  F32 [S, T, V]  log-softmax of the logits at each position

The reference is the public `transformers` model, loaded back from the files just written, run in float64
with eager attention.  Several families ask for float32 in the middle of a float64 run (norms, softmax,
rotary angles); `Keep64` turns those requests off, so the whole run is float64, and it counts every float32
tensor that would still appear (there must be none).  Only the rotary inverse frequencies keep their float32
rounding: that table is a float32 table by definition in transformers (column "freq" of the printed table says
what exact frequencies would change).

Checks made for every case (any failure ends the script with status 1):

    f32     largest |log-prob| difference between the float64 and a plain float32 run           < 1e-4
    plain   the same against a float64 run without `Keep64`                                     < 1e-4
    cache   prefill + one-token-at-a-time decode with a KV cache against the full run           < 1e-9
    v4      config.v4.json (transformers-4 spelling) gives bit-identical log-probs
    probes  switching one special feature off changes some log-prob by more than                > 1e-2
            (taking the other form of gelu, which by itself is at most 5e-4 away:               > 1e-3)
    weights rolling any one tensor by one element changes some log-prob by more than            > 1e-2
    spread  mean entropy of the distributions is well below log V (far from uniform)
"""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file as load_np
from safetensors.numpy import save_file as save_np
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "fixtures")

# Absolute limits of the checks described above.
LIMIT_F32 = 1e-4
LIMIT_CACHE = 1e-9
LIMIT_PROBE = 1e-2
LIMIT_GELU = 1e-3  # the exact and the tanh form of gelu are themselves at most 5e-4 apart
LIMIT_BYTES = 300 * 1000


# ---------------------------------------------------------------------------------------------------------
# deterministic numbers, independent of the versions of numpy and torch


def splitmix64(seed, n):
    """n 64-bit words of the splitmix64 stream started at seed."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def seed_of(*names):
    return zlib.crc32("/".join(names).encode()) << 16


def normals(seed, shape):
    """Standard normal numbers (Box-Muller) as float64."""
    n = int(np.prod(shape))
    w = splitmix64(seed, 2 * n)
    u = ((w >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    x = np.sqrt(-2.0 * np.log(u[:n])) * np.cos(2.0 * np.pi * u[n:])
    return torch.from_numpy(x.reshape(shape))


def token_ids(case, seqs, length, vocab):
    ids = (splitmix64(seed_of(case, "ids"), seqs * length) % np.uint64(vocab)).astype(np.int32)
    ids = ids.reshape(seqs, length)
    ids[0, 0], ids[-1, -1] = 0, vocab - 1  # both ends of the vocabulary are used
    ids[0, 5:8] = ids[0, 4]  # and a run of equal tokens
    return torch.from_numpy(ids)


def draw_weights(model, case, family):
    """Re-draw every parameter so that each of them matters for the result."""
    plus_one = family.startswith("gemma")  # their norms multiply by (1 + weight)
    with torch.no_grad():
        for name, p in model.named_parameters():  # a tied weight appears once
            x = normals(seed_of(case, name), tuple(p.shape))
            leaf = name.split(".")[-2]
            if name.endswith(".bias"):
                x = 0.3 * x
            elif p.dim() == 1:  # norm weights
                x = 0.2 * x if plus_one else 1.0 + 0.2 * x
            elif leaf in ("wpe",):
                x = 0.5 * x
            elif leaf in ("wte", "embed_in", "embed_tokens"):
                if plus_one:  # these multiply it by sqrt(hidden_size)
                    x = 0.4 * x
                elif model.config.tie_word_embeddings:
                    x = 0.6 * x
            else:
                fan_in = p.shape[0] if leaf in ("c_attn", "c_fc", "c_proj") else p.shape[1]
                gain = 3.0 if leaf == "lm_head" else 1.3  # an untied head spreads the logits as a tied one does
                x = x * (gain / math.sqrt(fan_in))
            p.copy_(x.to(p.dtype))


# ---------------------------------------------------------------------------------------------------------
# running the reference


class Keep64(TorchFunctionMode):
    """Ignore requests to go from float64 down to float32; count the float32 tensors that appear all the same."""

    def __init__(self):
        super().__init__()
        self.leaks = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        x = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name == "float":
            return func(*args, **kwargs).double()  # position numbers are exact either way
        if name in ("to", "softmax") and x is not None and x.dtype == torch.float64:
            args = tuple(torch.float64 if a is torch.float32 else a for a in args)
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
            self.leaks.append(name)
        return out


def longrope_frequencies(config):
    """The table for sequences longer than the original context."""
    longer = config.rope_parameters["original_max_position_embeddings"] + 1
    return ROPE_INIT_FUNCTIONS["longrope"](config, None, seq_len=longer)[0]


def as_double(model):
    """Parameters and buffers to float64 (inverse frequencies keep their float32 rounding)."""
    model = model.eval().double()
    for mod in model.modules():  # the embedding scale of the gemma family: sqrt(d) unrounded
        if hasattr(mod, "scalar_embed_scale"):
            mod.embed_scale = torch.tensor(mod.scalar_embed_scale, dtype=torch.float64)
        if getattr(mod, "rope_type", None) == "longrope":  # otherwise made on first use, in the middle of a run
            mod.long_inv_freq = longrope_frequencies(model.config).double()
    return model


def load_reference(folder, dtype=torch.float64):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return as_double(model) if dtype == torch.float64 else model.eval()


def run_full(model, ids, keep=True):
    with torch.no_grad():
        if keep:
            with Keep64() as mode:
                logits = model(ids.long(), use_cache=False).logits
            if mode.leaks or logits.dtype != torch.float64:
                raise RuntimeError(f"float32 inside the float64 run: {sorted(set(mode.leaks))}")
        else:
            logits = model(ids.long(), use_cache=False).logits
    return torch.log_softmax(logits.double(), dim=-1)


def run_cached(model, ids, prefill):
    out = []
    with torch.no_grad(), Keep64():
        step = model(ids[:, :prefill].long(), use_cache=True)
        out.append(step.logits)
        for t in range(prefill, ids.shape[1]):
            step = model(ids[:, t : t + 1].long(), use_cache=True, past_key_values=step.past_key_values)
            out.append(step.logits)
    return torch.log_softmax(torch.cat(out, 1).double(), dim=-1)


def exact_frequencies(model):
    """Recompute the rotary inverse frequencies in float64."""
    rope = next((m for m in model.modules() if type(m).__name__.endswith("RotaryEmbedding")), None)
    if rope is None:
        return False

    class Up(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
            if getattr(func, "__name__", "") == "float":
                return func(*args, **kwargs).double()
            return func(*args, **kwargs)

    with Up():
        fresh = type(rope)(model.config)
        if rope.rope_type == "longrope":
            rope.long_inv_freq = longrope_frequencies(model.config)
    for name, buf in fresh.named_buffers():
        getattr(rope, name).copy_(buf)
        assert buf.dtype == torch.float64, name
    return True


def variant(folder, change_config=None, change_weights=None, change_model=None):
    """The same model with something changed: a function of the config dict, the state dict or the model."""
    with open(os.path.join(folder, "config.json")) as f:
        cfg = json.load(f)
    if change_config:
        change_config(cfg)
    state = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith("model") and name.endswith(".safetensors"):
            state.update(load_file(os.path.join(folder, name)))
    state = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
    if change_weights:
        change_weights(state)
    # The changed model makes the round trip through files: the loader then does what it does for any folder.
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, "config.json"), "w") as f:
            json.dump(cfg, f)
        save_file({k: v.contiguous() for k, v in state.items()}, os.path.join(tmp, "model.safetensors"),
                  {"format": "pt"})
        model = load_reference(tmp)
    if change_model:
        change_model(model)
    return model


# ---------------------------------------------------------------------------------------------------------
# probes: ways of switching one feature off


def cfg_set(**kw):
    """Set config entries; a name like rope_parameters__factor reaches into a dict."""

    def change(cfg):
        for key, value in kw.items():
            d = cfg
            *path, last = key.split("__")
            for k in path:
                d = d[k]
            assert last in d and d[last] != value, key
            d[last] = value

    return dict(change_config=change)


def rope_is(**kw):
    """Replace rope_parameters as a whole."""

    def change(cfg):
        assert cfg["rope_parameters"] != kw
        cfg["rope_parameters"] = kw

    return dict(change_config=change)


def weights(match, fn):
    """Replace every tensor whose name contains `match` by fn(tensor)."""

    def change(state):
        hits = [k for k in state if match in k]
        assert hits, match
        for k in hits:
            state[k] = fn(state[k]).contiguous()

    return dict(change_weights=change)


def no_embed_scale(model):
    emb = model.get_input_embeddings()
    emb.embed_scale = torch.ones((), dtype=torch.float64)


def interleave(heads, dim, rot):
    """Reorder the rows of a q/k projection as if rotary pairs were (2i, 2i+1) instead of (i, i + rot/2)."""
    order = [j for i in range(rot // 2) for j in (i, i + rot // 2)] + list(range(rot, dim))

    def fn(w):
        return w.view(heads, dim, *w.shape[1:])[:, order].reshape(w.shape)

    return fn


def qk_interleaved(heads, kv, dim, rot):
    def change(state):
        for k in list(state):
            for proj, n in (("q_proj", heads), ("k_proj", kv)):
                if proj in k:
                    state[k] = interleave(n, dim, rot)(state[k]).contiguous()

    return dict(change_weights=change)


def blocks_to_heads(heads, dim):
    """Read a per-head [q k v] layout as three whole blocks [Q K V]."""
    return lambda w: w.view(heads, 3, dim, *w.shape[1:]).transpose(0, 1).reshape(w.shape)


def swap_halves(w):
    a, b = w.chunk(2, 0)
    return torch.cat([b, a], 0)


ZERO = torch.zeros_like
ONE = torch.ones_like


# ---------------------------------------------------------------------------------------------------------
# config.json as transformers 4 wrote it


def to_v4(cfg, version="4.44.0"):
    """Generic part: dtype -> torch_dtype, rope_parameters -> rope_theta + rope_scaling, no layer_types."""
    old = dict(cfg)
    old["torch_dtype"] = old.pop("dtype")
    old["transformers_version"] = version
    old.pop("layer_types", None)
    if old.get("pad_token_id", 0) is None:
        old.pop("pad_token_id")
    rope = dict(old.pop("rope_parameters", None) or {})
    if rope and "rope_theta" in rope:
        old["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        old["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    heads = old.get("num_attention_heads")
    if heads and old.get("head_dim") == old["hidden_size"] // heads:
        old.pop("head_dim")  # older files leave it out where it follows from the others
    return old


def v4_llama_type(cfg):
    """The oldest spelling of rope_scaling says "type" instead of "rope_type"."""
    old = to_v4(cfg, "4.36.0")
    r = old["rope_scaling"]
    r["type"] = r.pop("rope_type")
    return old


def v4_gpt_neox(cfg):
    old = to_v4(cfg, "4.31.0")
    old["rotary_pct"] = old.pop("partial_rotary_factor")
    old["rotary_emb_base"] = old.pop("rope_theta")
    for k in ("rope_scaling", "is_decoder"):
        old.pop(k, None)
    return old


def v4_gemma(cfg):
    """Gemma 1 as first released: "gelu", which nevertheless means the tanh form; tying is the unwritten default."""
    old = to_v4(cfg, "4.38.1")
    old["hidden_act"] = "gelu"
    for k in ("tie_word_embeddings", "use_bidirectional_attention"):
        old.pop(k, None)
    return old


def v4_gemma2(cfg):
    old = to_v4(cfg, "4.42.4")
    old["hidden_act"] = old["hidden_activation"]
    old["cache_implementation"] = "hybrid"
    for k in ("tie_word_embeddings", "rope_scaling", "use_bidirectional_attention"):
        old.pop(k, None)
    return old


def v4_gemma3(cfg):
    old = to_v4(cfg, "4.50.0")
    rope = cfg["rope_parameters"]
    old.pop("rope_parameters", None)
    full = dict(rope["full_attention"])
    old["rope_theta"] = full.pop("rope_theta")
    old["rope_scaling"] = None if full["rope_type"] == "default" else full
    old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    old["sliding_window_pattern"] = 2
    old["cache_implementation"] = "hybrid"
    for k in ("tie_word_embeddings", "use_bidirectional_attention", "_sliding_window_pattern"):
        old.pop(k, None)
    return old


def v4_gpt2(cfg):
    """The file of the first release: no dtype, and of the maths only what was not yet a choice."""
    keep = ("activation_function", "architectures", "attn_pdrop", "bos_token_id", "embd_pdrop", "eos_token_id",
            "initializer_range", "layer_norm_epsilon", "model_type", "n_embd", "n_head", "n_layer", "n_positions",
            "resid_pdrop", "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
            "summary_use_proj", "vocab_size")
    return dict({k: cfg[k] for k in keep}, n_ctx=cfg["n_positions"])


def v4_phi3(cfg):
    old = to_v4(cfg, "4.41.0")
    old["rope_scaling"] = {"type": "longrope", "short_factor": old["rope_scaling"]["short_factor"],
                           "long_factor": old["rope_scaling"]["long_factor"]}
    old.pop("partial_rotary_factor")
    return old


# ---------------------------------------------------------------------------------------------------------
# the cases
#
# Sizes are deliberately odd (not multiples of a vector width), epsilons large enough to matter, rotary bases
# such that every pair of dimensions turns visibly within T positions.

V = 97
ROPE = dict(rope_type="default", rope_theta=500.0)
LLAMA = dict(vocab_size=V, hidden_size=36, intermediate_size=70, num_hidden_layers=2, num_attention_heads=6,
             num_key_value_heads=2, head_dim=8, max_position_embeddings=128, rms_norm_eps=0.02,
             rope_parameters=ROPE, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
LLAMA_PROBES = {
    "eps 1e-6": cfg_set(rms_norm_eps=1e-6),
    "theta 1e4": cfg_set(rope_parameters__rope_theta=10000.0),
    "interleaved rope": qk_interleaved(6, 2, 8, 8),
}
GPT2 = dict(vocab_size=V, n_positions=64, n_embd=36, n_layer=2, n_head=3, layer_norm_epsilon=0.02,
            bos_token_id=0, eos_token_id=0)
GPT2_PROBES = {
    "eps 1e-5": cfg_set(layer_norm_epsilon=1e-5),
    "gelu exact": cfg_set(activation_function="gelu"),
    "no positions": weights("wpe", ZERO),
    "no biases": weights(".bias", ZERO),
}
NEOX = dict(vocab_size=V, hidden_size=48, intermediate_size=100, num_hidden_layers=2, num_attention_heads=2,
            hidden_act="gelu", max_position_embeddings=128, layer_norm_eps=0.02, bos_token_id=0, eos_token_id=0,
            use_parallel_residual=True, tie_word_embeddings=False,
            rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.25))
NEOX_PROBES = {
    "eps 1e-5": cfg_set(layer_norm_eps=1e-5),
    "gelu tanh": cfg_set(hidden_act="gelu_new"),
    "sequential": cfg_set(use_parallel_residual=False),
    "full rotary": cfg_set(rope_parameters__partial_rotary_factor=1.0),
    "theta 1e4": cfg_set(rope_parameters__rope_theta=10000.0),
    "[Q K V] blocks": weights("query_key_value", blocks_to_heads(2, 24)),
    "no biases": weights(".bias", ZERO),
}
QWEN2 = dict(vocab_size=V, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=0.02, rope_parameters=ROPE,
             bos_token_id=0, eos_token_id=0, tie_word_embeddings=True)
PHI = dict(vocab_size=V, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
           num_key_value_heads=3, hidden_act="gelu_new", max_position_embeddings=128, layer_norm_eps=0.02,
           bos_token_id=1, eos_token_id=2, qk_layernorm=False, tie_word_embeddings=False,
           rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))
PHI_PROBES = {
    "eps 1e-5": cfg_set(layer_norm_eps=1e-5),
    "gelu exact": cfg_set(hidden_act="gelu"),
    "full rotary": cfg_set(rope_parameters__partial_rotary_factor=1.0),
    "interleaved rope": qk_interleaved(3, 3, 16, 8),
    "no head bias": weights("lm_head.bias", ZERO),
    "no biases": weights(".bias", ZERO),
}
PHI3 = dict(vocab_size=V, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, original_max_position_embeddings=128,
            rms_norm_eps=0.02, bos_token_id=1, eos_token_id=2, pad_token_id=2, sliding_window=10,
            tie_word_embeddings=False,
            rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75))
PHI3_PROBES = {
    "eps 1e-5": cfg_set(rms_norm_eps=1e-5),
    "up|gate swapped": weights("gate_up_proj", swap_halves),
}
PHI3_LONG = dict(PHI3, sliding_window=None, max_position_embeddings=256)
LONGROPE = dict(rope_type="longrope", rope_theta=500.0, partial_rotary_factor=1.0,
                short_factor=[1.0, 1.25, 1.6, 2.0], long_factor=[1.1, 2.0, 5.0, 9.0])
GEMMA = dict(vocab_size=V, hidden_size=36, intermediate_size=72, num_hidden_layers=2, num_attention_heads=3,
             num_key_value_heads=1, head_dim=16, max_position_embeddings=128, rms_norm_eps=0.02,
             rope_parameters=ROPE, pad_token_id=0, eos_token_id=1, bos_token_id=2, tie_word_embeddings=True)
GEMMA_PROBES = {
    "eps 1e-6": cfg_set(rms_norm_eps=1e-6),
    "no embed scale": dict(change_model=no_embed_scale),
    "w, not 1+w": weights("norm.weight", lambda w: w - 1),
    "interleaved rope": qk_interleaved(3, 1, 16, 16),
}
GEMMA2 = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, head_dim=12, max_position_embeddings=128, rms_norm_eps=0.02,
              rope_parameters=ROPE, pad_token_id=0, eos_token_id=1, bos_token_id=2, tie_word_embeddings=True,
              query_pre_attn_scalar=20, sliding_window=8)


def rope_factor(name, **kw):
    return dict(rope_type=name, rope_theta=500.0, **kw)


CASES = {
    "gpt2": dict(family="gpt2", config=GPT2, probes=GPT2_PROBES, legacy="gpt2_legacy"),
    "gpt2_untied": dict(
        family="gpt2",
        config=dict(GPT2, n_embd=32, n_head=4, n_layer=3, n_inner=50, activation_function="gelu",
                    scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False),
        probes={
            "eps 1e-5": cfg_set(layer_norm_epsilon=1e-5),
            "gelu tanh": cfg_set(activation_function="gelu_new"),
            "no layer scale": cfg_set(scale_attn_by_inverse_layer_idx=False),
            "no attn scale": cfg_set(scale_attn_weights=False),
        }),
    "gpt2_f16": dict(family="gpt2", config=GPT2, dtype=torch.float16, probes=GPT2_PROBES),
    "gpt_neox": dict(family="gpt_neox", config=NEOX, probes=NEOX_PROBES, v4=v4_gpt_neox,
                     legacy="gpt_neox_legacy"),
    "gpt_neox_sequential": dict(
        family="gpt_neox",
        config=dict(NEOX, hidden_size=32, intermediate_size=72, num_attention_heads=4, use_parallel_residual=False,
                    rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=1.0)),
        probes={
            "parallel": cfg_set(use_parallel_residual=True),
            "quarter rotary": cfg_set(rope_parameters__partial_rotary_factor=0.25),
            "[Q K V] blocks": weights("query_key_value", blocks_to_heads(4, 8)),
        }),
    "llama": dict(family="llama", config=LLAMA, probes=LLAMA_PROBES, v4=to_v4),
    "llama_bias": dict(
        family="llama",
        config=dict(LLAMA, hidden_size=32, intermediate_size=60, num_attention_heads=4, num_key_value_heads=4,
                    attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        probes={
            "no attention bias": weights("self_attn.q_proj.bias", ZERO),
            "no output bias": weights("self_attn.o_proj.bias", ZERO),
            "no mlp bias": weights("mlp.gate_proj.bias", ZERO),
        }),
    "llama3_rope": dict(
        family="llama", length=48,
        config=dict(LLAMA, hidden_size=48, intermediate_size=64, num_attention_heads=3, num_key_value_heads=1,
                    head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
                    rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                                         high_freq_factor=4.0, original_max_position_embeddings=64)),
        probes={
            "no scaling": rope_is(rope_type="default", rope_theta=10000.0),
            "linear instead": rope_is(rope_type="linear", rope_theta=10000.0, factor=8.0),
            "no smoothing": cfg_set(rope_parameters__high_freq_factor=1.0001),
        },
        v4=to_v4),
    "llama_linear_rope": dict(
        family="llama",
        config=dict(LLAMA, rope_parameters=rope_factor("linear", factor=4.0)),
        probes={"no scaling": rope_is(**ROPE)}, v4=v4_llama_type),
    "llama_yarn": dict(
        family="llama",
        config=dict(LLAMA, hidden_size=32, intermediate_size=60, num_attention_heads=2, num_key_value_heads=1,
                    head_dim=16,
                    rope_parameters=rope_factor("yarn", factor=4.0, original_max_position_embeddings=32,
                                                beta_fast=2.0, beta_slow=1.0)),
        probes={
            "no scaling": rope_is(**ROPE),
            "no attention factor": rope_is(**rope_factor("yarn", factor=4.0, original_max_position_embeddings=32,
                                                         beta_fast=2.0, beta_slow=1.0, attention_factor=1.0)),
            "default betas": rope_is(**rope_factor("yarn", factor=4.0, original_max_position_embeddings=32)),
            "no truncation": rope_is(**rope_factor("yarn", factor=4.0, original_max_position_embeddings=32,
                                                   beta_fast=2.0, beta_slow=1.0, truncate=False)),
        },
        v4=v4_llama_type),
    "llama_bf16": dict(family="llama", config=LLAMA, dtype=torch.bfloat16, probes=LLAMA_PROBES),
    "llama_sharded": dict(family="llama", config=LLAMA, shard="60KB", probes=LLAMA_PROBES),
    "mistral": dict(
        family="mistral",
        config=dict(vocab_size=V, hidden_size=32, intermediate_size=70, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=12, max_position_embeddings=128, rms_norm_eps=0.02,
                    rope_parameters=ROPE, sliding_window=8, bos_token_id=1, eos_token_id=2,
                    tie_word_embeddings=False),
        probes={
            "no window": cfg_set(sliding_window=None),
            "window + 1": cfg_set(sliding_window=9),
            "window - 1": cfg_set(sliding_window=7),
            "eps 1e-6": cfg_set(rms_norm_eps=1e-6),
        },
        v4=to_v4),
    "qwen2": dict(
        family="qwen2", config=QWEN2,
        probes={"no qkv bias": weights("_proj.bias", ZERO), "eps 1e-6": cfg_set(rms_norm_eps=1e-6)},
        v4=to_v4),
    "qwen2_window": dict(
        family="qwen2",
        config=dict(QWEN2, num_hidden_layers=3, use_sliding_window=True, sliding_window=8, max_window_layers=1,
                    tie_word_embeddings=False),
        probes={
            "no window": dict(change_config=lambda c: c.update(use_sliding_window=False,
                                                               layer_types=["full_attention"] * 3)),
            "all windowed": dict(change_config=lambda c: c.update(layer_types=["sliding_attention"] * 3)),
            "layer 1 full": dict(change_config=lambda c: c.update(layer_types=["full_attention"] * 2
                                                                  + ["sliding_attention"])),
            "window + 1": cfg_set(sliding_window=9),
        },
        v4=to_v4),
    "qwen2_yarn": dict(
        family="qwen2",
        config=dict(QWEN2, rope_parameters=rope_factor("yarn", factor=4.0, original_max_position_embeddings=32,
                                                       attention_factor=1.25)),
        probes={
            "no scaling": rope_is(**ROPE),
            "derived factor": rope_is(**rope_factor("yarn", factor=4.0, original_max_position_embeddings=32)),
        },
        v4=v4_llama_type),
    "qwen3": dict(
        family="qwen3",
        config=dict(vocab_size=V, hidden_size=40, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=0.02,
                    rope_parameters=ROPE, bos_token_id=0, eos_token_id=0, tie_word_embeddings=True),
        probes={
            "q norm weight 1": weights("q_norm.weight", ONE),
            "k norm weight 1": weights("k_norm.weight", ONE),
            "eps 1e-6": cfg_set(rms_norm_eps=1e-6),
            "interleaved rope": dict(change_weights=lambda s: (
                qk_interleaved(4, 2, 16, 16)["change_weights"](s),
                weights("q_norm.weight", interleave(1, 16, 16))["change_weights"](s),
                weights("k_norm.weight", interleave(1, 16, 16))["change_weights"](s))),
        },
        v4=to_v4),
    "phi": dict(family="phi", config=PHI, probes=PHI_PROBES, v4=to_v4),
    "phi_qk": dict(
        family="phi",
        config=dict(PHI, qk_layernorm=True, num_key_value_heads=1),
        probes={
            "no qk norm": dict(
                change_config=lambda c: c.update(qk_layernorm=False),
                change_weights=lambda s: [s.pop(k) for k in list(s) if "_layernorm" in k and "self_attn" in k]),
            "no qk norm bias": weights("self_attn.q_layernorm.bias", ZERO),
        }),
    "phi3": dict(
        family="phi3", config=PHI3,
        probes=dict(PHI3_PROBES, **{
            "no window": cfg_set(sliding_window=None),
            "window + 1": cfg_set(sliding_window=11),
            "full rotary": cfg_set(rope_parameters__partial_rotary_factor=1.0),
        })),
    "phi3_longrope_short": dict(
        family="phi3",
        config=dict(PHI3_LONG, original_max_position_embeddings=64,
                    rope_parameters=dict(LONGROPE, original_max_position_embeddings=64)),
        probes=dict(PHI3_PROBES, **{
            "no scaling": rope_is(rope_type="default", rope_theta=500.0, partial_rotary_factor=1.0),
            "long list": cfg_set(rope_parameters__short_factor=LONGROPE["long_factor"]),
            "no attention factor": rope_is(**LONGROPE, attention_factor=1.0, original_max_position_embeddings=64),
        }),
        v4=v4_phi3),
    "phi3_longrope_long": dict(
        family="phi3", prefill=20,
        config=dict(PHI3_LONG, original_max_position_embeddings=16,
                    rope_parameters=dict(LONGROPE, original_max_position_embeddings=16)),
        probes=dict(PHI3_PROBES, **{
            "no scaling": rope_is(rope_type="default", rope_theta=500.0, partial_rotary_factor=1.0),
            "short list": cfg_set(rope_parameters__long_factor=LONGROPE["short_factor"]),
            "no attention factor": rope_is(**LONGROPE, attention_factor=1.0, original_max_position_embeddings=16),
        }),
        v4=v4_phi3),
    "gemma": dict(family="gemma", config=GEMMA, probes=GEMMA_PROBES, v4=v4_gemma),
    "gemma2": dict(
        family="gemma2",
        config=dict(GEMMA2, attn_logit_softcapping=2.0, final_logit_softcapping=6.0),
        probes={
            "no attention cap": cfg_set(attn_logit_softcapping=None),
            "no final cap": cfg_set(final_logit_softcapping=None),
            "scale head_dim": cfg_set(query_pre_attn_scalar=12),
            "no window": dict(change_config=lambda c: c.update(layer_types=["full_attention"] * 3)),
            "all windowed": dict(change_config=lambda c: c.update(layer_types=["sliding_attention"] * 3)),
            "window + 1": cfg_set(sliding_window=9),
            "eps 1e-6": cfg_set(rms_norm_eps=1e-6),
            "no embed scale": dict(change_model=no_embed_scale),
            "w, not 1+w": weights("norm.weight", lambda w: w - 1),
            "gelu exact": cfg_set(hidden_activation="gelu"),
        },
        v4=v4_gemma2),
    "gemma3_text": dict(
        family="gemma3_text",
        config=dict(GEMMA2, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                    rope_parameters={
                        "sliding_attention": dict(rope_type="default", rope_theta=100.0),
                        "full_attention": dict(rope_type="linear", rope_theta=5000.0, factor=2.0)}),
        probes={
            "q norm weight 0": weights("q_norm.weight", ZERO),
            "scale head_dim": cfg_set(query_pre_attn_scalar=12),
            "no window": dict(change_config=lambda c: c.update(layer_types=["full_attention"] * 3)),
            "global theta local": cfg_set(rope_parameters__sliding_attention__rope_theta=5000.0),
            "no linear scaling": cfg_set(rope_parameters__full_attention__factor=1.0),
            "no embed scale": dict(change_model=no_embed_scale),
            "w, not 1+w": weights("norm.weight", lambda w: w - 1),
        },
        v4=v4_gemma3),
}


def add_legacy(src, dst, family):
    """The same model with the tensor names and the config of the files with which the family was first released."""
    state = load_file(os.path.join(src, "model.safetensors"))
    with open(os.path.join(src, "config.json")) as f:
        cfg = json.load(f)
    out = {}
    if family == "gpt2":  # no "transformer." prefix, and a causal-mask buffer per layer
        n = cfg["n_positions"]
        for k, v in state.items():
            out[k.removeprefix("transformer.")] = v
        for i in range(cfg["n_layer"]):
            out[f"h.{i}.attn.bias"] = torch.tril(torch.ones(n, n)).view(1, 1, n, n)
    else:  # gpt_neox: mask buffers and the rotary table of every layer
        out.update(state)
        head = cfg["hidden_size"] // cfg["num_attention_heads"]
        rot = int(head * cfg["rope_parameters"]["partial_rotary_factor"])
        freq = 1.0 / cfg["rope_parameters"]["rope_theta"] ** (torch.arange(0, rot, 2).float() / rot)
        for i in range(cfg["num_hidden_layers"]):
            p = f"gpt_neox.layers.{i}.attention."
            n = cfg["max_position_embeddings"]
            out[p + "bias"] = torch.tril(torch.ones(n, n, dtype=torch.bool)).view(1, 1, n, n)
            out[p + "masked_bias"] = torch.tensor(-1e9)
            out[p + "rotary_emb.inv_freq"] = freq.clone()
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(dst, "model.safetensors"), {"format": "pt"})
    write_json(os.path.join(dst, "config.json"), v4_gpt2(cfg) if family == "gpt2" else v4_gpt_neox(cfg))
    shutil.copy(os.path.join(src, "vectors.safetensors"), dst)


# ---------------------------------------------------------------------------------------------------------


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2, sort_keys=True)
        f.write("\n")


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))


def make_case(case, spec, folder):
    """Write the fixture and return one row of the table."""
    family = spec["family"]
    config = AutoConfig.for_model(family, **json.loads(json.dumps(spec["config"])))
    model = AutoModelForCausalLM.from_config(config)
    draw_weights(model, case, family)
    if "dtype" in spec:
        model = model.to(spec["dtype"])
    shards = {"max_shard_size": spec["shard"]} if "shard" in spec else {}
    model.save_pretrained(folder, **shards)
    for extra in ("generation_config.json",):  # sampling defaults: no part of the test
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))

    ids = token_ids(case, 2, spec.get("length", 40), V)
    ref = load_reference(folder)
    lp = run_full(ref, ids)
    save_np({"ids": ids.numpy(), "logprobs": lp.float().numpy()}, os.path.join(folder, "vectors.safetensors"),
            {"reference": f"transformers {transformers.__version__} float64 eager"})
    errors = []

    def diff(other):
        return (other - lp).abs().max().item()

    row = {"case": case, "params": sum(p.numel() for p in model.parameters())}
    row["f32"] = diff(run_full(load_reference(folder, torch.float32), ids, keep=False))
    row["plain"] = diff(run_full(ref, ids, keep=False))
    row["cache"] = diff(run_cached(ref, ids, spec.get("prefill", 7)))
    row["freq"] = diff(run_full(ref, ids)) if exact_frequencies(ref) else 0.0
    p = lp.exp()
    row["entropy"] = -(p * lp).sum(-1).mean().item()
    row["min"] = lp.min().item()
    if row["f32"] > LIMIT_F32 or row["plain"] > LIMIT_F32:
        errors.append("float32 and float64 disagree")
    if row["cache"] > LIMIT_CACHE:
        errors.append("cached decode disagrees")
    if row["entropy"] > 0.9 * math.log(V):
        errors.append("too close to uniform")

    row["v4"] = "-"
    if "v4" in spec:
        with open(os.path.join(folder, "config.json")) as f:
            old = spec["v4"](json.load(f))
        write_json(os.path.join(folder, "config.v4.json"), old)
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copy(os.path.join(folder, "model.safetensors"), tmp)
            shutil.copy(os.path.join(folder, "config.v4.json"), os.path.join(tmp, "config.json"))
            row["v4"] = "same" if torch.equal(run_full(load_reference(tmp), ids), lp) else "DIFFERS"
        if row["v4"] != "same":
            errors.append("config.v4.json means another model")

    if "legacy" in spec:
        dst = os.path.join(os.path.dirname(folder), spec["legacy"])
        os.makedirs(dst, exist_ok=True)
        add_legacy(folder, dst, family)
        row["legacy"] = diff(run_full(load_reference(dst), ids))
        row["legacy_bytes"] = folder_bytes(dst)
        if row["legacy"] != 0.0:
            errors.append("legacy tensor names mean another model")

    row["probes"] = {}
    for name, change in spec["probes"].items():
        row["probes"][name] = diff(run_full(variant(folder, **change), ids))
        if not row["probes"][name] > (LIMIT_GELU if name.startswith("gelu") else LIMIT_PROBE):
            errors.append(f"probe '{name}' changes nothing")

    # Each tensor by itself: roll it by one along its last axis (a norm or bias vector included).
    ref = load_reference(folder)
    row["weights"] = {}
    with torch.no_grad():
        for name, p in ref.named_parameters():
            saved = p.detach().clone()
            p.copy_(saved.roll(1, -1))
            row["weights"][name] = diff(run_full(ref, ids))
            p.copy_(saved)
            if not row["weights"][name] > LIMIT_PROBE:
                errors.append(f"tensor {name} does not matter")

    row["bytes"] = folder_bytes(folder)
    if row["bytes"] > LIMIT_BYTES or row.get("legacy_bytes", 0) > LIMIT_BYTES:
        errors.append("fixture too large")
    row["errors"] = errors
    row["tensors"] = {}
    for f in sorted(os.listdir(folder)):
        if f.startswith("model") and f.endswith(".safetensors"):
            row["tensors"].update({k: list(v.shape) for k, v in load_file(os.path.join(folder, f)).items()})
    return row


def same_files(a, b):
    """Are two fixture folders the same?  Weights and configs to the byte, log-probs to 1e-6."""
    bad = []
    names = set(os.listdir(a)) | set(os.listdir(b))
    for n in sorted(names):
        pa, pb = os.path.join(a, n), os.path.join(b, n)
        if not (os.path.exists(pa) and os.path.exists(pb)):
            bad.append(f"{n} on one side only")
        elif n == "vectors.safetensors":
            va, vb = load_np(pa), load_np(pb)
            if not np.array_equal(va["ids"], vb["ids"]) or np.abs(va["logprobs"] - vb["logprobs"]).max() > 1e-6:
                bad.append(n)
        elif open(pa, "rb").read() != open(pb, "rb").read():
            bad.append(n)
    return bad


def main():
    ap = argparse.ArgumentParser(description="Make the reference vectors of the model tests.")
    ap.add_argument("cases", nargs="*", help="only these cases (default: all)")
    ap.add_argument("--check", action="store_true", help="write nothing; compare with the committed files")
    ap.add_argument("--out", default=FIXTURES, help="where the fixture folders go")
    ap.add_argument("--json", help="also write the whole report to this file")
    args = ap.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        ap.error(f"unknown cases {sorted(unknown)}; there are {sorted(CASES)}")

    rows, failed = [], False
    work = tempfile.mkdtemp()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{'case':21}{'params':>7}{'KB':>5}{'f32':>9}{'plain':>9}{'freq':>9}{'cache':>9}{'entropy':>8}"
          f"{'min lp':>8}  {'v4':6}{'weights>':>9}{'probes>':>9}  weakest probe")
    try:
        for case, spec in CASES.items():
            if args.cases and case not in args.cases:
                continue
            row = make_case(case, spec, os.path.join(work, case))
            rows.append(row)
            weak = min((k for k in row["probes"] if not k.startswith("gelu")), key=row["probes"].get)
            print(f"{case:21}{row['params']:7}{row['bytes'] / 1000:5.0f}{row['f32']:9.1e}{row['plain']:9.1e}"
                  f"{row['freq']:9.1e}{row['cache']:9.1e}{row['entropy']:8.2f}{row['min']:8.1f}  {row['v4']:6}"
                  f"{min(row['weights'].values()):9.2f}{row['probes'][weak]:9.3f}  {weak}")
            for e in row["errors"]:
                print(f"    FAILED: {e}")
                failed = True
            sys.stdout.flush()
        print(f"log V = {math.log(V):.2f}; probes, largest change of a log-prob:")
        for row in rows:
            print(f"  {row['case']}: " + ", ".join(f"{k} {v:.3g}" for k, v in row["probes"].items()))
        if args.json:
            with open(args.json, "w") as f:
                json.dump(rows, f, indent=1)
        made = sorted(os.listdir(work))
        for name in made:
            dst = os.path.join(args.out, name)
            if args.check:
                bad = same_files(os.path.join(work, name), dst) if os.path.isdir(dst) else ["missing"]
                if bad:
                    print(f"{name}: differs from the committed files: {', '.join(bad)}")
                    failed = True
            elif not failed:
                shutil.rmtree(dst, ignore_errors=True)
                shutil.copytree(os.path.join(work, name), dst)
                for f in os.listdir(dst):
                    os.chmod(os.path.join(dst, f), 0o644)
        total = sum(folder_bytes(os.path.join(work, n)) for n in made)
        print(f"{len(made)} fixture folders, {total / 1e6:.2f} MB" + (", nothing written" if failed or args.check else ""))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
