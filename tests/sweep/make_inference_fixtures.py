#!/usr/bin/env python3
"""Writes fixtures/inference.json: what scipy, statsmodels and the published estimators give for small data.

    pip install numpy scipy statsmodels && python3 make_inference_fixtures.py

The bootstrap is scipy's own, drawing the resamples that tools/sweep/inference.c draws: Philox4x32-10 with its key.
"""
import itertools
import json
import pathlib
import sys
from math import comb

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

RESAMPLES = 2000
KEY = (0x73776565, 0x70636900)
STREAM_RESAMPLES = 1


def philox(c0, c1, c2, c3):
    """Salmon et al. 2011; arrays of counters, returns four arrays of words."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    c = [np.asarray(x, dtype=np.uint64) for x in np.broadcast_arrays(c0, c1, c2, c3)]
    k0, k1 = KEY
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c[0]
        p1 = np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> shift) ^ c[1] ^ np.uint64(k0), p1 & mask, (p0 >> shift) ^ c[3] ^ np.uint64(k1), p0 & mask]
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


class SameDraws(np.random.Generator):
    """A generator whose integers are the draws of inference.c."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def integers(self, low, high=None, size=None, **_):
        assert low == 0 and size[0] == RESAMPLES and size[-1] == high
        quads = (high + 3) // 4
        words = philox(np.arange(quads)[None, :], np.arange(RESAMPLES)[:, None], 0, STREAM_RESAMPLES)
        draws = np.stack(words, axis=-1).reshape(RESAMPLES, -1)[:, :high]
        return ((draws * np.uint64(high)) >> np.uint64(32)).astype(np.int64).reshape(size)


def bootstrap_case(values):
    values = np.asarray(values, dtype=float)
    result = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=SameDraws(), batch=RESAMPLES)
    interval = result.confidence_interval
    return {
        "values": values.tolist(),
        "mean": float(values.mean()),
        "low": float(interval.low),
        "high": float(interval.high),
        "stderror": float(stats.sem(values)),
    }


def permutation_case(a, b):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    result = stats.permutation_test((a, b), lambda x, y, axis: np.mean(x - y, axis=axis), vectorized=True,
                                    permutation_type="samples", n_resamples=np.inf, alternative="two-sided")
    return {"a": a.tolist(), "b": b.tolist(), "p": float(result.pvalue), "correlation": float(stats.pearsonr(a, b)[0])}


def estimate_pass_at_k(n, c, k):
    """Chen et al. 2021, figure 3, as published in openai/human-eval."""
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def expected_best(scores, budget):
    """By definition: the mean over all subsets."""
    best = [max(subset) for subset in itertools.combinations(scores, budget)]
    return float(np.mean(best))


def main():
    rng = np.random.default_rng(20240607)
    bootstrap = [
        bootstrap_case([1.0, 2.0]),
        bootstrap_case([0.5, 0.25, 4.0]),
        bootstrap_case(rng.normal(-2, 0.5, 8)),
        bootstrap_case(rng.normal(0, 1, 31)),
        bootstrap_case(rng.exponential(1, 30)),
        bootstrap_case(rng.lognormal(0, 1.5, 100)),
        bootstrap_case((rng.random(30) < 0.3).astype(float)),
        bootstrap_case([1.0] * 60 + [0.0] * 4),
        bootstrap_case([0.0] * 19 + [1.0]),
        bootstrap_case(1e6 + rng.integers(0, 1024, 50) / 1024),
    ]
    pairs = []
    for n in (2, 3, 5, 8, 11, 14):
        shared = rng.normal(0, 1, n)
        pairs.append(permutation_case(shared + rng.normal(0.4, 0.5, n), shared + rng.normal(0, 0.5, n)))
    pairs.append(permutation_case([1, 0, 1, 1, 0, 1, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0, 0, 1, 0, 0]))
    # More than 14 units, of which at most 14 differ: the zeros change nothing.
    pairs.append(permutation_case([1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]))

    adjust = []
    for p in ([0.04], [0.01, 0.02, 0.03, 0.04, 0.05], [0.8, 0.001, 0.3, 0.04, 0.04, 0.012, 0.9], rng.random(40) ** 3):
        p = np.asarray(p, dtype=float)
        adjust.append({
            "p": p.tolist(),
            "holm": multipletests(p, method="holm")[1].tolist(),
            "bh": stats.false_discovery_control(p, method="bh").tolist(),
        })
        assert np.allclose(adjust[-1]["bh"], multipletests(p, method="fdr_bh")[1])

    pass_at = []
    for n, c, k in [(1, 0, 1), (1, 1, 1), (4, 1, 2), (10, 3, 1), (10, 3, 5), (10, 9, 2), (200, 7, 100), (1000, 2, 64),
                    (100000, 3, 64), (64, 0, 64), (64, 64, 1)]:
        exact = 1 - comb(n - c, k) / comb(n, k) if n < 2000 else None
        value = estimate_pass_at_k(n, c, k)
        assert exact is None or abs(exact - value) < 1e-12
        pass_at.append({"n": n, "c": c, "k": k, "value": value})

    scores = [0.31, 0.5, 0.12, 0.5, 0.77, 0.05, 0.4]
    best = [{"budget": b, "value": expected_best(scores, b)} for b in range(1, len(scores) + 1)]

    # Random flips: the exact p of 18 units, which the drawn one must approach.
    a, b = rng.normal(0.35, 1, 18), rng.normal(0, 0.3, 18)
    sampled = permutation_case(a, b)

    out = {"bootstrap": bootstrap, "pairs": pairs, "sampled": sampled, "adjust": adjust, "pass_at_k": pass_at,
           "expected_best": {"scores": scores, "cases": best},
           "made_with": f"scipy {sys.modules['scipy'].__version__}, numpy {np.__version__}"}
    path = pathlib.Path(__file__).parent / "fixtures" / "inference.json"
    path.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
