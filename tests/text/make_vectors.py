#!/usr/bin/env python3
"""Writes vectors.json: small tokenizers, texts, and what Hugging Face's tokenizers makes of them.

    pip install tokenizers && python3 tests/text/make_vectors.py

vocabularies: those that many entries share; a tokenizer then names one instead of holding it.
Each entry: name, tokenizer (a tokenizer.json), cases [text, ids, plain ids, decoded]: ids with what the post-processor adds,
plain ids without it and with special tokens in the text left alone, decoded text of ids with special tokens kept (null
where U+FFFD stands for bytes). Texts and tokenizers are made here; nothing is taken from elsewhere."""

import json
import os
import random

from tokenizers import Tokenizer

TEXTS = [
    "", " ", "a", "the cat sat on the mat", "  two  spaces ", "Don't we'll 'S I'm", "x=1234567;y=3.14", "tab\tnew\nline\r\n",
    "\n\n \n  \n", "caf\u00e9 cafe\u0301 CAF\u00c9", "\u0391\u03a3 \u03c3\u03c2 \u0130I\u0131", "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
    "\u3053\u3093\u306b\u3061\u306f \u304b\u3099", "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab", "\u0645\u0631\u062d\u0628\u0627 \u0661\u0662\u0663", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1ef\U0001f1f5", "\ufb01\u00bd\u00b2\u2167\u2460\uff21", "a\u00a0b\u3000c\u2028d\u200be",
    "<s>cat</s>", "a <mask> b", "x<pad>y <s> the", "the<mask>the", "if (x[0] != '\\0') { return -1; }",
    "\u2581the\u2581cat", "\u0120the \u010a", "<0x41> </w> ##a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "e\u0301\u0323 q\u0323\u0301", "_under_score-dash--...!?", "  <mask>\n\nthe", "\u0001\u007f", "the catthe  mat the",
]
ALPHABET = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]] + [chr(256 + i) for i in range(68)]


def special(index, content, **flags):
    token = {"id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return {**token, "normalized": False, "special": True, **flags}


def byte_level(**flags):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **flags}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def steps(*members):
    return {"type": "Sequence", "pretokenizers": list(members)}


def normal(*members):
    return {"type": "Sequence", "normalizers": list(members)}


def vocabulary(first, merges):
    """Ids in order for the first pieces and for what every merge joins."""
    pieces = list(first)
    for merge in merges:
        joined = merge.replace(" ", "")
        if joined not in pieces:
            pieces.append(joined)
    return {piece: index for index, piece in enumerate(pieces)}


def model(vocab, merges, **settings):
    return {"type": "BPE", "unk_token": None, "fuse_unk": False, "byte_fallback": False, **settings, "vocab": vocab, "merges": merges}


BYTE_MERGES = ["t h", "th e", "\u0120 the", "a t", "c at", "\u0120 cat", "\u0120 s", "\u0120s at", "m at", "\u0120 \u0120", "\u0120\u0120 \u0120\u0120", "a a",
               "aa aa", "1 2", "3 4", "12 3", "\u00c3 \u00a9", "\u00e3 \u0123", "' t", "n ' t", "\u010a \u010a", "r e", "- -", ". ."]
BYTE_MERGES = [m for m in BYTE_MERGES if m != "n ' t"]
BYTE_VOCAB = vocabulary(ALPHABET, BYTE_MERGES)
BYTE_ADDED = [special(len(BYTE_VOCAB), "<s>"), special(len(BYTE_VOCAB) + 1, "</s>"), special(len(BYTE_VOCAB) + 2, "<mask>", lstrip=True),
              special(len(BYTE_VOCAB) + 3, "<pad>", special=False, rstrip=True)]

SP_FIRST = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list("\u2581thecasomn.,'1234x\u00e9\u4f60\u597d")
SP_MERGES = ["\u2581 t", "h e", "\u2581t he", "\u2581 c", "a t", "\u2581c at", "\u2581 s", "\u2581s at", "\u2581 \u2581", "\u2581\u2581 \u2581\u2581", "o n", "\u2581 on", "\u4f60 \u597d", "a a", "aa aa"]
SP_VOCAB = vocabulary(SP_FIRST, SP_MERGES)
SP_MODEL = model(SP_VOCAB, SP_MERGES, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
SP_ADDED = [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>", rstrip=True)]
LLAMA = normal({"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})
LLAMA_DECODER = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
                                                  {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
BOS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}

WORD_FIRST = ["<unk>"] + list("thecasmonxy.,'!?-_()[]=;:1234567") + ["\u00e9"]
WORD_MERGES = ["t h", "th e", "c a", "a t", "ca t", "o n", "- -", ". ."]

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokenizer(model_, **parts):
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
             "post_processor": None, "decoder": None, **parts}
    return {**whole, "model": model_}


def byte_tokenizer(pre, **parts):
    settings = parts.pop("settings", {})
    return tokenizer(model(BYTE_VOCAB, BYTE_MERGES, **settings), pre_tokenizer=pre, **{"decoder": byte_level(), "added_tokens": BYTE_ADDED, **parts})


def piece_tokenizer(**parts):
    return tokenizer(parts.pop("model_", SP_MODEL), **{"normalizer": LLAMA, "decoder": LLAMA_DECODER, "added_tokens": SP_ADDED, "post_processor": BOS, **parts})


def metaspace(**flags):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True, **flags}


def entries():
    yield "gpt2", byte_tokenizer(byte_level())
    yield "prefix-space", byte_tokenizer(byte_level(add_prefix_space=True))
    yield "llama3", byte_tokenizer(steps(split(LLAMA3), byte_level(use_regex=False)), settings={"ignore_merges": True})
    yield "qwen2", byte_tokenizer(steps(split(LLAMA3.replace("{1,3}", "")), byte_level(use_regex=False)), normalizer={"type": "NFC"})
    yield "o200k", byte_tokenizer(steps(split(O200K, "Removed", True), byte_level(use_regex=False)))
    yield "falcon", byte_tokenizer(steps({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(), {"type": "Digits", "individual_digits": False},
                                         split("[0-9][0-9][0-9]")))
    yield "starcoder", byte_tokenizer(steps({"type": "Digits", "individual_digits": True}, byte_level()))
    yield "deepseek", byte_tokenizer(steps(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), {"type": "Digits", "individual_digits": True},
                                           byte_level(use_regex=False)))
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        yield "split-" + behavior, byte_tokenizer(steps(split(r"[\s.,-]|x*", behavior), byte_level(use_regex=False)))
        yield "inverted-" + behavior, byte_tokenizer(steps(split(" ", behavior, True, "String"), byte_level(use_regex=False, add_prefix_space=True)))
    yield "roberta", byte_tokenizer(byte_level(), post_processor={"type": "RobertaProcessing", "sep": ["</s>", BYTE_ADDED[1]["id"]],
                                                                  "cls": ["<s>", BYTE_ADDED[0]["id"]], "trim_offsets": True, "add_prefix_space": False})
    yield "no-decoder", byte_tokenizer(byte_level(), decoder=None)
    yield "lowercase", byte_tokenizer(byte_level(), normalizer={"type": "Lowercase"}, added_tokens=[special(len(BYTE_VOCAB), "CAT", normalized=True, special=False)])
    yield "single-word", byte_tokenizer(byte_level(), added_tokens=[special(BYTE_VOCAB["cat"], "cat", single_word=True, special=False), special(len(BYTE_VOCAB), "  ", special=False)])
    yield "llama", piece_tokenizer()
    yield "gemma", piece_tokenizer(normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                                   pre_tokenizer=split(" ", "MergedWithPrevious", False, "String"))
    for scheme in ["always", "first", "never"]:
        yield "metaspace-" + scheme, piece_tokenizer(normalizer=None, pre_tokenizer=metaspace(prepend_scheme=scheme), decoder=metaspace(prepend_scheme=scheme))
    yield "metaspace-whole", piece_tokenizer(normalizer=None, pre_tokenizer=metaspace(split=False))
    yield "no-fallback", piece_tokenizer(model_={**SP_MODEL, "byte_fallback": False})
    yield "no-fusing", piece_tokenizer(model_={**SP_MODEL, "byte_fallback": False, "fuse_unk": False})
    yield "nothing-for-unknown", piece_tokenizer(model_={**SP_MODEL, "byte_fallback": False, "unk_token": None})
    for form in ["NFC", "NFD", "NFKC", "NFKD", "StripAccents"]:
        yield form, piece_tokenizer(normalizer=normal({"type": form}, *LLAMA["normalizers"]))
    yield "replace-and-strip", piece_tokenizer(normalizer=normal({"type": "Strip", "strip_left": True, "strip_right": True},
                                                                 {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, *LLAMA["normalizers"]))
    for name, pre in [("whitespace", "Whitespace"), ("whitespace-split", "WhitespaceSplit"), ("punctuation", "Punctuation")]:
        yield name, tokenizer(model(vocabulary(WORD_FIRST, WORD_MERGES), WORD_MERGES, unk_token="<unk>"), pre_tokenizer={"type": pre})
    suffixed = vocabulary(["<unk>"] + [c + e for c in "thecasmon." for e in ("", "</w>")], ["t h", "th e</w>", "a t</w>", "c at</w>"])
    yield "suffix", tokenizer(model(suffixed, ["t h", "th e</w>", "a t</w>", "c at</w>"], unk_token="<unk>", end_of_word_suffix="</w>"),
                              pre_tokenizer={"type": "Whitespace"})
    prefixed = {piece: index for index, piece in enumerate(["<unk>"] + [e + c for c in "thecasmon." for e in ("", "##")] + ["th", "the", "##at", "cat"])}
    yield "prefix", tokenizer(model(prefixed, ["t ##h", "th ##e", "##a ##t", "c ##at"], unk_token="<unk>", continuing_subword_prefix="##"),
                              pre_tokenizer={"type": "Whitespace"})


VOCABULARIES = {"bytes": BYTE_VOCAB, "pieces": SP_VOCAB}


def random_texts(count):
    source = random.Random(7)
    parts = [t for t in TEXTS if t] + ["the", "cat", " ", "  ", "\n", "12", "345", "'s", ".", ",", "<s>", "<mask>", "\u00e9", "\u4f60", "x"]
    return ["".join(source.choice(parts)[: source.randint(1, 12)] for _ in range(source.randint(2, 6))) for _ in range(count)]


def run(name, description, texts):
    source = json.dumps(description, ensure_ascii=False)
    whole, plain = Tokenizer.from_str(source), Tokenizer.from_str(source)
    plain.encode_special_tokens = True
    cases = []
    for text in texts:
        ids = whole.encode(text).ids
        decoded = whole.decode(ids, skip_special_tokens=False)
        cases.append([text, ids, plain.encode(text, add_special_tokens=False).ids, None if "\ufffd" in decoded else decoded])
    description = {**description, "model": {**description["model"]}}
    for shared, vocab in VOCABULARIES.items():
        if description["model"]["vocab"] is vocab:
            description["model"]["vocab"] = shared
    return {"name": name, "tokenizer": description, "cases": cases}


def main():
    extra = random_texts(30)
    out = []
    for index, (name, description) in enumerate(entries()):
        texts = TEXTS + extra[index % 10 :: 10]
        texts = texts[index % 2 :: 2] if index >= 12 else texts
        out.append(run(name, description, texts))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json")
    with open(path, "w", encoding="utf-8") as file:
        lines = [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in out]
        vocabularies = json.dumps(VOCABULARIES, ensure_ascii=False, separators=(",", ":"))
        file.write('{"vocabularies":' + vocabularies + ',\n"entries":[\n' + ",\n".join(lines) + "\n]}\n")
    print(path, os.path.getsize(path), "bytes", len(out), "tokenizers", sum(len(e["cases"]) for e in out), "cases")


if __name__ == "__main__":
    main()
