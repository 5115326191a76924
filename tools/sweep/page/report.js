/* report.js: the report's sections, in their order. */

/* The next token after each prompt that the report was made for; report_next.c writes the blocks. */
const nextOf = cached("next-", 8, buffer => {
  const read = reader(buffer), n = data.next, chains = n.chains.length, plane = n.plane.temperature.length * n.plane.top_p.length;
  const d = {token: read.i32(n.top), raw: read.f32(n.top), entropy: read.f32(1)[0], kept: read.i32(chains), mass: read.f32(chains), final: [], };
  for (let i = 0; i < chains; i++) d.final.push(read.f32(n.top));
  d.plane = {temperature: n.plane.temperature, top_p: n.plane.top_p, logprob: read.f32(plane), kept: read.i32(plane)};
  return d;
});
function nextSection() {
  const bars = $("next-view"), plane = $("plane-view"), turn = latest();
  if (!data.next.available) {
    for (const box of [bars, plane]) fill(box, el("p", {class: "absent"}, data.next.why));
    return;
  }
  /* A setting in the middle of the sweep shows more of its filters than the first, often greedy one. */
  const view = {point: Math.floor(data.points.length / 2)}, drawing = el("div"), planeDrawing = el("div");
  const held = data.next.prompts, options = promptOptions().slice(0, held);
  const prompt = selector("Prompt", options, "0", value => set({read: +value}));
  const planePrompt = selector("Prompt", options, "0", value => set({read: +value}));
  fill(bars, el("div", {class: "controls"}, prompt, selector("Setting", data.points.map((p, i) => ({value: String(i), text: p.name})), String(view.point), value => { view.point = +value; draw(); })), drawing,
    held < data.prompts.length ? el("p", {class: "note"}, `For the first ${held} of ${data.prompts.length} prompts; --next-prompts takes more.`) : null);
  fill(plane, el("div", {class: "controls"}, planePrompt), planeDrawing);
  function draw() {
    if (state.read >= held) {
      for (const box of [drawing, planeDrawing]) fill(box, el("p", {class: "absent"}, `The page holds this for the first ${held} prompts.`));
      return;
    }
    prompt.select.value = planePrompt.select.value = String(state.read);
    turn(Promise.all([nextOf(state.read), spellings]), ([d, map]) => {
      const chain = data.points[view.point].chain;
      fill(drawing, nextBars({tokens: [...d.token].map(id => tokenLabel(map, id)), raw: [...d.raw], entropy: d.entropy, vocab: data.vocab_size,
        stages: chain.map(c => ({heading: data.next.chains[c], kept: d.kept[c], mass: d.mass[c], logprob: [...d.final[c]]}))}),
      chain.length ? null : el("p", {class: "note"}, "No step of this setting's chain changes anything: it draws from the model's own distribution."));
      fill(planeDrawing, planeView(d.plane));
    });
  }
  watch(bars, ["read"], draw);
  watch(plane, ["read"], draw);
}

(function () {
  overview();
  const metric = selector("Metric", metricOptions(), state.metric, value => set({metric: value}));
  const prompt = selector("Figures over", [{value: "-1", text: `all ${count(data.prompts.length, "prompt")}`}, ...promptOptions()], "-1",
    value => set(+value < 0 ? {prompt: -1} : {prompt: +value, read: +value}));
  metric.select.id = "metric";
  prompt.select.id = "over";
  $("bar").prepend(metric, data.prompts.length > 1 ? prompt : "");
  if (data.note) $("note").textContent = data.note;
  state.chosen = (() => {
    const order = bestPoints(state.metric, data.estimates[metricIndex.get(state.metric)].mean), last = order[order.length - 1];
    return order.length > 1 ? [...new Set([order[0], order[Math.floor(order.length / 2)], last])] : order;
  })();
  watch($("best"), ["metric"], winner);
  heatSection();
  scatterSection();
  tableSection();
  compareSection();
  readSection();
  treeSection();
  nextSection();
  /* The observer speaks after the first layout. */
  beginWait();
  requestAnimationFrame(() => setTimeout(endWait));
  whenDrawn(settleSoon);
  whenDrawn(() => { document.documentElement.dataset.ready = performance.now().toFixed(1); });
})();
