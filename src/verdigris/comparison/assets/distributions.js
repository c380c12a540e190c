// Latency of one operation in both roles, overlaid; a list to choose from, operations with findings first.
const CELLS_PER_OCTAVE = 16;
const QUANTILES = [["p50", 0.5], ["p90", 0.9], ["p99", 0.99]];
let showOperation = () => {};
let showService = () => {};

function drawDistributions(place) {
  if (!data.operations.length) return place.replaceChildren(nothing("No operation was seen in either role."));
  const ranked = data.operations.map((operation, at) => ({ ...operation, at })).sort((a, b) => Boolean(b.findings.length) - Boolean(a.findings.length) || weight(b) - weight(a) || compare(nameOf(a.operation), nameOf(b.operation)));
  const state = { at: ranked[0].at, measure: "durations" };
  const search = html("input", { type: "search", placeholder: `Filter ${ranked.length} operations`, "aria-label": "Filter operations", spellcheck: "false", autocomplete: "off" });
  const list = html("ul", { class: "operations", "aria-label": "Operations" });
  const empty = nothing("No operation has this in its name.");
  const chart = html("div", { class: "plot" }), title = html("h3"), facts = html("div", { class: "wide" });
  const buttons = ranked.map((operation) => operationButton(operation, () => { state.at = operation.at; redraw(); }));
  const rows = buttons.map((button) => html("li", {}, button));
  list.append(...rows);
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    rows.forEach((row, at) => { row.hidden = !nameOf(ranked[at].operation).toLowerCase().includes(wanted); });
    empty.hidden = rows.some((row) => !row.hidden);
  };
  search.addEventListener("input", filter);
  const redraw = () => {
    const operation = data.operations[state.at];
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(ranked[at].at === state.at)));
    title.replaceChildren(html("b", {}, operation.operation.service), " ", html("span", { class: "kind" }, operation.operation.kind.toLowerCase()), " ", operation.operation.name);
    drawDensity(chart, operation, state.measure);
    facts.replaceChildren(operationTable(operation));
  };
  const measure = choice("What is measured", [["durations", "Duration"], ["exclusives", "Exclusive time"]], "durations", (value) => { state.measure = value; redraw(); });
  const panel = html("div", { class: "panel" }, title, html("div", { class: "tools" }, measure, legend(["baseline", "baseline"], ["candidate", "candidate"])), chart, facts);
  place.replaceChildren(html("div", { class: "chooser" }, html("div", { class: "side" }, search, list, empty), panel));
  filter();
  responsive(chart, redraw);
  showOperation = (at) => { state.at = at; search.value = ""; filter(); redraw(); };
  showService = (service) => {
    const first = ranked.find((operation) => operation.operation.service === service || operation.operation.name.includes(service));
    if (first) { state.at = first.at; redraw(); }
    search.value = first && first.operation.service !== service ? "" : service;
    filter();
    document.getElementById("latency").scrollIntoView();
  };
}

const weight = (operation) => Math.max(operation.baseline?.requests || 0, operation.candidate?.requests || 0);

function operationButton({ operation, baseline, candidate, findings }, act) {
  const numbers = !baseline ? "only in candidate" : !candidate ? "missing in candidate" : `p50 ${ms(baseline.p50_ms)} → ${ms(candidate.p50_ms)}`;
  const button = html("button", { type: "button", title: nameOf(operation), "aria-pressed": "false" },
    html("span", { class: "what" }, html("b", {}, operation.service), " ", operation.name),
    html("span", { class: "how" }, findings.length ? html("em", {}, findings.map(tagOf).join(", ")) : null, numbers));
  button.addEventListener("click", act);
  return button;
}

/** Both histograms on one grid, coarsened until a step is wide enough to be seen. */
function steps(operation, measure) {
  const cells = ROLES.map((role) => operation[role]?.[measure] || []);
  const present = cells.flat();
  if (!present.length) return null;
  const keep = 0.0004; // The thin ends of a long tail would squeeze the rest; what is left out is told.
  const ends = cells.map((histogram) => {
    let before = 0;
    const kept = histogram.filter(([, part]) => { before += part; return before > keep && before - part < 1 - keep; });
    return (kept.length ? kept : histogram).map(([cell]) => cell);
  }).flat();
  const low = Math.min(...ends) - 4, high = Math.max(...ends) + 5;
  const grain = [1, 2, 4, 8, 16, 32].find((size) => (high - low) / size <= 84) || 64;
  const first = Math.floor(low / grain), count = Math.ceil(high / grain) - first;
  const shares = cells.map((histogram) => {
    const sums = new Array(count).fill(0);
    for (const [cell, part] of histogram) sums[Math.max(0, Math.min(count - 1, Math.floor(cell / grain) - first))] += part;
    return sums;
  });
  return { first, grain, count, shares };
}

/** The time below which this share of requests lies, by the histogram. */
function quantileOf(cells, wanted) {
  let reached = 0;
  for (const [cell, part] of cells) {
    if (reached + part >= wanted) return 2 ** ((cell + (wanted - reached) / part) / CELLS_PER_OCTAVE);
    reached += part;
  }
  return cells.length ? 2 ** ((cells.at(-1)[0] + 1) / CELLS_PER_OCTAVE) : null;
}

function quantiles(operation, role, measure) {
  const stats = operation[role];
  if (!stats || !stats[measure].length) return [];
  return QUANTILES.map(([name, part]) => ({ name, value: (measure === "durations" && stats[`${name}_ms`]) || quantileOf(stats[measure], part) }));
}

function drawDensity(place, operation, measure) {
  const wide = Math.max(300, place.clientWidth || 700), frame = { left: 10, right: 10, top: 58, plot: 210, bottom: 30 };
  const grid = steps(operation, measure);
  if (!grid) return place.replaceChildren(nothing("No request of this operation was measured."));
  const from = (grid.first * grid.grain) / CELLS_PER_OCTAVE, to = ((grid.first + grid.count) * grid.grain) / CELLS_PER_OCTAVE;
  const x = (value) => frame.left + ((Math.log2(value) - from) / (to - from)) * (wide - frame.left - frame.right);
  const top = Math.max(...grid.shares.flat()) * 1.06, base = frame.top + frame.plot;
  const y = (part) => base - (part / top) * frame.plot;
  const height = base + frame.bottom;
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${height}`, class: "density", role: "img", "data-measure": measure, "aria-label": `Distribution of ${measure === "durations" ? "duration" : "exclusive time"} of ${nameOf(operation.operation)}; the table below has its quantiles.` });
  timeAxis(picture, x, 2 ** from, 2 ** to, frame.top, base, wide);
  ROLES.forEach((role, at) => {
    if (grid.shares[at].some((part) => part > 0)) picture.append(svg("path", { d: outline(grid, grid.shares[at], x, y, base), class: `steps ${role}`, "data-role": role }));
  });
  ROLES.forEach((role, at) => markQuantiles(picture, quantiles(operation, role, measure), role, x, 16 + at * 22, base, wide));
  place.replaceChildren(picture);
  const absent = ROLES.filter((role) => !operation[role]);
  if (absent.length) place.append(nothing(`The ${absent.join(" and the ")} never has this operation.`));
}

function outline(grid, shares, x, y, base) {
  let d = "", open = false;
  shares.forEach((part, at) => {
    const edge = (step) => x(2 ** (((grid.first + step) * grid.grain) / CELLS_PER_OCTAVE)).toFixed(1);
    if (part > 0) d += `${open ? "L" : `M${edge(at)} ${base}L`}${edge(at)} ${y(part).toFixed(1)}H${edge(at + 1)}`;
    if (open && !(part > 0)) d += `V${base}`;
    if (part > 0 && at === shares.length - 1) d += `V${base}`;
    open = part > 0;
  });
  return d;
}

function timeAxis(picture, x, low, high, top, base, wide) {
  const marks = [];
  const decades = Math.log10(high / low);
  const factors = decades < 1.2 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : decades < 3 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const factor of factors) marks.push(factor * 10 ** power);
  let free = 0;
  for (const mark of marks) {
    const at = x(mark), text = ms(mark), half = width(text, 11) / 2;
    if (mark < low || mark > high || at - half < free || at + half > wide) continue;
    free = at + half + 14;
    picture.append(svg("path", { d: `M${at.toFixed(1)} ${top}V${base}`, class: "grid" }), svg("text", { x: at.toFixed(1), y: base + 18, "text-anchor": "middle", class: "tick" }, text));
  }
  picture.append(svg("path", { d: `M0 ${base}H${wide}`, class: "axis" }));
}

/** Labels in one line per role, moved apart where quantiles lie close together. */
function markQuantiles(picture, marks, role, x, line, base, wide) {
  if (!marks.length) return;
  const labels = marks.map((mark) => ({ ...mark, text: wide < 460 ? mark.name : `${mark.name} ${ms(mark.value)}`, at: Math.max(2, Math.min(wide - 2, x(mark.value))) }));
  for (const label of labels) label.size = width(label.text, 11, 600);
  const margin = Math.max(...labels.map((label) => label.size)) / 2 + 2;
  const placed = spread(labels, (a, b) => (a.size + b.size) / 2 + 12, margin, wide - margin);
  for (const label of placed) {
    picture.append(svg("path", { d: `M${label.placed.toFixed(1)} ${line + 4}L${label.at.toFixed(1)} ${line + 12}V${base}`, class: `quantile ${role}` }));
    picture.append(svg("text", { x: label.placed.toFixed(1), y: line, "text-anchor": "middle", class: `quantile-text ${role}` }, label.text));
  }
}

function operationTable({ baseline, candidate }) {
  const errors = (stats) => (stats.requests ? stats.errors / stats.requests : 0);
  const rows = [["Requests", (s) => s.requests, digits, false], ["Errors", errors, share, true], ["p50", (s) => s.p50_ms, ms, true], ["p90", (s) => s.p90_ms, ms, true], ["p99", (s) => s.p99_ms, ms, true], ["Exclusive, mean", (s) => s.exclusive_ms, ms, true]];
  const cells = (read, text) => [baseline, candidate].map((stats) => html("td", { class: "number" }, stats ? text(read(stats)) : "–"));
  const change = (read, text) => {
    if (!baseline || !candidate) return "–";
    if (!Number.isFinite(read(baseline)) || !Number.isFinite(read(candidate))) return "–";
    const value = read(candidate) - read(baseline);
    return text === share ? `${signed(value * 100, digits)} points` : signed(value, text);
  };
  return html("table", { class: "numbers" },
    html("thead", {}, html("tr", {}, html("td"), ["Baseline", "Candidate", "Difference"].map((title) => html("th", { scope: "col", class: "number" }, title)))),
    html("tbody", {}, rows.map(([name, read, text, differs]) => html("tr", {}, html("th", { scope: "row" }, name), cells(read, text), html("td", { class: "number" }, differs ? change(read, text) : "")))));
}
