// Layers for the service map: callers left of callees. Deterministic: equal graphs give equal pictures.

/**
 * Gives every node its `layer`, `row` and centre `y`; every edge its `path` of nodes, through bends where it passes layers.
 * nodes: [{name, height}], edges: [{caller, callee}]; edges with unknown ends and self-calls get no path.
 */
function layered(nodes, edges, gap) {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const drawn = edges.filter((edge) => edge.caller !== edge.callee && byName.has(edge.caller) && byName.has(edge.callee));
  const forward = withoutCycles(nodes, drawn);
  assignLayers(nodes, forward);
  const layers = [];
  for (const node of nodes) (layers[node.layer] ||= []).push(node);
  for (let at = 0; at < layers.length; at++) layers[at] ||= [];
  const links = bend(forward, layers);
  order(layers, links);
  straighten(layers, links, gap);
  return { layers, width: layers.length };
}

/** Edges all pointing one way: taken by how often they are called, those that would close a cycle are turned around. */
function withoutCycles(nodes, edges) {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const calls = (edge) => Math.max(edge.baseline_calls || 0, edge.candidate_calls || 0);
  const often = [...edges].sort((a, b) => calls(b) - calls(a) || compare(a.caller, b.caller) || compare(a.callee, b.callee));
  const out = new Map(nodes.map((node) => [node.name, []]));
  return often.map((edge) => {
    const turned = reaches(out, edge.callee, edge.caller);
    const [from, to] = turned ? [edge.callee, edge.caller] : [edge.caller, edge.callee];
    out.get(from).push(to);
    return { edge, turned, from: byName.get(from), to: byName.get(to) };
  });
}

function reaches(out, start, goal) {
  const seen = new Set([start]), open = [start];
  while (open.length) {
    const name = open.pop();
    if (name === goal) return true;
    for (const next of out.get(name)) if (!seen.has(next)) { seen.add(next); open.push(next); }
  }
  return false;
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Longest path from the sources. */
function assignLayers(nodes, forward) {
  for (const node of nodes) node.layer = 0;
  for (let round = 0, moved = true; moved && round <= nodes.length; round++) {
    moved = false;
    for (const { from, to } of forward) {
      if (to.layer < from.layer + 1) { to.layer = from.layer + 1; moved = true; }
    }
  }
}

/** Puts a bend into every layer that an edge passes, so that it runs between nodes and not through them. */
function bend(forward, layers) {
  const links = [];
  for (const { edge, turned, from, to } of forward) {
    const path = [from];
    for (let layer = from.layer + 1; layer < to.layer; layer++) {
      const bent = { name: `${edge.caller}\u0000${edge.callee}`, height: 14, layer, bend: true };
      layers[layer].push(bent);
      path.push(bent);
    }
    path.push(to);
    for (let at = 1; at < path.length; at++) links.push([path[at - 1], path[at]]);
    edge.path = turned ? path.reverse() : path;
    edge.turned = turned;
  }
  return links;
}

/** Barycentre sweeps; the order with the fewest crossings wins. */
function order(layers, links) {
  const number = () => layers.forEach((layer) => layer.forEach((node, row) => { node.row = row; }));
  layers.forEach((layer) => layer.sort((a, b) => compare(a.name, b.name)));
  number();
  neighbours(links);
  let best = Infinity, kept = layers.map((layer) => [...layer]);
  for (let sweep = 0; sweep < 12; sweep++) {
    const down = sweep % 2 === 0;
    const walk = down ? layers : [...layers].reverse();
    for (const layer of walk) {
      for (const node of layer) {
        const near = down ? node.before : node.after;
        node.weight = near.length ? near.reduce((sum, other) => sum + other.row, 0) / near.length : node.row;
      }
      layer.sort((a, b) => a.weight - b.weight || a.row - b.row);
      layer.forEach((node, row) => { node.row = row; });
    }
    const crossed = crossings(layers, links);
    if (crossed < best) { best = crossed; kept = layers.map((layer) => [...layer]); }
  }
  kept.forEach((layer, at) => { layers[at].splice(0, layers[at].length, ...layer); });
  number();
}

function neighbours(links) {
  for (const pair of links) for (const node of pair) { node.before ||= []; node.after ||= []; }
  for (const [from, to] of links) { from.after.push(to); to.before.push(from); }
}

function crossings(layers, links) {
  let count = 0;
  const byLayer = layers.map(() => []);
  for (const link of links) byLayer[link[0].layer].push(link);
  for (const group of byLayer) {
    for (let a = 0; a < group.length; a++) {
      for (let b = a + 1; b < group.length; b++) {
        if ((group[a][0].row - group[b][0].row) * (group[a][1].row - group[b][1].row) < 0) count++;
      }
    }
  }
  return count;
}

/** Heights: every node as near to the middle of its neighbours as the ones above and below it allow. */
function straighten(layers, links, gap) {
  for (const layer of layers) {
    let y = 0;
    for (const node of layer) { node.y = y + node.height / 2; y += node.height + gap; }
  }
  const tallest = Math.max(0, ...layers.map((layer) => (layer.length ? layer.at(-1).y : 0)));
  for (const layer of layers) {
    const shift = (tallest - (layer.length ? layer.at(-1).y : 0)) / 2;
    for (const node of layer) node.y += shift;
  }
  for (let round = 0; round < 24; round++) {
    const walk = round % 2 ? [...layers].reverse() : layers;
    for (const layer of walk) settle(layer, gap);
  }
  const top = Math.min(...layers.flat().map((node) => node.y - node.height / 2));
  for (const node of layers.flat()) node.y -= top;
}

function settle(layer, gap) {
  const wanted = layer.map((node) => {
    const near = [...(node.before || []), ...(node.after || [])];
    return near.length ? near.reduce((sum, other) => sum + other.y, 0) / near.length : node.y;
  });
  // Blocks of nodes that touch share one place, the mean of what they want: this keeps neither end privileged.
  const blocks = [];
  layer.forEach((node, at) => {
    let block = { nodes: [node], offsets: [0], height: node.height, sum: wanted[at], middle: wanted[at] };
    while (blocks.length) {
      const above = blocks.at(-1);
      const aboveEnd = above.middle + above.offsets.at(-1) + above.nodes.at(-1).height / 2;
      if (aboveEnd + gap <= block.middle - block.nodes[0].height / 2) break;
      blocks.pop();
      block = merge(above, block, gap);
    }
    blocks.push(block);
  });
  for (const block of blocks) block.nodes.forEach((node, at) => { node.y = block.middle + block.offsets[at]; });
}

/** `middle` is the place of a block's first node; `offsets` are the others' distances from it. */
function merge(above, below, gap) {
  const step = above.offsets.at(-1) + above.nodes.at(-1).height / 2 + gap + below.nodes[0].height / 2;
  const offsets = [...above.offsets, ...below.offsets.map((offset) => offset + step)];
  const nodes = [...above.nodes, ...below.nodes];
  const sum = above.sum + below.sum - step * below.nodes.length;
  return { nodes, offsets, sum, middle: sum / nodes.length };
}
