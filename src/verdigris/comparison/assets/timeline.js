// How the evidence grew, window by window, over the traces that each window had.
const DRAWN_TRAILS = 60;

function drawTimeline(place) {
  const { each, trails } = data.windows;
  if (!each.length) return place.replaceChildren(nothing("No window holds a trace."));
  const plot = html("div", { class: "plot" });
  const shown = rankTrails(trails);
  place.replaceChildren(html("div", { class: "tools" }, legend(["baseline", "traces of the baseline"], ["candidate", "traces of the candidate"], ["threshold", "threshold of a finding"])), plot);
  if (trails.length > shown.length) place.append(nothing(`${trails.length - shown.length} more signals with less evidence are not drawn.`));
  if (!trails.length) place.append(nothing("No signal could be followed: there was nothing to compare window by window."));
  responsive(plot, (wide) => plot.replaceChildren(timelinePicture(Math.max(320, wide), shown)));
}

/** The finding that a trail led to, if any. */
function findingOf(trail) {
  return data.findings.find((finding) => finding.signal === trail.signal && (finding.edge && trail.edge ? same(finding.edge.caller, trail.edge.caller) && same(finding.edge.callee, trail.edge.callee) : !finding.edge && !trail.edge && same(finding.operation, trail.operation)));
}

function rankTrails(trails) {
  const peak = (trail) => Math.max(-Infinity, ...trail.log_e.filter(Number.isFinite));
  return trails.map((trail) => ({ ...trail, finding: findingOf(trail), peak: peak(trail) })).sort((a, b) => Boolean(b.finding) - Boolean(a.finding) || b.peak - a.peak).slice(0, DRAWN_TRAILS);
}

function timelinePicture(wide, trails) {
  const { each, seconds } = data.windows;
  const labels = wide >= 620 ? Math.min(300, wide * 0.3) : 0;
  const frame = { left: 44, right: labels + 12, top: 24, plot: trails.length ? 250 : 0, counts: 84 };
  const inner = wide - frame.left - frame.right, step = inner / each.length;
  const x = (at) => frame.left + step * (at + 0.5);
  const base = frame.top + frame.plot, countsTop = base + (trails.length ? 46 : 20), height = countsTop + frame.counts + 34;
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${height}`, class: "timeline", role: "group", "aria-label": `Evidence of ${trails.length} signals over ${each.length} windows of ${seconds} s` });
  if (trails.length) drawTrails(picture, trails, frame, x, base, wide, labels);
  drawCounts(picture, x, step, countsTop, frame, wide);
  const every = Math.max(1, Math.ceil(66 / step));
  each.forEach((window, at) => {
    if (at % every === 0) picture.append(svg("text", { x: x(at).toFixed(1), y: height - 8, "text-anchor": "middle", class: "tick" }, clock(window.start_unix_s)));
    if (at && window.start_unix_s - each[at - 1].start_unix_s > seconds) picture.append(svg("path", { d: `M${(x(at) - step / 2).toFixed(1)} ${frame.top}V${countsTop + frame.counts}`, class: "gap" }));
  });
  return picture;
}

function drawTrails(picture, trails, frame, x, base, wide, labels) {
  const thresholds = [...new Set(trails.map((trail) => trail.finding?.threshold).filter(has).map((value) => Math.round(value * 10) / 10))];
  if (!thresholds.length) thresholds.push(Math.log(1 / data.alpha));
  const values = trails.flatMap((trail) => trail.log_e).filter(Number.isFinite);
  const high = Math.max(...values, ...thresholds) * 1.08 + 0.2;
  const low = Math.max(Math.min(0, ...values), -0.35 * high); // Evidence against a finding has no bottom; its depth says nothing.
  const y = (value) => base - ((Math.max(low, Math.min(high, value ?? low)) - low) / (high - low)) * frame.plot;
  const right = wide - frame.right;
  for (const tick of ticks(low, high, 5)) picture.append(svg("path", { d: `M${frame.left} ${y(tick).toFixed(1)}H${right}`, class: tick ? "grid" : "axis" }), svg("text", { x: frame.left - 8, y: (y(tick) + 4).toFixed(1), "text-anchor": "end", class: "tick" }, digits(tick)));
  picture.append(svg("text", { x: frame.left - 8, y: frame.top - 8, "text-anchor": "end", class: "tick" }, "nats"));
  const lowest = Math.min(...thresholds), highest = Math.max(...thresholds);
  if (highest > lowest) picture.append(svg("rect", { x: frame.left, y: y(highest).toFixed(1), width: right - frame.left, height: (y(lowest) - y(highest)).toFixed(1), class: "threshold-band" }));
  for (const value of new Set([lowest, highest])) picture.append(svg("path", { d: `M${frame.left} ${y(value).toFixed(1)}H${right}`, class: "threshold", "data-threshold": value.toFixed(2) }));
  const words = highest > lowest ? `thresholds ${digits(lowest)} to ${digits(highest)}, by signal` : `threshold ${digits(highest)}`;
  picture.append(svg("text", { x: frame.left + 4, y: (y(highest) - 6).toFixed(1), class: "threshold-text" }, words));
  const ends = [];
  for (const trail of [...trails].reverse()) {
    const d = trail.log_e.map((value, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const line = svg("path", { d, class: `trail${trail.finding ? ` found ${slot(trail.operation.service)}` : ""}`, "data-trail": trail.signal });
    const reach = svg("path", { d, class: "reach" });
    const crossed = trail.finding ? trail.log_e.findIndex((value) => value >= trail.finding.threshold) : -1;
    explain(reach, [trailName(trail), `${digits(trail.log_e.at(-1))} nats at the end`, ...(trail.finding ? [`finding ${trail.finding.tag}, threshold ${digits(trail.finding.threshold)} nats`] : []), ...(crossed >= 0 ? [`reached at ${clock(data.windows.each[crossed].start_unix_s)}`] : [])]);
    picture.append(line, reach);
    if (crossed >= 0) picture.append(svg("circle", { cx: x(crossed).toFixed(1), cy: y(trail.log_e[crossed]).toFixed(1), r: 4.5, class: `crossing ${slot(trail.operation.service)}` }));
    if (trail.log_e.length) ends.push({ trail, at: y(trail.log_e.at(-1)), from: x(trail.log_e.length - 1) });
  }
  if (labels) labelTrails(picture, ends, right, labels, frame, base);
}

/** Findings and the strongest of the rest, moved apart, each joined to the end of its line. */
function labelTrails(picture, ends, right, room, frame, base) {
  const kept = ends.filter((end) => end.trail.finding).concat(ends.filter((end) => !end.trail.finding).slice(-4)).slice(0, 8);
  for (const end of spread(kept, () => 30, frame.top + 6, base - 8)) {
    const { trail } = end;
    const first = trail.finding ? `${trail.finding.tag} ${trail.signal}` : trail.signal;
    picture.append(svg("path", { d: `M${end.from.toFixed(1)} ${end.at.toFixed(1)}L${right + 4} ${end.placed.toFixed(1)}h6`, class: "leader" }));
    picture.append(svg("text", { x: right + 14, y: (end.placed + 1).toFixed(1), class: `trail-name${trail.finding ? " found" : ""}` }, fit(first, room - 8, 12, 600)));
    picture.append(svg("text", { x: right + 14, y: (end.placed + 14).toFixed(1), class: "trail-place" }, fit(nameOf(trail.operation), room - 8, 11)));
  }
}

const trailName = (trail) => `${trail.signal}: ${trail.edge ? `${nameOf(trail.edge.caller)} → ` : ""}${nameOf(trail.edge ? trail.edge.callee : trail.operation)}`;

/** The baseline's traces upward, the candidate's downward, on one scale. */
function drawCounts(picture, x, step, top, frame, wide) {
  const { each } = data.windows;
  const most = Math.max(1, ...each.flatMap((window) => [window.baseline_traces, window.candidate_traces]));
  const up = Math.max(...each.map((window) => window.baseline_traces)), down = Math.max(...each.map((window) => window.candidate_traces));
  const scale = (frame.counts - 4) / Math.max(most, up + down), axis = top + Math.max(14, Math.min(frame.counts - 14, up * scale));
  const bar = Math.max(1, Math.min(26, step * 0.66));
  each.forEach((window, at) => {
    const group = svg("g", { "data-window": window.start_unix_s });
    const place = (x(at) - bar / 2).toFixed(1);
    group.append(svg("rect", { x: place, y: (axis - 1 - window.baseline_traces * scale).toFixed(1), width: bar.toFixed(1), height: (window.baseline_traces * scale).toFixed(1), class: "count baseline" }));
    group.append(svg("rect", { x: place, y: (axis + 1).toFixed(1), width: bar.toFixed(1), height: (window.candidate_traces * scale).toFixed(1), class: "count candidate" }));
    group.append(svg("rect", { x: (x(at) - step / 2).toFixed(1), y: top, width: step.toFixed(1), height: frame.counts, class: "catch" }));
    explain(group, [`${clock(window.start_unix_s)} UTC`, `baseline ${window.baseline_traces.toLocaleString("en-US")} traces`, `candidate ${window.candidate_traces.toLocaleString("en-US")} traces`]);
    picture.append(group);
  });
  picture.append(svg("path", { d: `M${frame.left} ${axis}H${wide - frame.right}`, class: "axis" }));
  const label = (y, text, role) => svg("text", { x: frame.left - 8, y, "text-anchor": "end", class: `tick ${role}` }, text);
  picture.append(label((axis - Math.max(4, up * scale - 8)).toFixed(1), digits(up), "baseline"), label((axis + Math.max(12, down * scale)).toFixed(1), digits(down), "candidate"));
  if (wide - frame.right + 200 < wide) picture.append(svg("text", { x: wide - frame.right + 14, y: axis + 4, class: "trail-place" }, "traces in each window"));
}

function clock(unix) {
  const moment = new Date(unix * 1000);
  return Number.isNaN(moment.getTime()) ? String(unix) : moment.toISOString().slice(11, 19);
}
