/* common.js: elements, numbers, controls. Texts reach the page as text nodes only. */
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);

/* el("td", {class: "num", "aria-label": …, on: {click: …}}, child, …): strings become text nodes. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [type, run] of Object.entries(value)) node.addEventListener(type, run);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}
function fill(node, ...children) {
  node.replaceChildren(...children.filter(child => child != null));
  return node;
}

/* ---- what is still being worked out ---- */

let waits = 0, afterWaits = [];
function beginWait() { waits++; }
function endWait() {
  if (--waits === 0) afterWaits.splice(0).forEach(run => requestAnimationFrame(run));
}
/* Runs when nothing is being waited for, with the next frame. */
function whenDrawn(run) {
  afterWaits.push(run);
  beginWait();
  endWait();
}

/* ---- numbers ---- */

const is = value => typeof value === "number" && Number.isFinite(value);
/* Three significant digits, whole numbers from 100 on, groups of thousands; a true minus sign. */
function number(value, digits = 3) {
  if (!is(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) || size >= 1000) text = Math.round(value).toLocaleString("en-US");
  else if (size >= 100) text = value.toFixed(Math.max(0, digits - 3));
  else if (size >= 10) text = value.toFixed(digits - 2);
  else if (size >= 1) text = value.toFixed(digits - 1);
  else if (size >= 0.001) text = value.toFixed(digits);
  else if (size >= 0.00005) text = value.toFixed(digits + 1);
  else text = value.toExponential(Math.max(0, digits - 2));
  return text.replace(/-/g, "−");
}
const signed = value => (is(value) && value > 0 ? "+" : "") + number(value);
const interval = (low, high) => is(low) && is(high) ? `${number(low)} … ${number(high)}` : "";
function pvalue(p) {
  if (!is(p)) return "–";
  return p < 0.001 ? p.toExponential(0).replace(/-/g, "−") : p.toFixed(p < 0.1 ? 3 : 2);
}
function percent(p) {
  if (!is(p)) return "–";
  if (p >= 0.9995) return "100%";
  if (p > 0 && p < 0.00001) return "<0.001%";
  return (100 * p).toFixed(p >= 0.1 ? 1 : p >= 0.001 ? 2 : 3) + "%";
}
function seconds(s) {
  if (s < 60) return `${number(s)} s`;
  const m = Math.round(s / 60);
  return m < 60 ? `${m} min` : `${Math.floor(m / 60)} h ${m % 60} min`;
}
/* The last two parts of a folder's path. */
const modelName = path => path.split("/").filter(Boolean).slice(-2).join("/");
const short = n => n >= 1e9 ? `${(n / 1e9).toPrecision(2)}B` : n >= 1e6 ? `${(n / 1e6).toPrecision(2)}M` : n.toLocaleString("en-US");
const count = (n, one, many) => `${n.toLocaleString("en-US")} ${n === 1 ? one : many || one + "s"}`;
const cut = (text, length) => [...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text;
/* Whitespace and control characters made visible, for labels. */
const visible = text => text.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f]/g, "·");

/* ---- controls ---- */

/* options: [{value, text, group}]; groups keep their order. */
function selector(label, options, value, change) {
  const select = el("select", {on: {change: () => change(select.value)}});
  select.setOptions = list => {
    const groups = new Map();
    fill(select);
    for (const option of list) {
      const item = el("option", {value: option.value}, option.text);
      if (!option.group) { select.append(item); continue; }
      if (!groups.has(option.group)) {
        groups.set(option.group, el("optgroup", {label: option.group}));
        select.append(groups.get(option.group));
      }
      groups.get(option.group).append(item);
    }
  };
  select.setOptions(options);
  select.value = value;
  const box = el("label", {class: "control"}, label, select);
  box.select = select;
  return box;
}
/* A row of buttons, one of which is on: [{value, text}]. */
function choice(label, options, value, change) {
  const box = el("div", {class: "switch", role: "group", "aria-label": label});
  box.set = chosen => {
    for (const button of box.children) button.setAttribute("aria-pressed", String(button.value === chosen));
  };
  for (const option of options)
    box.append(el("button", {type: "button", value: option.value,
      on: {click: () => { box.set(option.value); change(option.value); }}}, option.text));
  box.set(value);
  return box;
}

/* One tab stop for a set of elements; arrow keys move between them, `columns` to a row (a function of the index may
 * give the element itself). */
function roving(items, columns) {
  items.forEach((item, i) => {
    item.setAttribute("tabindex", i === 0 ? "0" : "-1");
    item.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -i, End: items.length - 1 - i}[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = items[Math.max(0, Math.min(items.length - 1, i + step))];
      item.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
}

/* ---- the tip beside the pointer or the focused element ---- */

const tip = el("div", {class: "tip", "aria-hidden": "true", hidden: true});
document.body.append(tip);
function tipAt(x, y, title, text) {
  fill(tip, el("b", {}, title), text ? "\n" + text : null);
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = Math.max(6, Math.min(x + 12, innerWidth - width - 6)) + "px";
  tip.style.top = (y + 18 + height > innerHeight ? Math.max(6, y - height - 10) : y + 18) + "px";
}
function tipped(node, title, text) {
  const show = event => {
    const box = node.getBoundingClientRect();
    if (event.type === "focus") tipAt(box.left + box.width / 2, box.bottom - 8, title(), text());
    else tipAt(event.clientX, event.clientY, title(), text());
  };
  node.addEventListener("mousemove", show);
  node.addEventListener("focus", event => { if (node.matches(":focus-visible")) show(event); });
  for (const type of ["mouseleave", "blur"]) node.addEventListener(type, () => { tip.hidden = true; });
}
addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});

/* ---- tables behind charts ---- */

function behind(title, make) {
  const details = el("details", {class: "behind"}, el("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(make());
  });
  return details;
}
/* A table of texts; columns: [{name, num}]. The first column is the row's heading. */
function plainTable(caption, columns, rows) {
  return el("div", {class: "scroll tall", tabindex: "0", role: "region", "aria-label": caption},
    el("table", {class: "grid"}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...columns.map(c => el("th", {scope: "col", class: c.num ? "num" : null}, c.name)))),
      el("tbody", {}, ...rows.map(row => el("tr", {}, ...row.map((text, i) =>
        i === 0 ? el("th", {scope: "row"}, text) : el("td", {class: columns[i].num ? "num" : null}, text)))))));
}

/* ---- light and dark ---- */

const themeListeners = [];
const dark = () => document.documentElement.dataset.theme === "dark";
(function () {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = "auto";
  try { chosen = localStorage.getItem("tempera-theme") || "auto"; } catch (error) { /* no storage for this file */ }
  const apply = () => {
    document.documentElement.dataset.theme = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
    themeListeners.forEach(listener => listener());
  };
  const buttons = choice("Colours", [{value: "auto", text: "Auto"}, {value: "light", text: "Light"}, {value: "dark", text: "Dark"}], chosen,
    value => {
      chosen = value;
      try { localStorage.setItem("tempera-theme", value); } catch (error) { /* lasts as long as the page */ }
      apply();
    });
  buttons.className = "theme";
  $("theme").replaceWith(buttons);
  system.addEventListener("change", apply);
  apply();
})();
