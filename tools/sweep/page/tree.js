/* tree.js: the continuations of a prompt as rows of the batch saw them: what samples share is drawn once. */
function treeSection() {
  const box = $("tree-view"), next = latest();
  if (!data.prompts.some(p => p.shown)) return fill(box, el("p", {class: "absent"}, "The page holds no texts."));
  const view = {who: "all", focus: null, read: -1};
  const prompt = selector("Prompt", promptOptions(), String(state.read), value => set({read: +value}));
  const whose = () => [{value: "all", text: "all settings"}, {value: "chosen", text: "the chosen settings"}, ...data.points.map((p, i) => ({value: String(i), text: p.name, group: "One setting"}))];
  const crumbs = el("div", {class: "crumbs"}), drawing = el("div"), outline = el("div");
  fill(box, el("div", {class: "controls"}, prompt, selector("Samples of", whose(), "all", value => { view.who = value; view.focus = null; draw(); })), crumbs, drawing, outline);

  /* Nodes that any of the samples passes, chains without a branch merged: {words, tokens, count, ends, p, children}. */
  function grow(t, map, wanted) {
    const passing = new Uint32Array(t.nodes), ending = new Uint32Array(t.nodes);
    let total = 0, empty = 0;
    for (let i = 0; i < t.samples; i++) {
      if (!wanted(t.point[i])) continue;
      total++;
      if (t.end[i] < 0) { empty++; continue; }
      ending[t.end[i]]++;
      passing[t.end[i]]++;
    }
    for (let i = t.nodes; i-- > 0;) if (t.parent[i] >= 0) passing[t.parent[i]] += passing[i];
    /* Children as linked lists; 0 stands for the root. */
    const first = new Int32Array(t.nodes + 1).fill(-1), next = new Int32Array(t.nodes);
    for (let i = t.nodes; i-- > 0;) if (passing[i]) {
      next[i] = first[t.parent[i] + 1];
      first[t.parent[i] + 1] = i;
    }
    const make = (node, parent) => {
      let last = node, tokens = 1, steps = t.raw[node];
      /* On while one child takes all samples; then nothing ends in between. */
      for (let below = first[last + 1]; below >= 0 && passing[below] === passing[last]; below = first[last + 1]) {
        last = below;
        tokens++;
        steps += t.raw[last];
      }
      return {tokens, count: passing[node], ends: ending[last], p: Math.exp(-steps / PROBABILITY_STEPS / tokens), parent, last, kids: null,
        get words() {
          const ids = [];
          for (let k = last; ids.length < tokens; k = t.parent[k]) ids.push(t.token[k]);
          return decoderOf(ids.reverse(), map);
        }};
    };
    const kids = branch => {
      if (branch.kids) return branch.kids;
      branch.kids = [];
      for (let k = first[branch.last + 1]; k >= 0; k = next[k]) branch.kids.push(make(k, branch));
      return branch.kids.sort((a, b) => b.count - a.count || a.last - b.last);
    };
    const root = {words: "", tokens: 0, count: total, ends: empty, p: 1, parent: null, last: -1, kids: null};
    return {root, kids};
  }
  function decoderOf(ids, map) {
    if (!map) return ids.map(id => `#${id} `).join("");
    const stream = new TextDecoder();
    return ids.map(id => stream.decode(map.has(id) ? map.get(id).bytes : new Uint8Array(), {stream: true})).join("") + stream.decode();
  }
  function pathTo(branch) { return branch.parent ? pathTo(branch.parent) + branch.words : branch.words; }

  function icicle(tree) {
    const width = Math.max(300, Math.min(1160, drawing.clientWidth || 900)), height = 440, least = 2.2, perToken = Math.max(26, Math.min(58, width / 20));
    const placed = [], focus = view.focus;
    (function place(branch, x, y, h) {
      let top = y;
      for (const kid of tree.kids(branch)) {
        const kh = h * kid.count / branch.count;
        if (kh >= least && x < width) {
          placed.push({branch: kid, x, y: top, w: Math.min(kid.tokens * perToken, width - x), h: kh});
          place(kid, x + kid.tokens * perToken, top, kh);
        }
        top += kh;
      }
    })(focus, 0, 0, height);
    const holder = el("div"), svg = svgIn(holder, width, height, `Continuations: ${count(focus.count, "sample")}`);
    svg.attr("role", "group");
    const nodes = [];
    const groups = svg.selectAll("g").data(placed).enter().append("g").attr("class", "branch").attr("role", "button")
      .attr("aria-label", d => `${visible(d.branch.words)}: ${d.branch.count} of ${tree.root.count} samples, ${count(d.branch.tokens, "token")}`);
    groups.append("rect").attr("x", d => d.x).attr("y", d => d.y).attr("width", d => Math.max(1, d.w)).attr("height", d => d.h).attr("rx", 2);
    groups.append("rect").attr("class", "tint").attr("x", d => d.x).attr("y", d => d.y).attr("width", d => Math.max(1, d.w)).attr("height", d => d.h).attr("rx", 2)
      .attr("opacity", d => tintOf(d.branch.p));
    groups.filter(d => d.h >= 15 && d.w >= 18).append("text").attr("x", d => d.x + 5).attr("y", d => d.y + Math.min(d.h / 2 + 4.5, d.h - 2.5))
      .text(d => fit(visible(d.branch.words.trim()), d.w - 8, d.branch.count > 1 ? ` ${d.branch.count}` : ""));
    groups.each(function (d) {
      nodes.push(this);
      tipped(this, () => `“${visible(cut(d.branch.words, 160))}”`, () => `${count(d.branch.count, "sample")} of ${tree.root.count} (${percent(d.branch.count / tree.root.count)}), ${count(d.branch.tokens, "token")}\nmean probability of a token ${percent(d.branch.p)}${d.branch.ends ? `\n${count(d.branch.ends, "sample")} end here` : ""}`);
      const zoom = () => { view.focus = d.branch; show(tree); };
      this.addEventListener("click", zoom);
      this.addEventListener("keydown", event => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); zoom(); }
        if ((event.key === "Escape" || event.key === "Backspace") && view.focus.parent) { event.preventDefault(); view.focus = view.focus.parent; show(tree); }
      });
    });
    roving(nodes, 1);
    return holder;
  }
  function fit(text, room, tail) {
    const letters = Math.floor(room / 6.3) - tail.length;
    return letters < 2 ? "" : cut(text, letters) + tail;
  }
  /* The same tree as nested lists, a level at a time. */
  function list(tree, branch) {
    const items = tree.kids(branch), shown = items.slice(0, 60);
    const ends = branch.ends ? [el("li", {class: "quiet"}, el("span", {class: "count"}, `${branch.ends}×`), "ends here")] : [];
    return el("ul", {class: "outline"}, ...shown.map(kid => {
      const label = [el("span", {class: "count"}, `${kid.count}×`), el("span", {class: "words"}, visible(kid.words))];
      if (!tree.kids(kid).length) return el("li", {}, ...label);
      const details = el("details", {}, el("summary", {}, ...label));
      details.addEventListener("toggle", () => { if (details.open && details.childElementCount === 1) details.append(list(tree, kid)); });
      return el("li", {}, details);
    }), items.length > shown.length ? el("li", {class: "quiet"}, `and ${items.length - shown.length} more`) : null, ...ends);
  }
  function show(tree) {
    tip.hidden = true;
    const up = el("button", {class: "button", type: "button", on: {click: () => { view.focus = view.focus.parent; show(tree); }}}, "↑ one up");
    const all = el("button", {class: "button", type: "button", on: {click: () => { view.focus = tree.root; show(tree); }}}, "whole tree");
    up.disabled = all.disabled = !view.focus.parent;
    const words = pathTo(view.focus), tail = [...words].slice(-160).join("");
    fill(crumbs, up, all, el("span", {}, `${count(view.focus.count, "sample")} of ${tree.root.count}`), el("span", {class: "path"}, words ? `“${tail === words ? "" : "…"}${visible(tail)}”` : "after the prompt"));
    fill(drawing, view.focus.count ? icicle(tree) : el("p", {class: "absent"}, "No samples."),
      el("div", {class: "scale"}, "Mean probability of a token:", ...[1, .3, .1, .03, .01].map(p => {
        const swatch = el("span", {class: "swatch"}, 100 * p + "%");
        swatch.style.backgroundColor = `rgba(var(--low-rgb), ${tintOf(p)})`;
        return swatch;
      }), "· the height is the number of samples, the width the number of tokens"));
    fill(outline, behind("The tree as a list", () => list(tree, view.focus)));
  }
  function draw() {
    view.read = state.read;
    prompt.select.value = String(state.read);
    if (!data.prompts[state.read].shown) return fill(drawing, el("p", {class: "absent"}, "The page holds no texts of this prompt."));
    next(Promise.all([textsOf(state.read), spellings]), ([t, map]) => {
      const one = +view.who, wanted = view.who === "all" ? () => true : view.who === "chosen" ? i => state.chosen.includes(i) : i => i === one;
      const tree = grow(t, map, wanted);
      view.focus = tree.root;
      drawing.dataset.samples = tree.root.count;
      drawing.dataset.first = tree.kids(tree.root).length;
      show(tree);
    });
  }
  watch(box, ["read", "chosen"], () => { if (state.read !== view.read || view.who === "chosen") draw(); });
}
