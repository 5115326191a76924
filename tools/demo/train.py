#!/usr/bin/env python3
"""Train tempera's demo model: a small GPT-2 on the stories of corpus.py.

The script generates the training, validation and test stories (three seeds),
trains a byte-level BPE tokenizer and a GPT-2 model in plain PyTorch, and
writes a Hugging Face model folder with BF16 weights:

    config.json  generation_config.json  model.safetensors
    tokenizer.json  tokenizer_config.json

    python3 train.py                       # the bundled model
    python3 train.py --steps 200 --stories 5000 --out /tmp/try   # a quick try

The model folder is written each time the validation loss has improved.  All
losses are measured with the weights as stored, that is after rounding to BF16.
The test stories are looked at once, after training.

Needs: torch, tokenizers, safetensors.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save as safetensors_bytes
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

import corpus

EOT = corpus.SEPARATOR


# ---------------------------------------------------------------------------
# Model: parameter names and layouts are those of Hugging Face's GPT2LMHeadModel,
# so state_dict() can be stored as it is.
# ---------------------------------------------------------------------------


class Conv1D(nn.Module):
    """A linear layer whose weight is stored [in, out], as in GPT-2."""

    def __init__(self, n_in, n_out, std):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.size(-1)), self.weight).view(*x.shape[:-1], -1)


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.n_head = cfg["n_head"]
        d = cfg["n_embd"]
        self.c_attn = Conv1D(d, 3 * d, 0.02)
        # GPT-2 scales the projections into the residual stream by depth.
        self.c_proj = Conv1D(d, d, 0.02 / math.sqrt(2 * cfg["n_layer"]))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.n_head, -1).transpose(1, 2) for y in self.c_attn(x).split(d, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, d))


class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["n_embd"]
        self.c_fc = Conv1D(d, 4 * d, 0.02)
        self.c_proj = Conv1D(4 * d, d, 0.02 / math.sqrt(2 * cfg["n_layer"]))

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))  # "gelu_new"


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln_1 = nn.LayerNorm(cfg["n_embd"], eps=1e-5)
        self.attn = Attention(cfg)
        self.ln_2 = nn.LayerNorm(cfg["n_embd"], eps=1e-5)
        self.mlp = MLP(cfg)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["n_embd"]
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(cfg["vocab_size"], d),
            "wpe": nn.Embedding(cfg["n_positions"], d),
            "h": nn.ModuleList(Block(cfg) for _ in range(cfg["n_layer"])),
            "ln_f": nn.LayerNorm(d, eps=1e-5),
        })
        nn.init.normal_(self.transformer["wte"].weight, std=0.02)
        nn.init.normal_(self.transformer["wpe"].weight, std=0.01)

    def forward(self, ids):
        m = self.transformer
        x = m["wte"](ids) + m["wpe"](torch.arange(ids.size(1)))
        for block in m["h"]:
            x = block(x)
        return m["ln_f"](x) @ m["wte"].weight.T  # the head is tied to wte


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def write_stories(count, seed):
    """`count` stories, each as one string without the separator."""
    writer = corpus.StoryWriter(seed)
    return [writer.story() for _ in range(count)]


def train_tokenizer(stories, vocab_size):
    """Byte-level BPE as GPT-2's: all 256 bytes are in the vocabulary."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[EOT], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator(stories, trainer)
    if tok.get_vocab_size() != vocab_size:
        raise SystemExit(f"tokenizer has {tok.get_vocab_size()} tokens, wanted {vocab_size}")
    return tok


def encode(tok, stories):
    """Token ids of every story, one list each."""
    out = []
    for i in range(0, len(stories), 1000):
        out += [e.ids for e in tok.encode_batch(stories[i:i + 1000])]
    return out


class Batches:
    """Random windows of the training stream <|endoftext|> story <|endoftext|> story ...

    A prompt meets the model at position 0, with or without <|endoftext|> before
    it, so most windows start there; the rest start anywhere, which lets every
    part of a long story occur at every position.
    """

    def __init__(self, encoded, eot, context, batch, seed):
        flat, starts = [], []
        for ids in encoded:
            starts.append(len(flat))
            flat.append(eot)
            flat += ids
        flat.append(eot)
        self.data = torch.tensor(flat, dtype=torch.long)
        limit = len(flat) - context - 1
        self.starts = torch.tensor([s for s in starts if s + 1 <= limit])
        self.limit, self.context, self.batch = limit, context, batch
        self.rng = torch.Generator().manual_seed(seed)

    def next(self):
        n, g = self.batch, self.rng
        at_story = self.starts[torch.randint(len(self.starts), (n,), generator=g)]
        at_story = at_story + torch.randint(2, (n,), generator=g)  # with or without <|endoftext|>
        anywhere = torch.randint(self.limit, (n,), generator=g)
        begin = torch.where(torch.rand(n, generator=g) < 0.75, at_story, anywhere)
        window = self.data[begin[:, None] + torch.arange(self.context + 1)]
        return window[:, :-1], window[:, 1:]


# ---------------------------------------------------------------------------
# Evaluation and storage
# ---------------------------------------------------------------------------


def rounded_copy(model, cfg):
    """The model as it will be read back: weights rounded to BF16."""
    copy = GPT2(cfg)
    copy.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in model.state_dict().items()})
    return copy.eval()


@torch.no_grad()
def evaluate(model, encoded, eot, context, batch=32):
    """Mean loss in nats per token.

    Each story is scored on its own as <|endoftext|> story <|endoftext|>, the
    first token being given; a story longer than the context is cut.
    """
    total, count = 0.0, 0
    rows = sorted(([eot] + ids + [eot])[:context + 1] for ids in encoded)
    rows.sort(key=len)  # similar lengths together, so that little is padded
    for i in range(0, len(rows), batch):
        part = rows[i:i + batch]
        longest = max(map(len, part))
        x = torch.tensor([r + [eot] * (longest - len(r)) for r in part])
        y = torch.tensor([r[1:] + [-100] * (longest - len(r)) for r in part])
        logits = model(x[:, :-1])
        total += F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-100, reduction="sum").item()
        count += int((y != -100).sum())
    return total / count


def write_file(path, data):
    """Write and rename, so that a reader never sees half a file."""
    temp = path.with_name(path.name + ".tmp")
    temp.write_bytes(data if isinstance(data, bytes) else data.encode())
    os.replace(temp, path)


def save_model(out, model, cfg, tok):
    """Write the Hugging Face folder."""
    out.mkdir(parents=True, exist_ok=True)
    eot = tok.token_to_id(EOT)
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    generation = {"bos_token_id": eot, "do_sample": True, "eos_token_id": eot, "temperature": 0.7}
    tokenizer_config = {
        "add_prefix_space": False, "bos_token": EOT, "clean_up_tokenization_spaces": False,
        "eos_token": EOT, "model_max_length": cfg["n_positions"],
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": EOT,
    }
    write_file(out / "tokenizer.json", tok.to_str(pretty=False) + "\n")
    write_file(out / "tokenizer_config.json", json.dumps(tokenizer_config, indent=2) + "\n")
    write_file(out / "config.json", json.dumps(cfg, indent=2) + "\n")
    write_file(out / "generation_config.json", json.dumps(generation, indent=2) + "\n")
    write_file(out / "model.safetensors", safetensors_bytes(tensors, metadata={"format": "pt"}))


def make_config(args, eot):
    """config.json in the form that Hugging Face writes for GPT-2."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": eot,
        "embd_pdrop": 0.0,
        "eos_token_id": eot,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": args.context,
        "n_embd": args.width,
        "n_head": args.heads,
        "n_inner": None,
        "n_layer": args.layers,
        "n_positions": args.context,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": args.vocab,
    }


# ---------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------


def learning_rate(step, args):
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    x = (step - args.warmup) / max(1, args.steps - args.warmup)
    return args.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * x)))


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    begun = time.time()

    train_set = write_stories(args.stories, args.seed)
    seen = set(train_set)
    valid_set = [s for s in write_stories(args.heldout, args.seed + 1000) if s not in seen]
    test_set = [s for s in write_stories(args.heldout, args.seed + 2000) if s not in seen]
    tok = train_tokenizer(train_set[:20000], args.vocab)
    eot = tok.token_to_id(EOT)
    encoded = encode(tok, train_set)
    valid, test = encode(tok, valid_set), encode(tok, test_set)
    lengths = sorted(map(len, encoded))
    print(f"{len(encoded)} stories, {sum(lengths)} tokens; per story: median {lengths[len(lengths) // 2]}, "
          f"longest {lengths[-1]}; held out: {len(valid)} + {len(test)} stories", flush=True)

    cfg = make_config(args, eot)
    model = GPT2(cfg)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    decay = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.95), fused=True)
    batches = Batches(encoded, eot, args.context, args.batch, args.seed)

    best = math.inf
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        x, y = batches.next()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

        done = step + 1
        if done % 50 == 0:
            print(f"step {done}/{args.steps}  loss {loss.item():.4f}  {time.time() - begun:.0f} s", flush=True)
        if done % args.eval_every == 0 or done == args.steps:
            # A part of the validation stories is enough to steer by.
            value = evaluate(rounded_copy(model, cfg), valid[:200], eot, args.context)
            note = ""
            if value < best:
                best, note = value, "  (saved)"
                save_model(args.out, model, cfg, tok)
                kept = {k: v.clone() for k, v in model.state_dict().items()}
            print(f"step {done}/{args.steps}  validation loss {value:.4f}{note}", flush=True)

    model.load_state_dict(kept)
    final = rounded_copy(model, cfg)
    for name, part in (("validation", valid), ("test", test)):
        value = evaluate(final, part, eot, args.context)
        print(f"{name}: {len(part)} stories, loss {value:.4f} nats per token, "
              f"perplexity {math.exp(value):.4f}", flush=True)
    print(f"{time.time() - begun:.0f} s in all", flush=True)


def main():
    here = Path(__file__).resolve().parent
    p = argparse.ArgumentParser(description="Train the demo model and write its Hugging Face folder.")
    p.add_argument("--out", type=Path, default=here / "model", help="model folder to write")
    p.add_argument("--stories", type=int, default=60000, help="training stories")
    p.add_argument("--heldout", type=int, default=1000, help="validation stories, and as many test stories")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vocab", type=int, default=1024)
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--batch", type=int, default=12, help="windows per step")
    p.add_argument("--steps", type=int, default=2400)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--lr", type=float, default=4e-3)
    p.add_argument("--eval-every", type=int, default=200)
    p.add_argument("--threads", type=int, default=1)
    train(p.parse_args())


if __name__ == "__main__":
    main()
