// Draws every section; one that cannot be drawn says so and leaves the others alone.
const SECTIONS = { map: drawMap, latency: drawDistributions, evidence: drawTimeline, traces: drawTraces };
for (const [name, draw] of Object.entries(SECTIONS)) {
  const place = document.querySelector(`[data-chart="${name}"]`);
  try {
    draw(place);
    place.setAttribute("data-drawn", "yes");
  } catch (error) {
    place.replaceChildren(nothing("This part could not be drawn. The text of the report is complete without it."));
    console.error(`section ${name}: ${error}`);
  }
}

for (const link of document.querySelectorAll("a[data-operation]")) link.addEventListener("click", () => showOperation(Number(link.dataset.operation)));
for (const link of document.querySelectorAll("a[data-finding]")) link.addEventListener("click", () => showExamples(link.dataset.finding));

/** A link to a finding opens it. */
function openTarget() {
  const target = location.hash ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

/** Paper cannot be unfolded. */
addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details.finding")) details.open = true; });
document.documentElement.dataset.ready = "yes";
