// Example traces of both roles side by side on one time scale.
const ROW = 24;
let showExamples = () => {};

function drawTraces(place) {
  const all = data.waterfalls.filter((waterfall) => waterfall.spans.length).map((waterfall) => ({ ...waterfall, closed: new Set() }));
  if (!all.length) return place.replaceChildren(nothing("No example trace was kept."));
  const named = [...new Set(all.flatMap((waterfall) => waterfall.findings))].map((id) => data.findings.find((finding) => finding.id === id)).filter(Boolean);
  const state = { finding: named[0] || null, chosen: {} };
  const columns = html("div", { class: "columns" }), key = html("p", { class: "legend" });
  const pick = () => {
    for (const role of ROLES) {
      const fitting = all.filter((waterfall) => waterfall.role === role && (!state.finding || waterfall.findings.includes(state.finding.id)));
      state.chosen[role] = fitting.length ? fitting : all.filter((waterfall) => waterfall.role === role);
    }
    state.shown = Object.fromEntries(ROLES.map((role) => [role, state.chosen[role][0]]));
    for (const waterfall of all) waterfall.closed = initiallyClosed(waterfall, state.finding);
  };
  const redraw = () => {
    const shown = ROLES.map((role) => state.shown[role]).filter(Boolean);
    const length = Math.max(1e-6, ...shown.flatMap((waterfall) => waterfall.spans.map((span) => (span.start_ms || 0) + (span.duration_ms || 0))));
    const drawn = ROLES.map((role) => traceColumn(role, state, length, redraw));
    columns.replaceChildren(...drawn);
    for (const column of drawn) column.draw?.(); // Only in the page does a column have a width.
    const services = [...new Set(shown.flatMap((waterfall) => waterfall.spans.map((span) => span.service)))].slice(0, 16);
    key.replaceChildren(...services.map((service) => html("span", {}, html("i", { class: `key ${slot(service)}`, "aria-hidden": "true" }), service)));
  };
  const tools = html("div", { class: "tools" });
  if (named.length) tools.append(choice("Examples of", named.slice(0, 12).map((finding) => [finding.id, `${finding.tag} ${finding.signal}`]), state.finding.id, (id) => { state.finding = named.find((finding) => finding.id === id); pick(); redraw(); }));
  showExamples = (id) => tools.querySelectorAll("button").forEach((button) => { if (button.dataset.value === id) button.click(); });
  place.replaceChildren(tools, columns, key);
  pick();
  responsive(columns, redraw);
}

/** Long traces start with their deep parts closed, except on the way to what the finding is about. */
function initiallyClosed(waterfall, finding) {
  const closed = new Set();
  if (waterfall.spans.length <= 18) return closed;
  const byId = new Map(waterfall.spans.map((span) => [span.span_id, span]));
  const open = new Set();
  for (const span of waterfall.spans) {
    if (!isAbout(span, finding) && !span.status) continue;
    for (let at = byId.get(span.parent_id), steps = 0; at && steps < 1000; at = byId.get(at.parent_id), steps++) open.add(at.span_id);
  }
  for (const span of waterfall.spans) if (span.depth >= 2 && !open.has(span.span_id)) closed.add(span.span_id);
  return closed;
}

const isAbout = (span, finding) => Boolean(finding) && (same(span, finding.operation) || (finding.edge && same(span, finding.edge.callee)));

/** Spans in order with what a row needs: its children, and the parts of it that no child covers. */
function shape(spans) {
  const rows = spans.map((span) => ({ span, children: [], hidden: false }));
  const byId = new Map();
  for (const row of rows) {
    const parent = byId.get(row.span.parent_id);
    if (parent) { parent.children.push(row); row.parent = parent; }
    byId.set(row.span.span_id, row);
  }
  for (const row of rows) row.own = uncovered(row);
  return rows;
}

function uncovered({ span, children }) {
  const end = span.start_ms + span.duration_ms;
  const cover = children.map((child) => [Math.max(span.start_ms, child.span.start_ms), Math.min(end, child.span.start_ms + child.span.duration_ms)]).filter(([from, to]) => to > from).sort((a, b) => a[0] - b[0]);
  const own = [];
  let at = span.start_ms;
  for (const [from, to] of cover) {
    if (from > at) own.push([at, from]);
    at = Math.max(at, to);
  }
  if (end > at || !cover.length) own.push([at, end]);
  return own;
}

function traceColumn(role, state, length, redraw) {
  const column = html("article", { class: `trace ${role}`, "data-role": role });
  const waterfall = state.shown[role];
  column.append(html("h3", {}, html("i", { class: "key", "aria-hidden": "true" }), role));
  if (!waterfall) { column.append(nothing(`No trace of the ${role} was kept as an example.`)); return column; }
  const many = state.chosen[role];
  if (many.length > 1) {
    const select = html("select", { "aria-label": `Trace of the ${role}` }, many.map((one, at) => html("option", { value: at, selected: one === waterfall }, `${one.trace_id.slice(0, 32)}, ${one.spans.length} spans`)));
    select.addEventListener("change", () => { state.shown[role] = many[Number(select.value)]; redraw(); });
    column.append(select);
  } else column.append(html("code", {}, waterfall.trace_id));
  const place = html("div", { class: "plot" });
  column.append(place);
  column.draw = () => place.replaceChildren(tracePicture(waterfall, state.finding, Math.max(280, place.clientWidth), length, redraw));
  return column;
}

function tracePicture(waterfall, finding, wide, length, redraw) {
  const rows = shape(waterfall.spans);
  for (const row of rows) row.hidden = Boolean(row.parent) && (row.parent.hidden || waterfall.closed.has(row.parent.span.span_id));
  const visibleRows = rows.filter((row) => !row.hidden);
  const names = Math.round(Math.min(250, wide * 0.42)), top = 24, right = wide - 6;
  const x = (time) => names + 8 + (time / length) * (right - names - 8);
  const height = top + visibleRows.length * ROW + 8;
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${height}`, class: "waterfall", role: "tree", "aria-label": `${waterfall.role} trace ${waterfall.trace_id}, ${waterfall.spans.length} spans` });
  let free = names;
  for (const tick of ticks(0, length, wide / 150)) {
    const at = x(tick), text = ms(tick);
    picture.append(svg("path", { d: `M${at.toFixed(1)} ${top - 4}V${height - 4}`, class: "grid" }));
    const half = width(text, 11) / 2;
    if (at - half > free && at + half <= wide) { picture.append(svg("text", { x: at.toFixed(1), y: 13, "text-anchor": "middle", class: "tick" }, text)); free = at + half + 10; }
  }
  const groups = visibleRows.map((row, at) => spanRow(row, waterfall, finding, { x, y: top + at * ROW, names, right }));
  walkable(groups, visibleRows, waterfall, redraw);
  picture.append(...groups);
  return picture;
}

function spanRow(row, waterfall, finding, { x, y, names, right }) {
  const { span } = row;
  const about = isAbout(span, finding), closed = waterfall.closed.has(span.span_id) && row.children.length;
  const indent = Math.min(span.depth, 9) * 11, middle = y + ROW / 2;
  const group = svg("g", { class: `span ${slot(span.service)}${about ? " about" : ""}${span.status ? " failed" : ""}`, role: "treeitem", tabindex: "-1", "aria-level": span.depth + 1, "data-span": span.span_id });
  if (row.children.length) group.setAttribute("aria-expanded", String(!closed));
  group.append(svg("rect", { x: 0, y, width: right + 6, height: ROW, class: "row" }));
  if (row.children.length) group.append(svg("path", { d: closed ? `M${indent + 3} ${middle - 4}l5 4-5 4z` : `M${indent + 2} ${middle - 3}h8l-4 5z`, class: "fold" }));
  group.append(svg("rect", { x: indent + 13, y: middle - 5, width: 4, height: 10, class: "swatch" }));
  const count = closed ? ` +${descendants(row)}` : "";
  const room = names - indent - 22 - width(count, 11.5, 600);
  const service = span.depth && row.parent?.span.service === span.service ? "" : span.service;
  const shownService = service ? fit(service, room * (span.name ? 0.6 : 1), 11.5, 600) : "";
  const serviceRoom = service ? width(shownService, 11.5, 600) + 5 : 0;
  group.append(svg("text", { x: indent + 22, y: middle + 4, class: "span-name" }, service ? svg("tspan", { class: "service" }, shownService) : null, svg("tspan", service ? { dx: 5 } : {}, fit(span.name, Math.max(12, room - serviceRoom), 11.5)), count ? svg("tspan", { class: "more" }, count) : null));
  const from = x(span.start_ms), to = Math.max(from + 1.5, x(span.start_ms + span.duration_ms));
  group.append(svg("rect", { x: from.toFixed(1), y: middle - 6, width: (to - from).toFixed(1), height: 12, class: "whole" }));
  for (const [start, end] of row.own) group.append(svg("rect", { x: x(start).toFixed(1), y: middle - 6, width: Math.max(1, x(end) - x(start)).toFixed(1), height: 12, class: "own" }));
  if (span.status) group.append(svg("path", { d: `M${from.toFixed(1)} ${middle - 7}H${to.toFixed(1)}V${middle + 7}H${from.toFixed(1)}z`, class: "error-line" }));
  group.append(...duration(span, from, to, middle, names, right));
  const lines = [nameOf(span), `${ms(span.duration_ms)} from ${ms(span.start_ms)} on, ${ms(span.exclusive_ms)} of it its own`, ...(span.status ? [span.status] : []), ...(about ? [`what finding ${finding.tag} is about`] : []), ...(closed ? [`${descendants(row)} spans below, closed`] : [])];
  group.setAttribute("aria-label", lines.join("; "));
  explain(group, lines.map((line) => fit(line, 900, 13)));
  return group;
}

/** The length beside the bar, or on the other side of it, or, when the bar fills the row, inside. */
function duration(span, from, to, middle, names, right) {
  const text = `${span.status ? "✕ " : ""}${ms(span.duration_ms)}`, room = width(text, 11, 500) + 8;
  const text_ = (x, anchor, kind) => [svg("text", { x: x.toFixed(1), y: middle + 4, "text-anchor": anchor, class: `length ${kind}` }, text)];
  if (to + room <= right) return text_(to + 5, "start", "");
  if (from - room >= names) return text_(from - 5, "end", "");
  return [svg("rect", { x: (to - room - 2).toFixed(1), y: middle - 7.5, width: room, height: 15, rx: 2, class: "plate" }), ...text_(to - 6, "end", "")];
}

const descendants = (row) => row.children.reduce((sum, child) => sum + 1 + descendants(child), 0);

/** One stop for the tab key; arrows walk the tree, left and right close and open it. */
function walkable(groups, rows, waterfall, redraw) {
  const toggle = (row) => {
    if (!row.children.length) return;
    const id = row.span.span_id;
    if (!waterfall.closed.delete(id)) waterfall.closed.add(id);
    note.hidden = true;
    redraw();
    const again = [...document.querySelectorAll(`.trace.${waterfall.role} .span`)].find((group) => group.dataset.span === id);
    if (again) again.focus({ preventScroll: true });
  };
  groups.forEach((group, at) => {
    if (at === 0) group.setAttribute("tabindex", "0");
    group.addEventListener("click", () => toggle(rows[at]));
    group.addEventListener("keydown", (event) => {
      const closed = waterfall.closed.has(rows[at].span.span_id);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: groups.length - 1 }[event.key];
      if (next !== undefined && groups[next]) groups[next].focus();
      else if (event.key === "Enter" || event.key === " " || (event.key === "ArrowRight" && closed) || (event.key === "ArrowLeft" && !closed)) toggle(rows[at]);
      else if (next === undefined) return;
      event.preventDefault();
    });
  });
}
