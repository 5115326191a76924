/* compare.js: every setting against one, paired over units. */
function compareSection() {
  const box = $("compare-view"), next = latest();
  if (data.points.length < 2) return fill(box, el("p", {class: "absent"}, "There is one setting: nothing to compare it with."));
  const view = {baseline: data.baseline, correction: "holm", sort: "difference"};
  const drawing = el("div");
  fill(box, el("div", {class: "controls"},
    selector("Against", data.points.map((p, i) => ({value: String(i), text: p.name})), String(view.baseline), value => { view.baseline = +value; draw(); }),
    el("div", {class: "control"}, "p-values adjusted by", choice("Correction", [{value: "holm", text: "Holm"}, {value: "bh", text: "Benjamini–Hochberg"}], view.correction, value => { view.correction = value; draw(); })),
    el("div", {class: "control"}, "Order", choice("Order", [{value: "difference", text: "by difference"}, {value: "order", text: "as run"}], view.sort, value => { view.sort = value; draw(); }))), drawing);

  /* What too few units cannot show, whatever the difference is. */
  function limits(shown) {
    const least = Math.pow(2, 1 - data.units), needed = view.correction === "holm" ? shown.length : 1;
    return least * needed < 0.05 ? "" : ` With ${count(data.units, data.units_are_samples ? "sample" : "prompt")} no p can be below ${pvalue(least)}` +
      `${needed > 1 ? `, and ${count(shown.length, "comparison")} need one below ${pvalue(0.05 / needed)}` : ""}: more of them, or fewer settings, would tell apart more.`;
  }
  function draw() {
    const m = metricOf(state.metric), base = view.baseline;
    next(unitsOf(m.name), units => {
      const all = data.points.map((_, i) => i === base ? null : infer.difference(units[i], units[base]));
      /* One prompt, and a metric that single samples do not have: a difference without an interval. */
      const means = data.estimates[metricIndex.get(m.name)].mean;
      if (data.units_are_samples) all.forEach((d, i) => { if (d && !is(d.mean) && is(means[i]) && is(means[base])) d.mean = means[i] - means[base]; });
      const adjusted = infer[view.correction](all.map(d => d ? d.p : NaN));
      const shown = data.points.map((_, i) => i).filter(i => i !== base && is(all[i].mean));
      if (!shown.length) return fill(drawing, el("p", {class: "absent"}, "No setting can be compared with this one by this metric."));
      const sign = m.better === "less" ? 1 : -1;
      if (view.sort === "difference") shown.sort((a, b) => sign * (all[a].mean - all[b].mean) || a - b);
      const width = 230, [low, high] = room([0, ...shown.flatMap(i => [all[i].mean, all[i].low, all[i].high])], .03);
      const x = linear().domain([low, high]).range([6, width - 6]);
      const scale = el("th", {scope: "col"}), scaleSvg = svgIn(scale, width, 18, "scale");
      for (const value of x.ticks(4)) scaleSvg.append("text").attr("class", "axis").attr("x", x(value)).attr("y", 13).attr("text-anchor", x(value) > width - 24 ? "end" : x(value) < 24 ? "start" : "middle").text(tickText(value));
      const table = el("table", {class: "grid", id: "differences"},
        el("caption", {}, `${metricTitle(m.name)}: each setting minus “${pointName(base)}”`),
        el("thead", {}, el("tr", {}, el("th", {scope: "col", class: "first"}, "Setting"), scale, ...["difference", "95%", "p", "adjusted p", "correlation"].map(t => el("th", {scope: "col", class: "num"}, t)), el("th", {scope: "col"}, "verdict"))),
        el("tbody", {}, ...shown.map(i => {
          const d = all[i], sure = adjusted[i] < 0.05, better = m.better === NOT_BETTER ? null : (d.mean > 0) === (m.better === "more");
          const bar = el("td"), svg = svgIn(bar, width, 20, `${signed(d.mean)}, ${interval(d.low, d.high)}`);
          svg.append("line").attr("class", "zero").attr("x1", x(0)).attr("x2", x(0)).attr("y1", 0).attr("y2", 20);
          if (is(d.low)) svg.append("line").attr("class", sure ? "whisker" : "other-line").attr("x1", x(d.low)).attr("x2", x(d.high)).attr("y1", 10).attr("y2", 10);
          svg.append("circle").attr("class", sure ? "dot" : "other").attr("cx", x(d.mean)).attr("cy", 10).attr("r", 4);
          const word = !sure ? "not told apart" : better === null ? (d.mean > 0 ? "▲ higher" : "▼ lower") : better ? "▲ better" : "▼ worse";
          return el("tr", {"data-point": i}, el("th", {scope: "row", class: "first", title: pointName(i)}, pointName(i)), bar,
            el("td", {class: "num"}, signed(d.mean)), el("td", {class: "num quiet"}, interval(d.low, d.high)), el("td", {class: "num"}, pvalue(d.p)), el("td", {class: "num"}, pvalue(adjusted[i])),
            el("td", {class: "num"}, is(d.correlation) ? d.correlation.toFixed(2).replace("-", "−") : "–"), el("td", {class: sure ? "verdict up" : "verdict none"}, word));
        })));
      for (const row of table.tBodies[0].rows) {
        const i = +row.dataset.point; /* every digit, for whoever reads the page by program */
        row.dataset.mean = all[i].mean;
        row.dataset.low = all[i].low;
        row.dataset.high = all[i].high;
        row.dataset.p = all[i].p;
        row.dataset.adjusted = adjusted[i];
      }
      fill(drawing, el("div", {class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Paired differences"}, table),
        el("p", {class: "note"}, `Paired over ${data.units_are_samples ? "samples with equal noise" : "prompts"}: what both settings have in common cancels out. p by sign flips, two-sided; ` +
          (view.correction === "holm" ? "Holm's correction keeps the chance of any false finding among all rows below 5%." : "Benjamini–Hochberg's correction keeps the expected share of false findings below 5%.") +
          " Correlation tells how much pairing gains." + limits(shown)));
    });
  }
  watch(box, ["metric"], draw);
}
