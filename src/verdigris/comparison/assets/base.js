// What every chart needs. Text only ever becomes text nodes; nothing here parses markup.
const data = JSON.parse(document.getElementById("data").textContent);
const ROLES = ["baseline", "candidate"];

function make(namespace, name, attributes, children) {
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== undefined && child !== null && child !== "") made.append(child);
  }
  return made;
}
const html = (name, attributes, ...children) => make("http://www.w3.org/1999/xhtml", name, attributes, children);
const svg = (name, attributes, ...children) => make("http://www.w3.org/2000/svg", name, attributes, children);

const pen = document.createElement("canvas").getContext("2d");
const FACE = getComputedStyle(document.body).fontFamily;

/** Width in px of a text in the page's face. */
function width(text, size, weight = 400) {
  pen.font = `${weight} ${size}px ${FACE}`;
  return pen.measureText(text).width;
}

/** The longest form of the text that fits, its middle left out. */
function fit(text, room, size, weight = 400) {
  if (text.length < 400 && width(text, size, weight) <= room) return text;
  let low = 0, high = Math.min(text.length, 200);
  const cut = (kept) => `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (width(cut(middle), size, weight) <= room) low = middle; else high = middle - 1;
  }
  return low < 2 ? "…" : cut(low);
}

/** Three significant digits, thousands separated, as in the rest of the page. */
function digits(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "unknown";
  const size = Math.abs(value);
  if (size >= 1e7) return value.toExponential(1).replace("e+", "e").replace("-", "−");
  const places = size === 0 || size >= 100 ? 0 : Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size))));
  const text = value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: places });
  return text.replace("-", "−");
}
const ms = (value) => (!Number.isFinite(value) ? "unknown" : Math.abs(value) >= 10000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`);
const share = (value) => (!Number.isFinite(value) ? "unknown" : `${digits(value * 100)} %`);
const signed = (value, text) => `${value > 0 ? "+" : ""}${text(value)}`;
const nameOf = (operation) => `${operation.service} ${operation.kind.toLowerCase()} ${operation.name}`;
const same = (a, b) => Boolean(a && b) && a.service === b.service && a.kind === b.kind && a.name === b.name;
const has = (number) => Number.isFinite(number) && number > 0;
const tags = new Map(data.findings.map((finding) => [finding.id, finding.tag]));
const tagOf = (id) => tags.get(id) || id;
const nothing = (text) => html("p", { class: "nothing" }, text);

/** Colour and pattern by service: those of the findings first, then in the order in which traces show them. */
const serviceSlots = new Map();
for (const finding of data.findings) if (finding.operation) slot(finding.operation.service);
for (const waterfall of data.waterfalls) for (const span of waterfall.spans) slot(span.service);
function slot(service) {
  if (!serviceSlots.has(service)) serviceSlots.set(service, serviceSlots.size);
  return `s${serviceSlots.get(service) % 8}`;
}

/** Round values that divide [0, top] into a few steps. */
function ticks(low, high, about) {
  const rough = (high - low) / Math.max(1, about);
  const base = 10 ** Math.floor(Math.log10(rough));
  const step = base * ([1, 2, 5, 10].find((factor) => factor * base >= rough) || 10);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) values.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return values;
}

/** Moves marks apart along a line to `gap` distance, keeping their order and staying inside. */
function spread(marks, gap, low, high) {
  const sorted = [...marks].sort((a, b) => a.at - b.at);
  sorted.forEach((mark, at) => { mark.placed = Math.max(mark.at, at ? sorted[at - 1].placed + gap(sorted[at - 1], mark) : low); });
  for (let at = sorted.length - 1, limit = high; at >= 0; at--) {
    sorted[at].placed = Math.max(low, Math.min(sorted[at].placed, limit));
    limit = sorted[at].placed - (at ? gap(sorted[at - 1], sorted[at]) : 0);
  }
  return sorted;
}

/** Buttons of which one is pressed. */
function choice(label, options, chosen, changed) {
  const buttons = options.map(([value, text]) => {
    const button = html("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value }, text);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      changed(value);
    });
    return button;
  });
  return html("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

/** Explains what a mark means. It is text, so that it is read out and printed. */
function legend(...entries) {
  return html("p", { class: "legend" }, entries.map(([kind, text]) => html("span", {}, html("i", { class: `key ${kind}`, "aria-hidden": "true" }), text)));
}

/** Draws now and again whenever the width really changes, with the width that there is. */
function responsive(place, draw) {
  let last = 0;
  const redraw = () => {
    const now = Math.floor(place.clientWidth);
    if (now > 0 && now !== last) { last = now; draw(now); }
  };
  redraw();
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(place);
}

/** One note for the whole page, beside whatever is pointed at or focused. */
const note = html("div", { class: "note", role: "tooltip", hidden: true });
document.body.append(note);
function explain(mark, lines) {
  const show = () => {
    note.replaceChildren(...lines.map((line, at) => html(at ? "span" : "b", {}, line)));
    note.hidden = false;
    const box = mark.getBoundingClientRect(), own = note.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - own.width - 8));
    const above = box.top - own.height - 8;
    note.style.left = `${left + scrollX}px`;
    note.style.top = `${(above < 8 ? box.bottom + 8 : above) + scrollY}px`;
  };
  mark.addEventListener("pointerenter", show);
  mark.addEventListener("focus", show);
  for (const gone of ["pointerleave", "blur"]) mark.addEventListener(gone, () => { note.hidden = true; });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") note.hidden = true; });
