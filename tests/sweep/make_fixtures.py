#!/usr/bin/env python3
"""Writes fixtures/metrics.json: cells of samples and what public packages measure of them.

    pip install sacrebleu nltk rouge-score numpy && python3 make_fixtures.py

A cell is one line: what cells.c makes a struct cell of, and "expected", a value for each metric that this kind of cell
is about (null: NaN). The texts are made here, from a fixed seed. Values come from sacrebleu (BLEU, self-BLEU, chrF),
rouge-score (ROUGE-L), nltk (n-grams; BLEU a second time where it needs no smoothing), numpy (means), decimal (the
length-adjusted distinct-n) and zlib; pass@k and the SQuAD normalisation are as their authors published them. Loops,
choices and votes are written out in the plainest way.
"""

import codecs
import collections
import decimal
import json
import math
import pathlib
import random
import re
import string
import zlib

import nltk
import nltk.translate.bleu_score
import numpy
import sacrebleu
from nltk.util import ngrams
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU

rng = random.Random(20240607)

# ---- texts ----

NOUNS = """river castle engine album season battle bridge island painter species tower orchestra railway novel storm
museum senator garden theory harbour mountain village comet regiment school festival record station""".split()
VERBS = (
    "crossed built lost recorded described won painted opened reached rebuilt left followed destroyed named".split()
)
ADJECTIVES = (
    "old northern famous second small wooden early British rare final large unknown 19th-century royal".split()
)
NAMES = "Ada Bertrand Chen Dvořák Eloïse Fitzgerald García Hồ İnan O'Neill Müller Ångström Zoë St. Mary".split()
CJK = [
    "巴黎是法国的首都。",
    "東京タワーは、高い。",
    "한국어 문장입니다.",
    "これは　テストです",
    "中文，没有空格！",
    "数字１２３和123",
]
ODD = [
    "🙂",
    "👩‍👩‍👧",
    "é",
    "e\u0301",
    "\u212a",
    "İ",
    "ß",
    "\u2028",
    "\u2029",
    "\x85",
    "\u1680",
    "\u202f",
    "\u205f",
    "\x1f",
    "\u00a0",
    "\u3000",
    "\x1c",
    "\t",
    "\r\n",
    "\x0b",
    "\u200b",
    "\ufeff",
    "𝔘",
    "…",
    "“the”",
    "’s",
    "–",
    "—",
    "\u2003",
]
MARKS = [
    "&quot;",
    "&amp;",
    "&lt;",
    "&gt;",
    "&amp;lt;",
    "&nbsp;",
    "<skipped>",
    "<skip<skipped>ped>",
    "-\n",
    "\n",
    "--",
    "...",
    ",,",
    ".,",
    "3.14",
    "1,234.56",
    "10-12",
    "A-1",
    "5-",
    "-5",
    "$9.99",
    "50%",
    "@-@",
    "@,@",
    "C++",
    "C#",
    "x_y",
    "[1]",
    "{a}",
    "a|b",
    "~",
    "^",
    "`",
    "\\",
    "'",
    "''",
    "it's",
    "U.S.",
    "e.g.,",
    "(2,3)",
    "http://a.b/c?d=1&e=2",
    "#1",
    "*",
    "=",
]


def noun_phrase():
    words = [rng.choice(["the", "a", "an", "The", "its", "every"])]
    if rng.random() < 0.5:
        words.append(rng.choice(ADJECTIVES))
    return " ".join(words + [rng.choice(NOUNS)])


def sentence():
    parts = [rng.choice(NAMES) if rng.random() < 0.4 else noun_phrase(), rng.choice(VERBS), noun_phrase()]
    if rng.random() < 0.5:
        parts.append(
            rng.choice(
                [
                    ", which was",
                    "in %d" % rng.randint(1700, 2020),
                    "with %d,%03d men" % (rng.randint(1, 99), rng.randint(0, 999)),
                    ", according to",
                    "( about %.1f km )" % (rng.random() * 100),
                    "; then",
                    "of",
                ]
            )
        )
        parts.append(noun_phrase())
    return " ".join(parts) + rng.choice([".", " .", "!", "?", " ...", ".\n", ";"])


def article(sentences):
    text = " ".join(sentence() for _ in range(sentences))
    return (" = %s = \n " % rng.choice(NOUNS).title() + text) if rng.random() < 0.2 else text


def sprinkle(text, things, share):
    pieces = re.split(r"( )", text)
    out = []
    for piece in pieces:
        out.append(piece)
        if rng.random() < share:
            out.append(rng.choice(things) + rng.choice(["", " "]))
    return "".join(out)


def edit(text):
    """A text that shares much with another one."""
    words = text.split(" ")
    for _ in range(rng.randint(0, 1 + len(words) // 3)):
        at = rng.randrange(len(words))
        what = rng.random()
        if what < 0.35:
            words[at] = rng.choice(NOUNS + VERBS + MARKS)
        elif what < 0.6 and len(words) > 1:
            del words[at]
        elif what < 0.8:
            words.insert(at, rng.choice(words))
        else:
            words[at] = words[at].upper()
    return " ".join(words)


def base_text(i):
    kind = i % 8
    if kind == 0:
        return article(rng.randint(1, 3))
    if kind == 1:
        return sprinkle(article(rng.randint(1, 2)), MARKS, 0.25)
    if kind == 2:
        return "".join(rng.choice(CJK) for _ in range(rng.randint(1, 4)))
    if kind == 3:
        return sprinkle(sentence(), ODD, 0.4)
    if kind == 4:
        return (rng.choice(NOUNS) + rng.choice([" ", "", ", "])) * rng.randint(1, 12)
    if kind == 5:
        return "".join(rng.choice(MARKS + ["a", "7", " ", ".", ",", "é", "中"]) for _ in range(rng.randint(1, 25)))
    if kind == 6:
        return rng.choice(["", " ", "\n", "a", ".", "1", "🙂", "a b", "ab", "Yes.", "the"])
    return sentence()


def each_byte(error):
    """U+FFFD for every byte that is not UTF-8."""
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("each_byte", each_byte)


def spoil(text):
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        data.insert(rng.randint(0, len(data)), rng.choice([0, 0x80, 0xC3, 0xE2, 0xF0, 0xFF, 0xED, 0xBF]))
    return bytes(data)


def text_member(data):
    if b"\0" in data or data != data.decode(errors="ignore").encode():
        return {"hex": data.hex()}
    return {"text": data.decode()}


# ---- cells ----

cells = []


def number(value):
    return None if value is None or math.isnan(value) else float(value)


def add(kind, samples, expected, **members):
    cells.append(
        {"kind": kind, **members, "samples": samples, "expected": {k: number(v) for k, v in expected.items()}}
    )


# ---- tokens ----

self_bleu = BLEU(tokenize="none", effective_order=True)


def sentence_self_bleu(samples, i):
    ids = [" ".join(map(str, s)) for s in samples]
    score = self_bleu.sentence_score(ids[i], ids[:i] + ids[i + 1 :])
    if all(score.counts):
        again = nltk.translate.bleu_score.sentence_bleu(samples[:i] + samples[i + 1 :], samples[i])
        assert math.isclose(score.score, 100 * again, rel_tol=1e-12)
    return score.score


def expected_distinct(distinct, total, vocab, n):
    """distinct / (V (1 - ((V - 1) / V)^total)), V = vocab^n, with digits to spare."""
    with decimal.localcontext() as context:
        context.prec = 80
        values = decimal.Decimal(vocab) ** n
        return float(decimal.Decimal(distinct) / (values * (1 - ((values - 1) / values) ** total)))


def in_loop(tokens):
    for period in range(1, 33):
        tail = min(period, len(tokens))
        while tail < len(tokens) and tokens[-tail - 1] == tokens[-tail - 1 + period]:
            tail += 1
        if tail >= 3 * period and (tail >= 16 or (tail >= 8 and 2 * tail >= len(tokens))):
            return True
    return False


def token_cell(samples, vocab):
    expected = {}
    for n in range(1, 5):
        grams = [list(ngrams(s, n)) for s in samples]
        everything = [g for s in grams for g in s]
        total, distinct = len(everything), len(set(everything))
        expected["distinct_%d" % n] = distinct / total if total else None
        expected["distinct_%d_norm" % n] = expected_distinct(distinct, total, vocab, n) if total else None
        shares = [1 - len(set(s)) / len(s) for s in grams if s]
        expected["seq_rep_%d" % n] = numpy.mean(shares) if shares else None
    several = len(samples) > 1
    expected["self_bleu"] = (
        numpy.mean([sentence_self_bleu(samples, i) for i in range(len(samples))]) if several else None
    )
    copies = numpy.array(list(collections.Counter(map(tuple, samples)).values()))
    expected["unique_ratio"] = len(copies) / len(samples) if several else None
    expected["collision_entropy"] = abs(-math.log(numpy.sum((copies / len(samples)) ** 2))) if several else None
    expected["loop_rate"] = numpy.mean([in_loop(s) for s in samples])
    expected["length"] = numpy.mean([len(s) for s in samples])
    add("tokens", [{"tokens": s} for s in samples], expected, vocab=vocab)


def draw_tokens(vocab, length):
    return [min(vocab - 1, int(rng.paretovariate(rng.choice([0.4, 0.8]))) - 1) for _ in range(length)]


def looping(vocab):
    block = [rng.randrange(vocab) for _ in range(rng.choice([1, 2, 3, 5, 6, 16, 31, 32, 33]))]
    tail = (block * 40)[: rng.choice([6, 7, 8, 9, 15, 16, 17, 47, 48, 49, 95, 96, 97, 99])]
    return draw_tokens(vocab, rng.choice([0, 1, 7, 8, 9, 20])) + tail + rng.choice([[], [], [vocab - 1]])


for i in range(105):
    vocab = rng.choice([2, 3, 50, 500, 50257, 128256])
    shape = i % 7
    if shape == 0:
        made = [draw_tokens(vocab, rng.randint(0, 6)) for _ in range(rng.randint(1, 6))]
    elif shape == 1:
        made = [draw_tokens(vocab, rng.randint(10, 40)) for _ in range(rng.randint(2, 8))]
    elif shape == 2:
        stem = draw_tokens(vocab, 12)
        made = [stem[: rng.randint(0, 12)] + draw_tokens(vocab, rng.randint(0, 8)) for _ in range(rng.randint(2, 10))]
    elif shape == 3:
        made = [looping(vocab) for _ in range(3)]
    elif shape == 4:
        made = [draw_tokens(vocab, rng.randint(1, 30))] * rng.randint(1, 4) + [draw_tokens(vocab, 9)] * rng.randint(
            0, 2
        )
    elif shape == 5:
        made = [draw_tokens(2, rng.randint(0, 14)) for _ in range(rng.randint(2, 14))]
    else:
        made = [draw_tokens(vocab, rng.randint(1, 60))]
    token_cell(made, vocab)
token_cell([[]], 100)
token_cell([[], []], 100)
token_cell([[], [5]], 1)
token_cell([[0] * 30, [0] * 5], 1)

# ---- per-token figures ----

FINISHES = ["length", "eos", "stop", "error", "cancelled"]


def floats(values, digits):
    """Numbers that the reader turns into the very floats that the expected values are made of."""
    return [round(v, digits) for v in values]


def stats_cell(lengths):
    samples = []
    for n in lengths:
        samples.append(
            {
                "tokens": [rng.randrange(99) for _ in range(n)],
                "logprob": floats((-rng.expovariate(0.5) for _ in range(n)), 3),
                "final_logprob": floats((-rng.expovariate(2) for _ in range(n)), 3),
                "entropy": floats((rng.random() * 6 for _ in range(n)), 3),
                "kept_mass": floats((rng.random() for _ in range(n)), 3),
                "kept": [rng.randint(1, rng.choice([3, 99, 2**31 - 1])) for _ in range(n)],
                "greedy": [rng.randint(0, 1) for _ in range(n)],
                "finish": rng.choice(FINISHES),
                "verdict": rng.choice([-1, 0, 1]),
            }
        )

    def joined(name, kind=numpy.float32):
        return numpy.concatenate([numpy.array(s[name], dtype=kind) for s in samples]).astype(numpy.float64)

    expected = {"length": numpy.mean(lengths)}
    some = sum(lengths) > 0
    for metric, name in [("logprob",) * 2, ("final_logprob",) * 2, ("entropy",) * 2, ("kept_mass",) * 2]:
        expected[metric] = numpy.mean(joined(name)) if some else None
    expected["perplexity"] = numpy.exp(-numpy.mean(joined("logprob"))) if some else None
    sums = [
        numpy.sum(numpy.array(s["logprob"], dtype=numpy.float32).astype(numpy.float64))
        for s in samples
        if s["tokens"]
    ]
    expected["log_likelihood"] = numpy.mean(sums) if some else None
    expected["kept"] = numpy.mean(joined("kept", numpy.int64)) if some else None
    expected["greedy_agreement"] = numpy.mean(joined("greedy", numpy.int64)) if some else None
    for name in FINISHES[:4]:
        expected["finish_" + name] = numpy.mean([s["finish"] == name for s in samples])
    verdicts = [s["verdict"] for s in samples if s["verdict"] >= 0]
    expected["verified"] = numpy.mean(verdicts) if verdicts else None
    add("stats", samples, expected, vocab=2**31 - 1)


for i in range(36):
    stats_cell([rng.randint(0, 9) for _ in range(rng.randint(1, 4))])
stats_cell([0])
stats_cell([0, 0, 1])

# ---- references ----

rouge = rouge_scorer.RougeScorer(["rougeL"])


def text_cell(texts, references):
    decoded = [t.decode(errors="each_byte") for t in texts]
    expected = {
        "bleu": numpy.mean([sacrebleu.sentence_bleu(t, references).score for t in decoded]),
        "chrf": numpy.mean([sacrebleu.sentence_chrf(t, references).score for t in decoded]),
        "rouge_l": numpy.mean([rouge.score_multi(references, t)["rougeL"].fmeasure for t in decoded]),
    }
    joined = b"\n".join(texts)
    expected["compression_ratio"] = len(joined) / len(zlib.compress(joined, 9)) if any(texts) else None
    add("texts", [text_member(t) for t in texts], expected, references=references)


for i in range(216):
    base = base_text(i)
    references = [edit(base)]
    while rng.random() < 0.4:
        references.append(edit(base) if rng.random() < 0.7 else base_text(rng.randrange(8)))
    texts = [
        rng.choice([base, edit(base), references[0], edit(references[-1])]).encode()
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    if i % 9 == 4:
        texts[0] = spoil(texts[0].decode())
    if i % 9 == 5:
        texts.append(base_text(6).encode())
    text_cell(texts, references)
text_cell([b""], [""])
text_cell([b"", b""], ["a b", ""])
text_cell([b"the same words here"], ["the same words here"])
text_cell([b"alpha beta gamma"], ["delta"])

# ---- answers ----


def squad(text, articles=False, punctuation=False):
    """normalize_answer of SQuAD's evaluate-v1.1.py, with steps that can be left out."""
    text = text.lower()
    if not punctuation:
        text = "".join(c for c in text if c not in set(string.punctuation))
    if not articles:
        text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


FORMS = [{}, {"articles": True}, {"articles": True, "punctuation": True}]


def pick_form(answer, choices):
    for form in FORMS:
        by_form = {squad(c, **form): c for c in choices}
        if len(by_form) == len(set(choices)) and "" not in by_form and squad(answer, **form) != "":
            return form
    return FORMS[-1]


def predict(text, choices, form):
    lines = [line for line in text.split("\n") if line.strip()]
    line = squad(lines[0], **form) if lines else ""
    if not line or not choices:
        return line or None
    for choice in sorted((squad(c, **form) for c in choices), key=len, reverse=True):
        rest = line[len(choice) :]
        both = string.ascii_letters + string.digits
        if line.startswith(choice) and not (rest and rest[0] in both and choice[-1] in both):
            return choice
    return None


def pass_at_k(n, c, k):
    """The estimator of Chen et al. 2021, as their repository computes it; here None with too few samples."""
    if n < k:
        return None
    if n - c < k:
        return 1.0
    return 1.0 - numpy.prod(1.0 - k / numpy.arange(n - c + 1, n + 1))


def answer_cell(texts, answer, choices, verdicts):
    form = pick_form(answer, choices)
    wanted = squad(answer, **form)
    given = [predict(t.decode(errors="each_byte"), choices, form) for t in texts]
    right = [int(g == wanted) for g in given]
    logprobs = [
        floats((-rng.choice([0.5, 1, 2, rng.random() * 3]) for _ in range(rng.randint(1, 3))), 2) for _ in texts
    ]
    votes = collections.Counter(g for g in given if g is not None)
    means = [numpy.mean(numpy.array(l, dtype=numpy.float32).astype(numpy.float64)) for l in logprobs]
    expected = {
        "exact_match": numpy.mean(right),
        "best_of_n": right[int(numpy.argmax(means))],
        "majority_vote": int(votes.most_common(1)[0][0] == wanted) if votes else 0,
    }
    hits = sum(verdicts) if -1 not in verdicts else sum(right)
    for k in [1, 2, 4, 8, 16, 32, 64]:
        expected["pass_%d" % k] = pass_at_k(len(texts), hits, k)
    samples = [
        {**text_member(t), "tokens": [1] * len(l), "logprob": l, "verdict": v}
        for t, l, v in zip(texts, logprobs, verdicts)
    ]
    members = {"choices": choices} if choices else {}
    add("answers", samples, expected, answer=answer, right=right, **members)


QUESTIONS = [
    (
        "The Eiffel Tower",
        [],
        ["Eiffel tower", "eiffel  tower.", "An Eiffel Tower!", "the tower", "Eiffel Tower, Paris"],
    ),
    ("42", [], ["42", " 42.", "The 42", "forty-two", "$42", "4 2"]),
    ("a", [], ["A.", "a", "the", "an", "a a"]),
    ("巴黎", [], ["巴黎。", "巴黎", " 巴黎 ", "the 巴黎"]),
    ("Zoë's", [], ["Zoës", "zoë's", "“Zoë’s”"]),
    ("the “the” end", [], ["“” end", "“the” end", "“an” end", "end"]),
    ("?", [], ["?", "!", "? ?", "??"]),
    ("B", ["A", "B", "C", "D"], ["B", "B.", "A) no", "(B)", "Because", "b is right", "the B", "AB", "D"]),
    (
        "Paris",
        ["Paris", "London", "The Hague"],
        ["Paris, of course", "paris", "The Hague", "hague", "London.", "Parish", "In Paris"],
    ),
    (
        "New York City",
        ["New York", "New York City"],
        ["New York City", "new york", "New York Cityscape", "The New York"],
    ),
    ("C++", ["C", "C++", "C#"], ["C++", "c", "C# is", "C+", "c++!", "Cpp"]),
    ("-", ["+", "-"], ["-", "+", "+ 1", "1", "- -"]),
    ("1.5", ["15", "1.5"], ["1.5", "15", "1.5 m", "1.55"]),
    ("法国", ["法国", "德国"], ["法国人", "德国", "法国", "是法国"]),
    ("yes", ["yes", "yes", "no"], ["Yes", "no", "yes!", "not"]),
    ("maybe", ["yes", "no"], ["maybe", "yes", "no"]),
]
for i in range(80):
    answer, choices, replies = QUESTIONS[i % len(QUESTIONS)]
    n = rng.choice([1, 2, 3, 5, 9, 17])
    texts = []
    for _ in range(n):
        reply = rng.choice(replies)
        if rng.random() < 0.3:
            reply = rng.choice(["\n", " \n\t\n", "\r\n"]) + reply
        if rng.random() < 0.3:
            reply += rng.choice(["\n", "\nand more", "\n\n" + rng.choice(replies)])
        if rng.random() < 0.08:
            reply = rng.choice(["", " ", "\n\n", "...", "the"])
        texts.append(spoil(reply) if rng.random() < 0.03 else reply.encode())
    verdicts = (
        [rng.choice([0, 1]) for _ in texts]
        if i % 4 == 3
        else [rng.choice([-1, 0, 1]) if i % 4 == 2 else -1 for _ in texts]
    )
    answer_cell(texts, answer, choices, verdicts)
answer_cell([b"7"] * 40 + [b"8"] * 30, "7", [], [-1] * 70)
answer_cell([b"8"] * 64, "7", [], [-1] * 64)

# ---- the file ----

head = {
    "made_with": {
        "sacrebleu": sacrebleu.__version__,
        "nltk": nltk.__version__,
        "numpy": numpy.__version__,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
}
path = pathlib.Path(__file__).parent / "fixtures" / "metrics.json"
path.parent.mkdir(exist_ok=True)
with open(path, "w", encoding="utf-8") as out:
    out.write(json.dumps(head)[:-1] + ', "cells": [\n')
    out.write(",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cells))
    out.write("\n]}\n")
print(len(cells), "cells,", path.stat().st_size, "bytes")
