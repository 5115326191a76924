/* heat.js: any metric over any two fields that vary. */
const AVERAGE = "average";
function heatSection() {
  const fields = data.fields, box = $("heat-view"), next = latest();
  if (!fields.length) return fill(box, el("p", {class: "absent"}, "All settings are equal in every field: there is no axis to draw."));
  const view = {x: 0, y: fields.length > 1 ? 1 : -1, fix: fields.map(() => AVERAGE)};
  const controls = el("div", {class: "controls"}), drawing = el("div");
  fill(box, controls, drawing);

  function build() {
    const options = fields.map((f, i) => ({value: String(i), text: f.name}));
    fill(controls,
      selector("Across", options.filter(o => +o.value !== view.y), String(view.x), value => { view.x = +value; build(); draw(); }),
      fields.length > 1 ? selector("Down", options.filter(o => +o.value !== view.x), String(view.y), value => { view.y = +value; build(); draw(); }) : null,
      ...fields.map((f, i) => i === view.x || i === view.y ? null
        : selector(f.name, [{value: AVERAGE, text: "average over all"}, ...f.values.map((v, k) => ({value: String(k), text: `only ${v}`}))],
          view.fix[i], value => { view.fix[i] = value; draw(); })));
  }
  /* The points of one place on the two axes. */
  function pointsAt(ix, iy) {
    const found = [];
    data.points.forEach((p, i) => {
      if (p.values[view.x] !== ix || (view.y >= 0 && p.values[view.y] !== iy)) return;
      if (view.fix.some((fix, k) => k !== view.x && k !== view.y && fix !== AVERAGE && p.values[k] !== +fix)) return;
      found.push(i);
    });
    return found;
  }
  /* Mean and interval of several settings together: each unit's mean over them, then the bootstrap over units. */
  function together(points, f, units) {
    if (points.length === 1) return {mean: f.mean[points[0]], low: f.low[points[0]], high: f.high[points[0]]};
    const good = points.filter(i => is(f.mean[i]));
    const mean = good.reduce((sum, i) => sum + f.mean[i], 0) / good.length;
    if (!units) return {mean, low: null, high: null};
    const averaged = units[points[0]].map((_, u) => {
      const have = points.map(i => units[i][u]).filter(v => !Number.isNaN(v));
      return have.length ? have.reduce((a, b) => a + b, 0) / have.length : NaN;
    });
    const e = infer.estimate(averaged);
    return {mean, low: e.low, high: e.high};
  }
  function draw() {
    const m = metricOf(state.metric), several = data.points.some((p) => pointsAt(p.values[view.x], view.y < 0 ? 0 : p.values[view.y]).length > 1);
    const need = several && state.prompt < 0 ? unitsOf(m.name) : Promise.resolve(null);
    next(Promise.all([figures(m.name, state.prompt), need]), ([f, units]) => {
      const fx = fields[view.x], fy = view.y < 0 ? null : fields[view.y];
      const where = state.prompt < 0 ? "all prompts" : `prompt ${data.prompts[state.prompt].id}`;
      const chart = heatTable({
        caption: `${metricTitle(m.name)} by ${fx.name}${fy ? " and " + fy.name : ""}, ${where}`,
        x: {name: fx.name, values: fx.values}, y: fy ? {name: fy.name, values: fy.values} : {name: "", values: [""]},
        better: m.better,
        cell(ix, iy) {
          const points = pointsAt(ix, iy);
          if (!points.length) return null;
          const e = together(points, f, units);
          const title = `${fx.name} ${fx.values[ix]}` + (fy ? `, ${fy.name} ${fy.values[iy]}` : "");
          const range = interval(e.low, e.high);
          return {value: e.mean, text: number(e.mean), title, points,
            tip: `${metricTitle(m.name)} ${number(e.mean)}${range ? `, 95%: ${range}` : ""}\n${points.length === 1 ? pointName(points[0]) : `mean of ${points.length} settings`}`};
        },
        pick: cell => { if (cell.points.length === 1) choose(cell.points[0]); },
      });
      const others = fields.map((field, i) => i === view.x || i === view.y ? null
        : view.fix[i] === AVERAGE ? `${field.name} is averaged over` : `${field.name} is ${field.values[+view.fix[i]]}`).filter(Boolean);
      fill(drawing, chart.node,
        scaleLegend(number(chart.low), number(chart.high), m.better === NOT_BETTER ? metricTitle(m.name) : `${metricTitle(m.name)}; the best is framed`),
        el("p", {class: "note", id: "heat-note"}, `Over ${where}. ${others.length ? others.join("; ") + ". " : ""}` +
          `Point at a cell or move with the arrow keys for its interval; click or press Enter to read its texts below.`));
    });
  }
  build();
  watch(box, ["metric", "prompt"], draw);
}
