/* next.js: the next token's distribution before and after each step, and the plane of temperature and top-p. */

/* d: {tokens: [label], raw: [logprob], stages: [{heading, kept, mass, logprob: […]}], vocab, entropy}. */
function nextBars(d) {
  const meter = (logprob, gone) => {
    const p = gone ? 0 : Math.exp(logprob), bar = el("div", {class: "fill"});
    bar.style.width = (100 * p).toFixed(2) + "%";
    return el("td", {class: "barcell" + (gone ? " gone" : "")}, el("div", {class: "meter"}, el("div", {class: "track", "aria-hidden": "true"}, bar), el("span", {class: "out"}, gone ? "removed" : percent(p))));
  };
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Next token"},
    el("table", {class: "grid next"}, el("caption", {class: "sr"}, "Probabilities of the most likely next tokens, before and after each step of the sampling chain"),
      el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "Token"),
        el("th", {scope: "col"}, "model", el("small", {}, `${number(d.vocab)} tokens, entropy ${number(d.entropy)} nats`)),
        ...d.stages.map(s => el("th", {scope: "col"}, s.heading, el("small", {}, `${number(s.kept)} left, ${percent(s.mass)}`))))),
      el("tbody", {}, ...d.tokens.map((label, i) => el("tr", {}, el("th", {scope: "row", class: "tok"}, visible(label)), meter(d.raw[i], false),
        ...d.stages.map(s => meter(s.logprob[i], s.logprob[i] === null || !Number.isFinite(s.logprob[i]))))))));
}
/* p: {temperature: […], top_p: […], logprob: […], kept: […]}; rows are temperatures. */
function planeView(p) {
  const box = el("div"), drawing = el("div");
  const draw = what => {
    const chart = heatTable({
      caption: what === "p" ? "Largest token probability by temperature and top-p" : "Tokens left by temperature and top-p",
      x: {name: "top_p", values: p.top_p.map(v => String(v))}, y: {name: "temperature", values: p.temperature.map(v => String(v))}, small: true, domain: what === "p" ? [0, 1] : null,
      cell(ix, iy) {
        const at = iy * p.top_p.length + ix, most = Math.exp(p.logprob[at]), kept = p.kept[at];
        return {value: what === "p" ? most : Math.log10(kept), text: what === "p" ? (most >= .995 ? "100" : (100 * most).toFixed(0)) : kept < 1000 ? String(kept) : Math.round(kept / 1000) + "k",
          title: `temperature ${p.temperature[iy]}, top_p ${p.top_p[ix]}`, tip: `largest probability ${percent(most)}\n${count(kept, "token")} left`};
      },
    });
    fill(drawing, chart.node, what === "p" ? scaleLegend(percent(chart.low), percent(chart.high), "numbers are per cent") : scaleLegend(number(Math.pow(10, chart.low)), number(Math.pow(10, chart.high)), "tokens, logarithmic"));
  };
  fill(box, el("div", {class: "controls"}, choice("Show", [{value: "p", text: "largest probability"}, {value: "kept", text: "tokens left"}], "p", draw)), drawing);
  draw("p");
  return box;
}
