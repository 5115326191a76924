/* reader.js: texts of several settings side by side, their tokens coloured by probability. */
const LIKELY = [0.5, 0.1, 0.01];
/* Fainter with every step of surprise; below 10% and 1% an underline says so without colour. */
const tintOf = p => Math.min(.62, Math.max(0, -Math.log10(Math.max(p, 1e-5)) * .21));
function tint(node, p) {
  const alpha = tintOf(p);
  node.style.backgroundColor = alpha < .02 ? "" : `rgba(var(--low-rgb), ${alpha.toFixed(3)})`;
  node.classList.toggle("p1", p < LIKELY[1] && p >= LIKELY[2]);
  node.classList.toggle("p2", p < LIKELY[2]);
}
/* Texts of tokens: a character whose bytes are spread over several tokens goes to the one that completes it. */
function tokenTexts(path, map) {
  const stream = new TextDecoder();
  return path.map(({token}, k) => {
    const piece = map.get(token);
    return stream.decode(piece ? piece.bytes : new Uint8Array(), {stream: k + 1 < path.length});
  });
}
/* A stem that parts in two. */
function forkIcon() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 14 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", "M3 15V1M3 9C3 6 11 7 11 1");
  svg.append(path);
  return svg;
}
const FINISH = ["length", "eos", "stop", "cancelled", "error"];

function readSection() {
  const box = $("read-view"), next = latest();
  if (!data.prompts.some(p => p.shown)) return fill(box, el("p", {class: "absent"}, "The page holds no texts."));
  const view = {}, add = selector("Add a setting", [{value: "", text: "choose …"}, ...data.points.map((p, i) => ({value: String(i), text: p.name}))], "", value => {
    if (value !== "" && !state.chosen.includes(+value)) choose(+value);
    add.select.value = "";
  });
  const prompt = selector("Prompt", promptOptions(), String(state.read), value => set({read: +value}));
  const sample = selector("Sample", [], "", value => set({sample: +value}));
  const step = by => el("button", {class: "button", type: "button", "aria-label": by < 0 ? "previous sample" : "next sample", on: {click: () => {
    const at = view.samples.indexOf(state.sample) + by;
    if (at >= 0 && at < view.samples.length) set({sample: view.samples[at]});
  }}}, by < 0 ? "‹" : "›");
  const back = step(-1), forth = step(1);
  const colours = el("div", {class: "control"}, "Colours show", choice("Probability", [{value: "raw", text: "the model's probability"}, {value: "final", text: "after the filters"}], state.colours, value => set({colours: value})));
  const chips = el("div", {class: "chips"}), promptText = el("div", {class: "prompt-text"}), columns = el("div", {class: "columns", id: "columns"});
  const swatches = [1, .3, .1, .03, .01, .001].map(p => {
    const node = el("span", {class: "swatch token"}, p >= .01 ? 100 * p + "%" : "0.1%");
    tint(node, p * .999);
    return node;
  });
  fill(box, el("div", {class: "controls"}, prompt, sample, back, forth, data.pieces ? colours : null, add), chips, promptText, columns,
    data.pieces ? el("div", {class: "scale"}, "A token's probability:", ...swatches, el("span", {}, "· dotted underline below 10%, solid below 1% ·"), el("span", {class: "fork"}, forkIcon()), el("span", {}, "from here on the sample is alone; what it shares before is paler"))
      : el("p", {class: "note"}, data.pieces_why));

  function drawColumn(t, map, i) {
    const at = t.find(i, state.sample);
    if (at < 0) return el("article", {class: "column"}, el("h3", {}, pointName(i)), el("p", {class: "quiet"}, "This sample is not in the page."));
    const path = t.path(at), logs = path.reduce((sum, k) => sum + Math.log(k.raw), 0), verdict = t.verdict[at];
    const meta = [count(path.length, "token"), `ended by ${FINISH[t.finish[at]]}`, path.length ? `mean log-probability ${number(logs / path.length)}` : null,
      t.fork[at] >= path.length ? (path.length ? "another sample begins the same" : null) : t.fork[at] >= 0 ? `alone from token ${t.fork[at] + 1}` : null, verdict === 1 ? "verified ✓" : verdict === 0 ? "verification failed ✗" : null,
      t.right[at] === 1 ? "right answer ✓" : t.right[at] === 0 ? "wrong answer ✗" : null].filter(Boolean).join(" · ");
    const text = el("div", {class: "text"}), stored = t.text(at);
    if (map) {
      const texts = tokenTexts(path, map), shown = t.shown[at];
      path.forEach((k, n) => {
        if (n === t.fork[at]) text.append(el("span", {class: "fork", title: "from here on this sample is alone"}, forkIcon(), el("span", {class: "sr"}, " from here on this sample is alone ")));
        const ended = n >= shown, p = state.colours === "raw" ? k.raw : k.final;
        const span = el("span", {class: "token" + (ended ? " end" : "") + (n < t.fork[at] ? " shared" : "")}, ended ? visible(texts[n]) || "end" : texts[n]);
        span.dataset.k = n;
        tint(span, p);
        text.append(span);
      });
      if (t.fork[at] >= path.length && path.length) text.append(el("span", {class: "fork"}, " = another"));
      hover(text, path, texts);
      if (stored !== null) text.append(el("p", {class: "quiet"}, "Stored text: ", stored));
    } else text.append(stored === null ? "" : stored);
    return el("article", {class: "column", "data-point": i}, el("h3", {}, pointName(i)), el("p", {class: "meta"}, meta), text,
      map ? behind("Tokens as a table", () => plainTable(`Tokens of sample ${state.sample}, ${pointName(i)}`,
        [{name: "#"}, {name: "token"}, {name: "model", num: true}, {name: "after filters", num: true}],
        tokenTexts(path, map).map((words, n) => [String(n + 1), visible(words), percent(path[n].raw), percent(path[n].final)]))) : null);
  }
  function hover(text, path, texts) {
    text.addEventListener("mousemove", event => {
      const k = event.target.dataset && event.target.dataset.k;
      if (k === undefined) { tip.hidden = true; return; }
      tipAt(event.clientX, event.clientY, `“${visible(texts[k])}”`, `token ${+k + 1}, id ${path[k].token}\nmodel ${percent(path[k].raw)}\nafter the filters ${percent(path[k].final)}`);
    });
    text.addEventListener("mouseleave", () => { tip.hidden = true; });
  }
  function draw() {
    prompt.select.value = String(state.read);
    promptText.textContent = data.prompts[state.read].text;
    if (!data.prompts[state.read].shown) return fill(columns, el("p", {class: "absent"}, "The page holds no texts of this prompt."));
    columns.setAttribute("aria-busy", "true");
    next(Promise.all([textsOf(state.read), spellings]), ([t, map]) => {
      view.samples = [...new Set(t.sample)].sort((a, b) => a - b);
      if (!view.samples.includes(state.sample)) state.sample = view.samples[0];
      const at = view.samples.indexOf(state.sample);
      sample.select.setOptions(view.samples.map(s => ({value: String(s), text: String(s)})));
      sample.select.value = String(state.sample);
      back.disabled = at <= 0;
      forth.disabled = at >= view.samples.length - 1;
      fill(chips, ...state.chosen.map(i => el("span", {class: "chip"}, el("span", {}, pointName(i)), el("button", {type: "button", "aria-label": `remove ${pointName(i)}`, on: {click: () => choose(i)}}, "×"))));
      fill(columns, ...(state.chosen.length ? state.chosen.map(i => drawColumn(t, map, i)) : [el("p", {class: "absent"}, "Choose settings in the table, the heat map or the list above.")]));
      columns.removeAttribute("aria-busy");
    });
  }
  watch(box, ["read", "sample", "chosen", "colours"], draw);
}
