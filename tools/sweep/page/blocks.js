/* blocks.js: the page's compressed columns (sweep_report.c describes them), decoded when they are asked for. */
async function inflate(name) {
  const holder = $("block-" + name);
  if (!holder) throw new Error("the page holds no block " + name);
  const packed = Uint8Array.from(atob(holder.textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
/* make(buffer) of a block, remembered; at most `most` of a kind, the oldest goes. */
function cached(prefix, most, make) {
  const held = new Map();
  return key => {
    if (!held.has(key)) {
      held.set(key, inflate(prefix + key).then(buffer => make(buffer, key)));
      if (held.size > most) held.delete(held.keys().next().value);
    }
    return held.get(key);
  };
}
/* Columns one after another. */
function reader(buffer) {
  let at = 0;
  const take = (type, n) => {
    const bytes = n * type.BYTES_PER_ELEMENT;
    /* A column may begin anywhere; typed arrays may not. */
    const column = at % type.BYTES_PER_ELEMENT ? new type(buffer.slice(at, at + bytes)) : new type(buffer, at, n);
    at += bytes;
    return column;
  };
  return {u8: n => take(Uint8Array, n), u16: n => take(Uint16Array, n), i16: n => take(Int16Array, n), u32: n => take(Uint32Array, n),
    i32: n => take(Int32Array, n), f32: n => take(Float32Array, n), f64: n => take(Float64Array, n)};
}

/* A metric's values: rows[point][prompt], and [point][unit] for intervals. */
const cellsOf = cached("cells-", 64, buffer => rowsOf(new Float64Array(buffer), data.prompts.length));
const unitsOf = data.units_are_samples
  ? cached("units-", 16, buffer => rowsOf(new Float64Array(buffer), data.units))
  : cellsOf;
function rowsOf(values, width) {
  return data.points.map((_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
}

/* Spellings of the tokens that the page shows. */
const spellings = data.pieces ? inflate("pieces").then(buffer => {
  const read = reader(buffer), [n] = read.u32(1), ids = read.u32(n), lengths = read.u32(n), special = read.u8(n);
  const bytes = read.u8(lengths.reduce((a, b) => a + b, 0)), map = new Map();
  let at = 0;
  for (let i = 0; i < n; i++) {
    map.set(ids[i], {bytes: bytes.subarray(at, at + lengths[i]), special: special[i] === 1});
    at += lengths[i];
  }
  return map;
}) : Promise.resolve(null);
const decoder = new TextDecoder();
const tokenLabel = (map, id) => map && map.has(id) ? decoder.decode(map.get(id).bytes) : `#${id}`;

/* A prompt's samples: the trie of their tokens, and for each sample where it ends. */
const PROBABILITY_STEPS = 1024;
const textsOf = cached("texts-", 3, buffer => {
  const read = reader(buffer), [nodes, samples, tokens] = read.u32(3);
  const t = {nodes, samples, back: read.u32(nodes), token: read.i32(nodes), point: read.i32(samples), sample: read.i32(samples),
    end: read.i32(samples), length: read.u32(samples), fork: read.i32(samples), bytes: read.u32(samples), shown: read.u32(samples)};
  t.raw = read.u16(nodes);
  t.lift = read.i16(tokens);
  t.finish = read.u8(samples);
  t.verdict = read.u8(samples);
  t.right = read.u8(samples);
  let texts = 0, at = 0;
  for (const n of t.bytes) if (n !== 0xffffffff) texts += n;
  const text = read.u8(texts);
  t.first = new Uint32Array(samples);
  t.textAt = new Uint32Array(samples);
  for (let i = 0, token = 0; i < samples; i++) {
    t.first[i] = token;
    token += t.length[i];
    t.textAt[i] = at;
    if (t.bytes[i] !== 0xffffffff) at += t.bytes[i];
  }
  t.parent = new Int32Array(nodes);
  t.depth = new Uint32Array(nodes);
  for (let i = 0; i < nodes; i++) {
    t.parent[i] = t.back[i] === 0 ? -1 : i - t.back[i];
    t.depth[i] = t.parent[i] < 0 ? 1 : t.depth[t.parent[i]] + 1;
  }
  t.text = i => t.bytes[i] === 0xffffffff ? null : decoder.decode(text.subarray(t.textAt[i], t.textAt[i] + t.bytes[i]));
  t.find = (point, sample) => {
    for (let i = 0; i < samples; i++) if (t.point[i] === point && t.sample[i] === sample) return i;
    return -1;
  };
  /* Its tokens: [{token, raw, final}], probabilities from the codes. */
  t.path = i => {
    const path = new Array(t.length[i]);
    let node = t.end[i];
    for (let k = t.length[i]; k-- > 0; node = t.parent[node]) {
      const raw = t.raw[node], final = raw + t.lift[t.first[i] + k];
      path[k] = {token: t.token[node], raw: Math.exp(-raw / PROBABILITY_STEPS), final: Math.exp(-final / PROBABILITY_STEPS)};
    }
    return path;
  };
  return t;
});
