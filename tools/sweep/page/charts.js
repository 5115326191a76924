/* charts.js: what the charts share. D3 3.5 and later: their scales differ in name only, and events are listened to
 * without it. */
const linear = () => d3.scaleLinear ? d3.scaleLinear() : d3.scale.linear();
const svgIn = (node, width, height, label) => d3.select(node).append("svg").attr("viewBox", `0 0 ${width} ${height}`)
  .attr("width", width).attr("height", height).attr("role", "img").attr("aria-label", label);

/* Viridis: even steps of lightness, told apart with every kind of colour vision and in grey. */
const viridis = linear().domain([0, .125, .25, .375, .5, .625, .75, .875, 1]).clamp(true)
  .range(["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"]);
/* Ink that can be read on a colour. */
function inkOn(colour) {
  const c = d3.rgb(colour), channel = v => (v / 255 <= .04045 ? v / 255 / 12.92 : Math.pow((v / 255 + .055) / 1.055, 2.4));
  const light = .2126 * channel(c.r) + .7152 * channel(c.g) + .0722 * channel(c.b);
  return light > .2 ? "#101010" : "#ffffff";
}
function scaleLegend(low, high, words) {
  const ramp = el("span", {class: "ramp", "aria-hidden": "true"});
  ramp.style.background = `linear-gradient(90deg, ${d3.range(0, 1.01, .125).map(viridis).join(", ")})`;
  return el("div", {class: "scale"}, low, ramp, high, words ? el("span", {}, "· " + words) : null);
}

/* A domain that holds the values with a little room; never empty. */
function room(values, share = .06) {
  const good = values.filter(is);
  let [low, high] = d3.extent(good.length ? good : [0, 1]);
  const pad = (high - low) * share || Math.abs(high) * .05 || .5;
  return [low - pad, high + pad];
}

/* Horizontal and vertical axis of a plot: hairlines, numbers, titles. */
function axes(svg, x, y, box, xTitle, yTitle) {
  for (const value of x.ticks(Math.max(3, Math.floor((box.right - box.left) / 90)))) {
    svg.append("line").attr("class", "rule").attr("x1", x(value)).attr("x2", x(value)).attr("y1", box.top).attr("y2", box.bottom);
    svg.append("text").attr("class", "axis").attr("x", x(value)).attr("y", box.bottom + 17).attr("text-anchor", "middle").text(tickText(value));
  }
  for (const value of y.ticks(Math.max(3, Math.floor((box.bottom - box.top) / 60)))) {
    svg.append("line").attr("class", "rule").attr("x1", box.left).attr("x2", box.right).attr("y1", y(value)).attr("y2", y(value));
    svg.append("text").attr("class", "axis").attr("x", box.left - 8).attr("y", y(value) + 4).attr("text-anchor", "end").text(tickText(value));
  }
  svg.append("text").attr("class", "axis-title").attr("x", box.right).attr("y", box.bottom + 36).attr("text-anchor", "end").text(xTitle);
  svg.append("text").attr("class", "axis-title").attr("x", 2).attr("y", box.top - 12).text(yTitle);
}
const tickText = value => String(+value.toPrecision(8)).replace("-", "−");

/* A heat map as a table, so that it reads aloud, prints and scrolls as one. spec: {caption, x: {name, values}, y: {name,
 * values}, cell(ix, iy) -> {value, text, title, tip} or null, small, better ("more", "less" or null), pick(cell)}.
 * y.name may be ""; domain: [low, high] of the colours, else that of the values. */
function heatTable(spec) {
  const cells = spec.y.values.map((_, iy) => spec.x.values.map((__, ix) => spec.cell(ix, iy)));
  const flat = cells.flat().filter(c => c && is(c.value));
  const [low, high] = spec.domain || d3.extent(flat, c => c.value);
  const share = linear().domain([low, high === low ? low + 1 : high]).range([0, 1]);
  const best = spec.better === "more" ? high : spec.better === "less" ? low : NaN;
  const table = d3.select(el("table", {class: spec.small ? "heat small" : "heat"}));
  table.append("caption").attr("class", "sr").text(spec.caption);
  const head = table.append("thead");
  const names = head.append("tr");
  names.append("th").attr("class", "axis-name").attr("scope", "col").text(spec.y.name ? spec.y.name + " ↓" : "");
  names.append("th").attr("class", "axis-name").attr("colspan", spec.x.values.length).text(spec.x.name + " →");
  const columns = head.append("tr");
  columns.append("td").attr("class", "corner").style("cursor", "default");
  columns.selectAll("th").data(spec.x.values).enter().append("th").attr("scope", "col").text(v => v);
  const rows = table.append("tbody").selectAll("tr").data(cells).enter().append("tr");
  rows.each(function (row, iy) {
    d3.select(this).append("th").attr("scope", "row").text(spec.y.values[iy]);
    d3.select(this).selectAll("td").data(row).enter().append("td").each(function (cell) {
      if (!cell || !is(cell.value)) {
        this.className = "empty";
        this.setAttribute("aria-label", cell ? cell.title + ": no value" : "no setting");
        return;
      }
      const colour = viridis(share(cell.value));
      this.style.background = colour;
      this.style.color = inkOn(colour);
      this.textContent = cell.text;
      if (cell.value === best) this.classList.add("best");
      this.setAttribute("aria-label", `${cell.title}: ${cell.tip || cell.text}${cell.value === best ? ", the best" : ""}`);
      tipped(this, () => cell.title, () => cell.tip || cell.text);
      if (spec.pick) {
        this.addEventListener("click", () => spec.pick(cell));
        this.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); spec.pick(cell); } });
      }
    });
  });
  const all = [...table.node().querySelectorAll("tbody td")];
  roving(all, spec.x.values.length);
  return {node: el("div", {class: "scroll"}, table.node()), low, high};
}
