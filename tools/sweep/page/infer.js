/* infer.js: inference.c again, draw for draw (Philox with the same key), so that an interval or a p-value that is worked
 * out in the page for a choice made there is the one that `sweep stats` prints. */
const infer = (function () {
  const RESAMPLES = 2000, PERMUTATIONS = 20000, EXACT = 14, KEPT_UNITS = 4096, TIE = 1e-11, Z95 = 1.959963984540054;
  const KEY_LOW = 0x73776565, KEY_HIGH = 0x70636900, words = new Uint32Array(4);

  /* The high half of a product of two 32-bit words. */
  function high(a, b) {
    const al = a & 0xffff, ah = a >>> 16, bl = b & 0xffff, bh = b >>> 16;
    const mid = ah * bl + (al * bl >>> 16), cross = al * bh + (mid & 0xffff);
    return (ah * bh + Math.floor(mid / 65536) + Math.floor(cross / 65536)) >>> 0;
  }
  function philox(c0, c1, c2, c3) {
    let k0 = KEY_LOW, k1 = KEY_HIGH;
    for (let round = 0; round < 10; round++) {
      const n0 = (high(0xCD9E8D57, c2) ^ c1 ^ k0) >>> 0, n2 = (high(0xD2511F53, c0) ^ c3 ^ k1) >>> 0;
      c1 = Math.imul(0xCD9E8D57, c2) >>> 0;
      c3 = Math.imul(0xD2511F53, c0) >>> 0;
      c0 = n0;
      c2 = n2;
      k0 = (k0 + 0x9E3779B9) >>> 0;
      k1 = (k1 + 0xBB67AE85) >>> 0;
    }
    words[0] = c0; words[1] = c1; words[2] = c2; words[3] = c3;
  }

  /* Tables that every comparison shares. */
  const tables = new Map();
  function counts(units) { /* [units][RESAMPLES] */
    if (!tables.has(units)) {
      const table = new Uint8Array(units * RESAMPLES);
      for (let r = 0; r < RESAMPLES; r++)
        for (let i = 0; i < units; i += 4) {
          philox(i / 4, r, 0, 1);
          for (let k = 0; k < 4 && i + k < units; k++) table[high(words[k], units) * RESAMPLES + r]++;
        }
      tables.set(units, table);
    }
    return tables.get(units);
  }
  const flipWords = [];
  function flips(word) { /* eight bytes for each permutation, one after another */
    if (!flipWords[word]) {
      const bits = new Uint32Array(2 * PERMUTATIONS);
      for (let i = 0; i < PERMUTATIONS; i += 2) {
        philox(i / 2, word, 0, 2);
        bits.set(words, 2 * i);
      }
      flipWords[word] = new Uint8Array(bits.buffer);
    }
    return flipWords[word];
  }

  /* erfc to full precision: a series near 0, a continued fraction (Lentz) beyond. */
  function erfc(x) {
    const z = Math.abs(x);
    let value;
    if (z < 2) {
      let term = z, sum = z;
      for (let n = 1; Math.abs(term) > 1e-18 * sum && n < 200; n++) {
        term *= -z * z / n;
        sum += term / (2 * n + 1);
      }
      value = 1 - 2 / Math.sqrt(Math.PI) * sum;
    } else {
      let c = z, d = 0, f = z;
      for (let n = 1; n < 400; n++) {
        d = 1 / (z + n / 2 * d);
        c = z + n / 2 / c;
        f *= c * d;
        if (Math.abs(c * d - 1) < 1e-16) break;
      }
      value = Math.exp(-z * z) / Math.sqrt(Math.PI) / f;
    }
    return x >= 0 ? value : 2 - value;
  }
  const cdf = z => 0.5 * erfc(-z * Math.SQRT1_2);
  function quantile(p) {
    const t = Math.sqrt(-2 * Math.log(p < 0.5 ? p : 1 - p));
    let z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    if (p < 0.5) z = -z;
    for (let step = 0; step < 3; step++) {
      const u = (cdf(z) - p) * Math.sqrt(2 * Math.PI) * Math.exp(z * z / 2);
      z -= u / (1 + z * u / 2);
    }
    return z;
  }
  function rank(sorted, share) {
    const at = Math.min(Math.max(share * (RESAMPLES - 1), 0), RESAMPLES - 1) || 0, i = Math.floor(at), part = at - i;
    return part === 0 ? sorted[i] : sorted[i] + part * (sorted[i + 1] - sorted[i]);
  }

  /* {mean, low, high, units} of values without their NaNs, by the BCa bootstrap. */
  function estimate(all) {
    const values = all.filter(v => !Number.isNaN(v)), units = values.length;
    if (!units) return {mean: NaN, low: NaN, high: NaN, units};
    let sum = 0, largest = 0;
    for (const v of values) { sum += v; largest = Math.max(largest, Math.abs(v)); }
    const mean = sum / units;
    if (units < 2) return {mean, low: NaN, high: NaN, units};
    if (values.every(v => v === values[0])) return {mean: values[0], low: values[0], high: values[0], units};
    let squares = 0, cubes = 0;
    for (const v of values) { const d = v - mean; squares += d * d; cubes += d * d * d; }
    if (!(squares > 0) || !Number.isFinite(squares)) return {mean, low: NaN, high: NaN, units};
    const acceleration = cubes / (6 * squares * Math.sqrt(squares)), means = new Float64Array(RESAMPLES);
    if (units <= KEPT_UNITS) {
      const table = counts(units);
      for (let i = 0; i < units; i++)
        for (let r = 0, at = i * RESAMPLES; r < RESAMPLES; r++, at++) means[r] += table[at] * values[i];
    } else {
      for (let r = 0; r < RESAMPLES; r++)
        for (let i = 0; i < units; i += 4) {
          philox(i / 4, r, 0, 1);
          for (let k = 0; k < 4 && i + k < units; k++) means[r] += values[high(words[k], units)];
        }
    }
    let below = 0;
    for (let r = 0; r < RESAMPLES; r++) {
      means[r] /= units;
      below += means[r] < mean - TIE * largest ? 1 : means[r] > mean + TIE * largest ? 0 : 0.5;
    }
    means.sort();
    const least = 0.5 / RESAMPLES, z0 = quantile(Math.min(Math.max(below / RESAMPLES, least), 1 - least));
    const at = z => cdf(z0 + z / (1 - acceleration * z));
    return {mean, low: rank(means, at(z0 - Z95)), high: rank(means, at(z0 + Z95)), units};
  }

  function exactFlips(d, observed, tie) {
    const sign = d.map(() => 1), patterns = Math.pow(2, d.length - 1);
    let sum = d.reduce((a, b) => a + b, 0), hits = 0;
    for (let i = 1; ; i++) {
      if (Math.abs(sum) >= observed - tie) hits++;
      if (i === patterns) break;
      let flipped = 0;
      while (!(i >> flipped & 1)) flipped++;
      sign[flipped] = -sign[flipped];
      sum += 2 * sign[flipped] * d[flipped];
    }
    return hits / patterns;
  }
  function randomFlips(d, observed, tie) {
    const sums = new Float64Array(PERMUTATIONS), table = new Float64Array(256);
    for (let first = 0; first < d.length; first += 8) {
      const part = [0, 1, 2, 3, 4, 5, 6, 7].map(i => d[first + i] || 0);
      table[0] = 0;
      for (const v of part) table[0] -= v;
      for (let i = 0; i < 8; i++)
        for (let pattern = 0; pattern < 1 << i; pattern++) table[pattern | 1 << i] = table[pattern] + 2 * part[i];
      const bytes = flips(Math.floor(first / 64)), column = first % 64 / 8;
      for (let i = 0; i < PERMUTATIONS; i++) sums[i] += table[bytes[8 * i + column]];
    }
    let hits = 0;
    for (let i = 0; i < PERMUTATIONS; i++) if (Math.abs(sums[i]) >= observed - tie) hits++;
    return (hits + 1) / (PERMUTATIONS + 1);
  }
  function correlation(a, b) {
    const n = a.length;
    if (a.every(v => v === a[0]) || b.every(v => v === b[0])) return NaN;
    let ma = 0, mb = 0, sa = 0, sb = 0, product = 0;
    for (let i = 0; i < n; i++) { ma += a[i] / n; mb += b[i] / n; }
    for (let i = 0; i < n; i++) {
      const x = a[i] - ma, y = b[i] - mb;
      sa += x * x; sb += y * y; product += x * y;
    }
    return Math.max(-1, Math.min(1, product / Math.sqrt(sa) / Math.sqrt(sb)));
  }
  /* a - b over the units that have both: {mean, low, high, units, p, correlation}. */
  function difference(a, b) {
    const x = [], y = [], d = [];
    for (let i = 0; i < a.length; i++)
      if (!Number.isNaN(a[i]) && !Number.isNaN(b[i])) { x.push(a[i]); y.push(b[i]); d.push(a[i] - b[i]); }
    const out = estimate(d);
    out.p = out.correlation = NaN;
    if (d.length < 2) return out;
    let sum = 0, size = 0;
    for (const v of d) { sum += v; size += Math.abs(v); }
    const held = d.filter(v => v !== 0);
    if (Number.isFinite(size))
      out.p = !held.length ? 1 : (held.length > EXACT ? randomFlips : exactFlips)(held, Math.abs(sum), TIE * size);
    out.correlation = correlation(x, y);
    return out;
  }

  function ranked(p) {
    return p.map((value, index) => ({value, index})).filter(r => !Number.isNaN(r.value)).sort((a, b) => a.value - b.value || a.index - b.index);
  }
  function holm(p) {
    const out = p.map(() => NaN), order = ranked(p);
    let least = 0;
    order.forEach((r, i) => { out[r.index] = least = Math.max(least, Math.min(1, r.value * (order.length - i))); });
    return out;
  }
  function bh(p) {
    const out = p.map(() => NaN), order = ranked(p);
    let most = 1;
    for (let i = order.length; i-- > 0;) out[order[i].index] = most = Math.min(most, order[i].value * order.length / (i + 1));
    return out;
  }
  return {estimate, difference, holm, bh, philox: (...c) => { philox(...c); return [...words]; }};
})();
