// The service map: both roles in one picture, or one of them, or only what differs.
const CARD = { width: 224, height: 70, layer: 150, gap: 22 };

function drawMap(place) {
  const nodes = data.map.nodes.map((node) => ({ ...node, height: CARD.height }));
  const seen = new Set(nodes.filter((node) => has(node.candidate_requests)).map((node) => node.name));
  const edges = data.map.edges.map((edge) => ({ ...edge, callerSeen: seen.has(edge.caller) }));
  if (!nodes.length) return place.replaceChildren(nothing("No service was seen in either role."));
  const { layers } = layered(nodes, edges, CARD.gap);
  const size = mapSize(layers);
  const top = Math.max(1e-9, ...nodes.flatMap((node) => [node.baseline_exclusive_ms, node.candidate_exclusive_ms]).filter(has));
  const picture = svg("svg", { class: "map both", viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": `Service map: ${nodes.length} services, ${edges.length} calls. A table follows.` });
  picture.append(arrowHeads());
  const edgeLayer = svg("g", { class: "edges" }), labelLayer = svg("g", { class: "labels" }), nodeLayer = svg("g", { class: "nodes" });
  const taken = nodes.map((node) => ({ ...box(node), y: box(node).y - 14, height: CARD.height + 14 }));
  for (const edge of edges) if (edge.path) drawEdge(edge, edgeLayer);
  for (const edge of [...edges].sort((a, b) => importance(b) - importance(a))) labelEdge(edge, labelLayer, taken);
  for (const node of nodes) nodeLayer.append(drawNode(node, top, edges.find((edge) => edge.caller === node.name && edge.callee === node.name)));
  picture.append(edgeLayer, labelLayer, nodeLayer);
  const frame = html("div", { class: "frame", tabindex: "0", role: "region", "aria-label": "Service map, scrolls" }, picture);
  place.replaceChildren(mapTools(picture, frame, size), frame, mapLegend(), mapTable(nodes, edges));
  if (!seen.size) place.prepend(nothing("The candidate was not seen: this is the baseline alone."));
  picture.fitted(nodes.find((node) => node.cause_rank === 1));
}

const left = (node) => 12 + node.layer * (CARD.width + CARD.layer);
const box = (node) => ({ x: left(node), y: node.y - CARD.height / 2 + 22, width: CARD.width, height: CARD.height });
const exists = (calls) => Number.isFinite(calls) && calls > 0;

function mapSize(layers) {
  const bottom = Math.max(...layers.flat().map((node) => node.y + node.height / 2));
  return { width: 24 + layers.length * CARD.width + (layers.length - 1) * CARD.layer, height: bottom + 44 };
}

function arrowHeads() {
  const head = (kind) => svg("marker", { id: `head-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 .8L7.5 4 0 7.2z", class: `head ${kind}` }));
  return svg("defs", {}, ["same", "changed", "gone", "new"].map(head));
}

/** gone: only the baseline makes the call; new: only the candidate; changed: a finding, or a tenth more or fewer calls. */
function edgeKind(edge) {
  if (!exists(edge.candidate_calls)) return "gone";
  if (!exists(edge.baseline_calls)) return "new";
  return edge.findings.length || Math.abs(edge.candidate_calls / edge.baseline_calls - 1) > 0.1 ? "changed" : "same";
}
const importance = (edge) => ({ gone: 3, new: 3, changed: 2, same: 1 })[edgeKind(edge)] + (edge.findings.length ? 2 : 0);
const edgeText = (edge) => ({
  gone: "missing in candidate",
  new: "only in candidate",
  changed: `${digits(edge.baseline_calls)} → ${digits(edge.candidate_calls)} calls`,
  same: "",
})[edgeKind(edge)];

/** Leaves on the right, arrives on the left; calls against the flow run from the left side to the right one. */
function route(edge) {
  const points = [];
  const middle = (node) => node.y + 22;
  edge.path.forEach((node, at) => {
    if (node.bend) {
      const xs = [left(node), left(node) + CARD.width];
      for (const x of edge.turned ? xs.reverse() : xs) points.push([x, middle(node)]);
    } else {
      const leaves = at === 0;
      points.push([left(node) + (leaves !== Boolean(edge.turned) ? CARD.width : 0), middle(node) + port(edge, node, leaves)]);
    }
  });
  return points;
}

/** Where on a card's side an edge touches it, so that several do not touch the same point. */
function port(edge, node, leaves) {
  const side = leaves !== Boolean(edge.turned) ? node.after : node.before;
  const other = leaves ? edge.path[1] : edge.path.at(-2);
  const sorted = [...side].sort((a, b) => a.y - b.y);
  return ((sorted.indexOf(other) + 1) / (sorted.length + 1) - 0.5) * (CARD.height - 22);
}

function drawEdge(edge, layer) {
  const points = route(edge);
  edge.curves = [];
  let d = `M${points[0][0]} ${points[0][1].toFixed(1)}`;
  for (let at = 1; at < points.length; at++) {
    const [x0, y0] = points[at - 1], [x1, y1] = points[at];
    const half = (x1 - x0) / 2;
    d += `C${(x0 + half).toFixed(1)} ${y0.toFixed(1)} ${(x1 - half).toFixed(1)} ${y1.toFixed(1)} ${x1} ${y1.toFixed(1)}`;
    edge.curves.push([x0, y0, x1, y1]);
  }
  const kind = edgeKind(edge);
  const line = svg("path", { d, class: `edge ${kind}${edge.findings.length ? " found" : ""}`, "marker-end": `url(#head-${kind})`, "data-edge": kind });
  const reach = svg("path", { d, class: "reach" });
  explain(reach, [`${edge.caller} → ${edge.callee}`, `baseline ${digits(edge.baseline_calls)}, candidate ${digits(edge.candidate_calls)} calls per trace`, ...edge.findings.map((id) => `finding ${tagOf(id)}`)]);
  layer.append(line, reach);
}

/** The first free place along the edge; a label that fits nowhere is left to the note and the table. */
function labelEdge(edge, layer, taken) {
  const text = edgeText(edge);
  const callerGone = edgeKind(edge) === "gone" && !edge.callerSeen; // Then the caller's card says it for all its calls.
  if (!text || !edge.curves || callerGone) return;
  const size = { width: width(text, 11, 600) + 10, height: 17 };
  for (const t of [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74]) {
    for (const [x0, y0, x1, y1] of edge.curves) {
      // A cubic whose handles are level is the smoothstep between its ends.
      const x = x0 + (x1 - x0) * (1.5 * t * (1 - t) + t * t * t), y = y0 + (y1 - y0) * t * t * (3 - 2 * t);
      const spot = { x: x - size.width / 2, y: y - size.height / 2, ...size };
      if (Math.abs(x1 - x0) < size.width + 8 || taken.some((other) => overlap(spot, other))) continue;
      taken.push(spot);
      layer.append(svg("g", { class: `call ${edgeKind(edge)}` }, svg("rect", { x: spot.x, y: spot.y, width: spot.width, height: spot.height, rx: 3 }), svg("text", { x, y: y + 4, "text-anchor": "middle" }, text)));
      return;
    }
  }
}

const overlap = (a, b) => a.x < b.x + b.width + 2 && b.x < a.x + a.width + 2 && a.y < b.y + b.height + 2 && b.y < a.y + a.height + 2;

function nodeKind(node) {
  if (!has(node.candidate_requests)) return "gone";
  return has(node.baseline_requests) ? "same" : "new";
}

function drawNode(node, top, selfCall) {
  const { x, y } = box(node);
  const kind = nodeKind(node);
  const change = (node.candidate_exclusive_ms || 0) - (node.baseline_exclusive_ms || 0);
  const differs = kind !== "same" || node.findings.length || node.cause_rank || Math.abs(change) > Math.max(1, 0.15 * (node.baseline_exclusive_ms || 0));
  const outline = node.external
    ? `M${x + 12} ${y}H${x + CARD.width - 12}L${x + CARD.width} ${y + CARD.height / 2}L${x + CARD.width - 12} ${y + CARD.height}H${x + 12}L${x} ${y + CARD.height / 2}z`
    : `M${x + 4} ${y}H${x + CARD.width - 4}q4 0 4 4V${y + CARD.height - 4}q0 4 -4 4H${x + 4}q-4 0 -4 -4V${y + 4}q0 -4 4 -4z`;
  const words = [node.external ? "external" : "", kind === "gone" ? "missing in candidate" : kind === "new" ? "only in candidate" : ""].filter(Boolean).join(", ");
  const group = svg("g", { class: `node ${kind}${node.external ? " external" : ""}${node.cause_rank ? " cause" : ""}${differs ? " differs" : ""}`, tabindex: "0", role: "button", "data-node": node.name });
  const inner = x + 16, rank = node.cause_rank ? 22 : 0;
  const tag = words ? words.replace("missing in candidate", "missing").replace("only in candidate", "new") : "";
  group.append(svg("path", { d: outline, class: "card" }));
  if (rank) group.append(svg("circle", { cx: inner + 7, cy: y + 17, r: 8.5, class: "rank" }), svg("text", { x: inner + 7, y: y + 21, "text-anchor": "middle", class: "rank-text" }, String(node.cause_rank)));
  group.append(svg("text", { x: inner + rank, y: y + 21, class: "name" }, fit(node.name, CARD.width - 30 - rank, 13, 600)));
  if (tag) group.append(svg("text", { x: x + CARD.width - (node.external ? 14 : 2), y: y - 4, "text-anchor": "end", class: "tag" }, tag));
  ROLES.forEach((role, at) => group.append(...roleBars(node, role, inner, y + 32 + at * 16, top)));
  group.append(changeBar(change, node, inner, y + 32, top));
  if (selfCall) group.append(svg("path", { d: `M${x + 24} ${y}c-6 -20 26 -20 20 -1`, class: `edge ${edgeKind(selfCall)}`, "marker-end": `url(#head-${edgeKind(selfCall)})` }));
  const lines = [node.name, ...(words ? [words] : []), ...(node.cause_rank ? [`likely cause ${node.cause_rank}`] : []),
    ...ROLES.map((role) => `${role} ${digits(node[`${role}_requests`])} requests, ${ms(node[`${role}_exclusive_ms`])} per trace, ${share(node[`${role}_errors`])} errors`),
    ...(selfCall ? [`calls itself: ${digits(selfCall.baseline_calls)} → ${digits(selfCall.candidate_calls)}`] : []),
    ...(node.findings.length ? [`findings ${node.findings.map(tagOf).join(", ")}`] : [])];
  group.setAttribute("aria-label", lines.join("; "));
  explain(group, lines);
  const go = () => showService(node.name);
  group.addEventListener("click", go);
  group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } });
  return group;
}

/** Time on the left, errors on the right; a role that never has the service shows a dash. */
function roleBars(node, role, x, y, top) {
  const time = node[`${role}_exclusive_ms`], errors = node[`${role}_errors`];
  const seen = has(node[`${role}_requests`]);
  const bar = (from, room, part, kind) => [
    svg("path", { d: `M${from} ${y + 4.5}h${room}`, class: `rail ${role}` }),
    part > 0 ? svg("rect", { x: from, y: y + 1, width: Math.max(1.5, room * Math.min(1, part)).toFixed(1), height: 7, class: `${kind} ${role}` }) : null,
  ];
  const text = (from, words) => svg("text", { x: from, y: y + 8.5, class: `value ${role}` }, words);
  if (!seen) return [svg("path", { d: `M${x} ${y + 4.5}h62`, class: `rail ${role}` }), text(x + 68, "not seen")];
  return [...bar(x, 62, (time || 0) / top, "time"), text(x + 68, ms(time)), ...bar(x + 134, 20, errors || 0, "errors"), text(x + 159, share(errors))].filter(Boolean);
}

function changeBar(change, node, x, y, top) {
  const length = Math.min(42, (42 * Math.abs(change)) / top);
  const fewer = change < 0;
  const errors = (node.candidate_errors || 0) - (node.baseline_errors || 0);
  return svg("g", { class: "change" },
    svg("path", { d: `M${x + 42} ${y - 1}v18`, class: "rail" }),
    svg("rect", { x: fewer ? x + 42 - length : x + 42, y: y + 3, width: Math.max(1, length).toFixed(1), height: 10, class: fewer ? "time baseline" : "time candidate" }),
    svg("text", { x: x + 94, y: y + 8, class: "value" }, signed(change, ms)),
    Math.abs(errors) >= 0.0005 ? svg("text", { x: x + 94, y: y + 23, class: "value" }, `errors ${signed(errors * 100, digits)} points`) : null);
}

function mapTools(picture, frame, size) {
  let scale = 1;
  const zoom = (to) => {
    const middle = (frame.scrollLeft + frame.clientWidth / 2) / scale, centre = (frame.scrollTop + frame.clientHeight / 2) / scale;
    scale = Math.max(0.2, Math.min(2.5, to));
    picture.setAttribute("width", Math.round(size.width * scale));
    picture.setAttribute("height", Math.round(size.height * scale));
    frame.scrollLeft = middle * scale - frame.clientWidth / 2;
    frame.scrollTop = centre * scale - frame.clientHeight / 2;
  };
  const whole = () => Math.min(1.15, frame.clientWidth / size.width);
  picture.fitted = (cause) => {
    zoom(Math.max(0.72, whole()));
    const spot = cause ? box(cause) : { x: 0, y: 0, width: 0, height: 0 };
    frame.scrollTo((spot.x + spot.width / 2) * scale - frame.clientWidth / 2, (spot.y + spot.height / 2) * scale - frame.clientHeight / 2);
  };
  drag(frame);
  const button = (text, label, act) => {
    const made = html("button", { type: "button", "aria-label": label }, text);
    made.addEventListener("click", act);
    return made;
  };
  const modes = choice("What the map shows", [["both", "Both"], ["baseline", "Baseline"], ["candidate", "Candidate"], ["differences", "Differences"]], "both", (mode) => picture.setAttribute("class", `map ${mode}`));
  return html("div", { class: "tools" }, modes, html("div", { class: "choice zoom", role: "group", "aria-label": "Zoom" }, button("−", "Zoom out", () => zoom(scale / 1.25)), button("+", "Zoom in", () => zoom(scale * 1.25)), button("Whole", "Fit the whole map", () => zoom(whole()))));
}

/** Dragging with a mouse scrolls; touch scrolls by itself. */
function drag(frame) {
  let from = null;
  frame.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0) from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop]; });
  addEventListener("pointermove", (event) => { if (from) frame.scrollTo(from[0] - event.clientX, from[1] - event.clientY); });
  addEventListener("pointerup", () => { from = null; });
}

function mapLegend() {
  return legend(["baseline", "baseline"], ["candidate", "candidate"], ["outside", "external, known from its callers only"], ["ranked", "likely cause, by rank"], ["new", "only in candidate"], ["gone", "missing in candidate"]);
}

function mapTable(nodes, edges) {
  const row = (...cells) => html("tr", {}, cells.map((cell, at) => html(at ? "td" : "th", at ? { class: "number" } : { scope: "row" }, cell)));
  const table = (titles, rows) => html("div", { class: "wide" }, html("table", {}, html("thead", {}, html("tr", {}, titles.map((title) => html("th", { scope: "col" }, title)))), html("tbody", {}, rows)));
  const either = (node, role, text) => (has(node[`${role}_requests`]) ? text : "not seen");
  return html("details", { class: "as-table" }, html("summary", {}, "The map as tables"),
    table(["Service", "Baseline, ms per trace", "Candidate", "Baseline errors", "Candidate"], nodes.map((node) => row(node.name, ...ROLES.map((role) => either(node, role, digits(node[`${role}_exclusive_ms`]))), ...ROLES.map((role) => either(node, role, share(node[`${role}_errors`])))))),
    table(["Call", "Baseline, calls per trace", "Candidate"], edges.map((edge) => row(`${edge.caller} → ${edge.callee}`, digits(edge.baseline_calls), digits(edge.candidate_calls)))));
}
