/* overview.js: the page's state, the figures of the run, the best setting. */
const NOT_BETTER = "none";
const metricNames = data.metrics.map(m => m.name);
const metricIndex = new Map(metricNames.map((name, i) => [name, i]));
const metricOf = name => data.metrics[metricIndex.get(name)];
/* "the same for ..." goes on from the metric before it. */
const metricText = name => {
  let at = metricIndex.get(name);
  const own = data.metrics[at].text;
  if (!own.startsWith("the same")) return own;
  while (at > 0 && data.metrics[at].text.startsWith("the same")) at--;
  return `${data.metrics[at].text}; ${own}`;
};
const metricTitle = name => name.replace(/^pass_/, "pass@").replace(/_/g, " ");
const firstMetric = (...names) => names.find(name => metricIndex.has(name)) || metricNames[0];
const pointName = i => data.points[i].name;
/* Names repeat the fields that vary; a heading may leave out what all have. */
const promptName = i => {
  const p = data.prompts[i], text = visible(cut(p.text, 60));
  return /^\d+$/.test(p.id) ? `${p.id}  ${text}` : `${p.id}: ${text}`;
};
/* A metric to begin with: the first that tells settings apart. */
const telling = names => names.find(name => metricIndex.has(name) && new Set(data.estimates[metricIndex.get(name)].mean.filter(is)).size > 1 &&
  data.estimates[metricIndex.get(name)].low.some(is)) || firstMetric(...names);
const QUALITY = ["pass_1", "verified", "exact_match", "bleu", "chrf", "rouge_l", "logprob"];
const DIVERSITY = ["distinct_2", "distinct_2_norm", "unique_ratio", "distinct_1", "entropy"];

/* What the reader of the page has chosen; sections subscribe to the keys they show. */
const state = {metric: telling(QUALITY), prompt: -1, read: 0, sample: 0, chosen: [], colours: "raw"};
/* A section is drawn when it comes near the window, and again when what it shows has changed; far ones follow when the
 * browser has nothing else to do, so that printing and searching find them. */
const watchers = [];
const nearness = new IntersectionObserver(entries => {
  for (const entry of entries)
    for (const watcher of watchers) if (watcher.box === entry.target) {
      watcher.near = entry.isIntersecting;
      refresh(watcher);
    }
}, {rootMargin: "600px 0px"});
function refresh(watcher) {
  if (!watcher.near || !watcher.stale) return;
  watcher.stale = false;
  watcher.run();
}
function watch(box, keys, run) {
  watchers.push({box, keys, run, near: false, stale: true});
  nearness.observe(box);
}
function set(change) {
  Object.assign(state, change);
  for (const watcher of watchers) if (watcher.keys.some(key => key in change)) {
    watcher.stale = true;
    refresh(watcher);
  }
  settleSoon();
}
const whenIdle = window.requestIdleCallback || (run => setTimeout(run, 50));
let settling = 0;
function settleSoon() {
  clearTimeout(settling);
  settling = setTimeout(() => whenIdle(settle), 300);
}
function settle() {
  const watcher = watchers.find(w => w.stale);
  if (!watcher) return;
  watcher.stale = false;
  watcher.run();
  settleSoon();
}
/* Everything at once: for print. */
function drawAll() {
  for (const watcher of watchers) {
    watcher.near = true;
    refresh(watcher);
  }
}
addEventListener("beforeprint", drawAll);

/* A metric over all prompts, or its values for one: {mean, low, high} by point; low and high may be absent. */
async function figures(name, prompt) {
  if (prompt < 0) return data.estimates[metricIndex.get(name)];
  const rows = await cellsOf(name);
  return {mean: rows.map(row => row[prompt]), low: rows.map(() => null), high: rows.map(() => null)};
}
function bestPoints(name, values) {
  const sign = metricOf(name).better === "less" ? 1 : -1;
  return values.map((v, i) => [v, i]).filter(([v]) => is(v)).sort((a, b) => sign * (a[0] - b[0]) || a[1] - b[1]).map(([, i]) => i);
}
function metricOptions() {
  const group = {more: "Higher is better", less: "Lower is better", none: "Neither is better in itself"};
  return ["more", "less", "none"].flatMap(better => data.metrics.filter(m => m.better === better)
    .map(m => ({value: m.name, text: metricTitle(m.name), group: group[better]})));
}
const promptOptions = () => data.prompts.map((_, i) => ({value: String(i), text: promptName(i)}));
const choose = i => set({chosen: state.chosen.includes(i) ? state.chosen.filter(k => k !== i) : [...state.chosen, i]});
/* Sections that wait for a block show the latest answer only. */
function latest() {
  let turn = 0;
  return async (promise, show) => {
    const mine = ++turn;
    beginWait();
    try {
      const value = await promise;
      if (mine === turn) show(value);
    } catch (error) {
      $("note").textContent = `A part of this page cannot be shown: ${error.message}`;
      throw error;
    } finally {
      endWait();
    }
  };
}

function tile(name, value, small) {
  return el("div", {class: "tile"}, el("dt", {}, name), el("dd", {}, value, small ? el("small", {}, small) : null));
}
function overview() {
  const r = data.runs, settings = data.points.length, prompts = data.prompts.length;
  document.title = `${data.title} · tempera sweep`;
  $("title").textContent = `${count(settings, "setting")} on ${count(prompts, "prompt")}, ${count(data.samples, "sample")}`;
  const known = key => (data.manifest.find(([name]) => name === key) || ["", ""])[1];
  const model = known("model"), size = +known("parameters");
  $("subtitle").textContent = [data.title, model && `model ${modelName(model)}${size ? `, ${known("family")}, ${short(size)} parameters` : ""}`,
    `${known("device")} ${known("dtype")}`.trim(),
    data.seeds.length === 1 ? `seed ${data.seeds[0]}` : `${data.seeds.length} seeds`].filter(Boolean).join(" · ");
  const saved = r.row_steps > 0 ? r.generated_tokens / r.row_steps : NaN;
  const varying = data.fields.map(f => `${f.name}: ${f.values.length}`).join(", ");
  fill($("tiles"),
    tile("Settings", number(settings), varying || "one setting"),
    tile("Samples", data.samples.toLocaleString("en-US"), `${number(data.samples / Math.max(1, settings * prompts))} per setting and prompt`),
    tile("Tokens drawn", r.generated_tokens.toLocaleString("en-US"), `${number(r.generated_tokens / Math.max(1, r.samples))} per sample`),
    tile("Row-steps computed", r.row_steps.toLocaleString("en-US"),
      is(saved) ? `${number(saved)}× fewer than tokens: samples share a row while they agree` : null),
    tile("Time", seconds(r.seconds), r.seconds > 0 ? `${number(r.generated_tokens / r.seconds)} tokens/s` : null));
  const facts = [...data.manifest, ["build", r.build], ["command", r.command], ["prompt tokens computed", r.prompt_tokens.toLocaleString("en-US")]]
    .filter(([, value]) => value);
  $("facts").append(el("table", {class: "facts"}, el("tbody", {}, ...facts.map(([key, value]) =>
    el("tr", {}, el("th", {scope: "row"}, key.replace(/_/g, " ")), el("td", {}, value))))));
  $("units").textContent = data.units_are_samples
    ? "Intervals are 95% bootstrap intervals over samples: there is one prompt."
    : `Intervals are 95% bootstrap intervals over the ${prompts} prompts.`;
}

/* For the labels of charts. */
const shortName = i => pointName(i).replace(/temperature=/, "T=").replace(/_/g, "‑");

/* Dots and whiskers of the first few, on one scale. */
function rankChart(order, f, name) {
  const shown = order.slice(0, 7), width = Math.max(270, Math.min(580, $("best").clientWidth)), line = 27, narrow = width < 460, left = narrow ? 148 : 210, right = width - (narrow ? 56 : 72);
  const [low, high] = room(shown.flatMap(i => [f.mean[i], f.low[i], f.high[i]]));
  const x = linear().domain([low, high]).range([left, right]);
  const box = el("div", {class: "scroll"}), svg = svgIn(box, width, shown.length * line + 6, `The first ${shown.length} settings by ${metricTitle(name)}`);
  svg.attr("class", "rank").attr("height", null).attr("style", null);
  const rows = svg.selectAll("g").data(shown).enter().append("g").attr("transform", (_, k) => `translate(0,${k * line})`);
  rows.append("title").text(i => `${pointName(i)}: ${number(f.mean[i])}, ${interval(f.low[i], f.high[i])}`);
  rows.append("text").attr("x", left - 14).attr("y", 18).attr("text-anchor", "end").attr("font-weight", (_, k) => k ? null : 650).text(i => cut(narrow ? shortName(i) : pointName(i), narrow ? 22 : 32));
  rows.append("line").attr("class", "base").attr("x1", left).attr("x2", right).attr("y1", 14).attr("y2", 14);
  rows.filter(i => is(f.low[i])).append("line").attr("class", (i) => i === shown[0] ? "whisker" : "other-line")
    .attr("x1", i => x(f.low[i])).attr("x2", i => x(f.high[i])).attr("y1", 14).attr("y2", 14);
  rows.append("circle").attr("class", i => i === shown[0] ? "dot" : "other").attr("cx", i => x(f.mean[i])).attr("cy", 14).attr("r", 4.5);
  rows.append("text").attr("x", width).attr("y", 18).attr("text-anchor", "end").text(i => number(f.mean[i]));
  return box;
}
function winner() {
  const m = metricOf(state.metric), f = data.estimates[metricIndex.get(state.metric)], order = bestPoints(state.metric, f.mean);
  $("best-title").textContent = m.better === NOT_BETTER ? `Highest ${metricTitle(m.name)}` : `Best by ${metricTitle(m.name)}`;
  $("best-lead").textContent = `${metricText(m.name)[0].toUpperCase()}${metricText(m.name).slice(1)}. ` +
    {more: "Higher is better.", less: "Lower is better.", none: "Neither higher nor lower is better in itself."}[m.better];
  if (!order.length) return fill($("best"), el("p", {class: "absent"}, "No setting has this metric."));
  const first = order[0], overlap = order.slice(1).filter(i => is(f.low[i]) && f.high[i] >= f.low[first] && f.low[i] <= f.high[first]);
  const tied = order.slice(1).filter(i => f.mean[i] === f.mean[first]);
  const words = tied.length ? `${count(tied.length, "other setting")} ${tied.length === 1 ? "has" : "have"} the very same value.`
    : !is(f.low[first]) ? "" : overlap.length
      ? `The intervals of ${count(overlap.length, "other setting")} overlap this one; the paired differences below tell them apart better.`
      : order.length > 1 ? "No other setting's interval overlaps this one." : "";
  fill($("best"), el("div", {class: "winner"},
    el("div", {},
      el("div", {class: "value", id: "best-value"}, number(f.mean[first]), el("small", {}, is(f.low[first]) ? `95%: ${interval(f.low[first], f.high[first])}` : data.units_are_samples ? "no interval: one prompt" : "no interval: one prompt has it")),
      el("div", {class: "name", id: "best-name"}, pointName(first)),
      el("p", {class: "quiet"}, words),
      el("p", {}, el("button", {class: "button", type: "button", on: {click: () => { if (!state.chosen.includes(first)) choose(first); $("read").scrollIntoView(); }}}, "Read its texts"))),
    rankChart(order, f, m.name)));
}
