/* table.js: every setting with its figures; sorted by any column. */
function tableSection() {
  const box = $("table-view"), next = latest();
  const view = {columns: null, sort: "order", down: false, intervals: true};
  const defaults = () => [...new Set([state.metric, ...[telling(QUALITY), "bleu", "logprob", "entropy", "distinct_2", "self_bleu", "loop_rate", "length"].filter(n => metricIndex.has(n))])].slice(0, 4);
  const drawing = el("div");
  const chooser = behind("Columns", () => el("div", {class: "chooser"}, ...data.metrics.map(m => {
    const input = el("input", {type: "checkbox", value: m.name, on: {change: () => {
      view.columns = metricNames.filter(name => name === m.name ? input.checked : columns().includes(name));
      draw();
    }}});
    input.checked = columns().includes(m.name);
    return el("label", {title: metricText(m.name)}, input, metricTitle(m.name));
  })));
  const columns = () => view.columns || defaults();
  fill(box, drawing, chooser);

  function heading(key, text, cls) {
    const sorted = view.sort === key;
    return el("th", {scope: "col", class: cls, "aria-sort": sorted ? (view.down ? "descending" : "ascending") : null},
      el("button", {class: "sort", type: "button", "data-key": key, on: {click: () => {
        view.down = sorted ? !view.down : key !== "order" && key !== "name" && !key.startsWith("field:") && metricOf(key).better !== "less";
        view.sort = key;
        draw();
        drawing.querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
      }}}, text + (sorted ? (view.down ? " ▼" : " ▲") : "")));
  }
  function draw() {
    const shown = columns();
    const needed = metricIndex.has(view.sort) && !shown.includes(view.sort) ? [...shown, view.sort] : shown;
    next(Promise.all(needed.map(name => figures(name, state.prompt))), all => {
      const f = Object.fromEntries(needed.map((name, i) => [name, all[i]]));
      const key = i => view.sort === "order" ? i : view.sort === "name" ? pointName(i) : view.sort.startsWith("field:") ? data.points[i].values[+view.sort.slice(6)] : f[view.sort].mean[i];
      const order = data.points.map((_, i) => i).sort((a, b) => {
        const x = key(a), y = key(b);
        if (typeof x === "number" && is(x) !== is(y)) return is(x) ? -1 : 1; /* what has no value comes last */
        return (view.down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0) || a - b;
      });
      const best = new Set(bestPoints(state.metric, (f[state.metric] || data.estimates[metricIndex.get(state.metric)]).mean).slice(0, 1));
      const top = Object.fromEntries(shown.map(name => [name, metricOf(name).better === NOT_BETTER ? -1 : bestPoints(name, f[name].mean)[0]]));
      fill(drawing, el("div", {class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Settings and their figures"},
        el("table", {class: "grid", id: "settings"},
          el("caption", {class: "sr"}, `Settings, ${state.prompt < 0 ? "all prompts" : "prompt " + data.prompts[state.prompt].id}`),
          el("thead", {}, el("tr", {}, heading("name", "Setting", "first"), ...data.fields.map((field, k) => heading("field:" + k, field.name.replace(/_/g, " "), "num")),
            ...shown.map(name => heading(name, metricTitle(name), "num")))),
          el("tbody", {}, ...order.map(i => {
            const input = el("input", {type: "checkbox", "aria-label": `Read the texts of ${pointName(i)}`, on: {change: () => choose(i)}});
            input.checked = state.chosen.includes(i);
            return el("tr", {class: best.has(i) ? "best" : null, "data-point": i},
              el("th", {scope: "row", class: "first", title: pointName(i)}, input, pointName(i)),
              ...data.fields.map((field, k) => el("td", {class: "num"}, field.values[data.points[i].values[k]])),
              ...shown.map(name => el("td", {class: "num"}, el(top[name] === i ? "b" : "span", {}, number(f[name].mean[i])), top[name] === i ? el("span", {class: "sr"}, " (best)") : null,
                is(f[name].low[i]) ? el("span", {class: "interval"}, interval(f[name].low[i], f[name].high[i])) : null)));
          })))),
        el("p", {class: "note"}, "Tick settings to read their texts side by side below. Bold: the best of a column, where the metric has a better side."));
    });
  }
  watch(box, ["metric", "prompt", "chosen"], draw);
}
