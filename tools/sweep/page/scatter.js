/* scatter.js: two metrics against each other, with the settings that no other beats in both. */
const wantOf = name => metricOf(name).better === "less" ? "less" : "more";
/* The points that no other is better than in one and at least as good in the other. */
function paretoFront(x, y, wantX, wantY) {
  const sx = wantX === "less" ? -1 : 1, sy = wantY === "less" ? -1 : 1;
  const order = x.map((_, i) => i).filter(i => is(x[i]) && is(y[i])).sort((a, b) => sx * (x[b] - x[a]) || sy * (y[b] - y[a]) || a - b);
  const front = [];
  let best = -Infinity;
  for (const i of order) {
    const equal = front.length && x[front[front.length - 1]] === x[i] && y[front[front.length - 1]] === y[i];
    if (sy * y[i] > best || equal) { front.push(i); best = sy * y[i]; }
  }
  return front;
}
function scatterSection() {
  const box = $("scatter-view"), next = latest();
  const view = {x: telling(DIVERSITY), y: telling(QUALITY)};
  view.wantX = wantOf(view.x);
  view.wantY = wantOf(view.y);
  const drawing = el("div"), wants = [{value: "more", text: "higher"}, {value: "less", text: "lower"}];
  const wanted = axis => {
    const group = choice(`Better along ${axis}`, wants, view["want" + axis], value => { view["want" + axis] = value; draw(); });
    return el("div", {class: "control"}, `Better ${axis === "X" ? "across" : "up"}`, group);
  };
  const boxX = wanted("X"), boxY = wanted("Y");
  const pick = (axis, box) => value => {
    view[axis.toLowerCase()] = value;
    view["want" + axis] = wantOf(value);
    box.lastChild.set(view["want" + axis]);
    draw();
  };
  fill(box, el("div", {class: "controls"}, selector("Across", metricOptions(), view.x, pick("X", boxX)), boxX,
    selector("Up", metricOptions(), view.y, pick("Y", boxY)), boxY), drawing);

  function draw() {
    next(Promise.all([figures(view.x, state.prompt), figures(view.y, state.prompt)]), ([fx, fy]) => {
      const points = data.points.map((_, i) => i).filter(i => is(fx.mean[i]) && is(fy.mean[i]));
      if (!points.length) return fill(drawing, el("p", {class: "absent"}, "No setting has both metrics."));
      const front = paretoFront(fx.mean, fy.mean, view.wantX, view.wantY), onFront = new Set(front);
      const width = Math.max(300, Math.min(1160, drawing.clientWidth || 900)), height = Math.min(480, Math.max(300, width * .52));
      const area = {left: 62, right: width - 14, top: 30, bottom: height - 46};
      const x = linear().domain(room(points.flatMap(i => onFront.has(i) ? [fx.mean[i], fx.low[i], fx.high[i]] : [fx.mean[i]]))).range([area.left, area.right]);
      const y = linear().domain(room(points.flatMap(i => onFront.has(i) ? [fy.mean[i], fy.low[i], fy.high[i]] : [fy.mean[i]]))).range([area.bottom, area.top]);
      const holder = el("div", {class: "scroll"});
      const svg = svgIn(holder, width, height, `${metricTitle(view.y)} against ${metricTitle(view.x)}: ${points.length} settings, ${front.length} on the Pareto front`);
      svg.attr("role", "group");
      axes(svg, x, y, area, `${metricTitle(view.x)}, ${view.wantX === "more" ? "higher" : "lower"} is better`, `${metricTitle(view.y)}, ${view.wantY === "more" ? "higher" : "lower"} is better`);
      const errors = svg.selectAll("g.bars").data(front).enter().append("g");
      errors.filter(i => is(fx.low[i])).append("line").attr("class", "error").attr("x1", i => x(fx.low[i])).attr("x2", i => x(fx.high[i])).attr("y1", i => y(fy.mean[i])).attr("y2", i => y(fy.mean[i]));
      errors.filter(i => is(fy.low[i])).append("line").attr("class", "error").attr("y1", i => y(fy.low[i])).attr("y2", i => y(fy.high[i])).attr("x1", i => x(fx.mean[i])).attr("x2", i => x(fx.mean[i]));
      svg.append("path").attr("class", "front-line").attr("d", front.map((i, k) => `${k ? "L" : "M"}${x(fx.mean[i])},${y(fy.mean[i])}`).join(""));
      const ordered = [...points].sort((a, b) => fx.mean[a] - fx.mean[b] || a - b);
      const marks = [];
      const say = i => `${metricTitle(view.x)} ${number(fx.mean[i])}${is(fx.low[i]) ? ` (${interval(fx.low[i], fx.high[i])})` : ""}\n${metricTitle(view.y)} ${number(fy.mean[i])}${is(fy.low[i]) ? ` (${interval(fy.low[i], fy.high[i])})` : ""}`;
      svg.selectAll("path.mark").data(ordered).enter().append("path").attr("role", "button")
        .attr("transform", i => `translate(${x(fx.mean[i])},${y(fy.mean[i])})`)
        /* The front is diamonds, the rest circles: told apart without colour. */
        .attr("d", i => onFront.has(i) ? "M0,-6.5L6.5,0L0,6.5L-6.5,0Z" : "M4.5,0A4.5,4.5 0 1 1 -4.5,0A4.5,4.5 0 1 1 4.5,0Z")
        .attr("class", i => (onFront.has(i) ? "mark-front" : "mark-point") + (state.chosen.includes(i) ? " mark-chosen" : ""))
        .attr("aria-label", i => `${pointName(i)}${onFront.has(i) ? ", on the front" : ""}: ${say(i)}`)
        .each(function (i) {
          marks.push(this);
          tipped(this, () => pointName(i), () => say(i));
          this.addEventListener("click", () => choose(i));
          this.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(i); } });
        });
      roving(marks, 1);
      label(svg, front, i => x(fx.mean[i]), i => y(fy.mean[i]), area, points.map(i => [x(fx.mean[i]), y(fy.mean[i])]));
      fill(drawing, holder,
        el("div", {class: "legend"}, el("span", {class: "key"}, "◆ on the Pareto front: no setting is better in one and as good in the other"), el("span", {class: "key"}, "○ the others"), el("span", {}, `over ${state.prompt < 0 ? "all prompts" : "prompt " + data.prompts[state.prompt].id}`)),
        behind(`The front as a table (${front.length})`, () => plainTable("Settings on the Pareto front",
          [{name: "Setting"}, {name: metricTitle(view.x), num: true}, {name: "95%", num: true}, {name: metricTitle(view.y), num: true}, {name: "95%", num: true}],
          front.map(i => [pointName(i), number(fx.mean[i]), interval(fx.low[i], fx.high[i]), number(fy.mean[i]), interval(fy.low[i], fy.high[i])]))));
      drawing.dataset.front = front.map(pointName).join("|");
    });
  }
  /* Names of the front where there is room for them. */
  function label(svg, front, x, y, area, marks) {
    const taken = marks.map(([px, py]) => ({x0: px - 7, x1: px + 7, y0: py - 6, y1: py + 6}));
    for (const i of front) {
      const text = cut(shortName(i), 34), w = text.length * 6.2 + 4;
      const spots = [[x(i) + 10, y(i) - 7], [x(i) + 10, y(i) + 15], [x(i) - w - 8, y(i) - 7], [x(i) - w - 8, y(i) + 15]];
      const spot = spots.find(([sx, sy]) => {
        const b = {x0: sx, x1: sx + w, y0: sy - 11, y1: sy + 3};
        return b.x0 > area.left && b.x1 < area.right && b.y0 > area.top - 10 && b.y1 < area.bottom &&
          !taken.some(t => t.x0 < b.x1 && t.x1 > b.x0 && t.y0 < b.y1 && t.y1 > b.y0);
      });
      if (!spot) continue;
      taken.push({x0: spot[0], x1: spot[0] + w, y0: spot[1] - 11, y1: spot[1] + 3});
      svg.append("text").attr("class", "label halo").attr("x", spot[0]).attr("y", spot[1]).attr("aria-hidden", "true").text(text);
    }
  }
  watch(box, ["prompt", "chosen"], draw);
  let last = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== last) { last = innerWidth; if (drawing.firstChild) draw(); } });
}
