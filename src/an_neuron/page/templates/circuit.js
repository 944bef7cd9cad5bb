// The figures of a circuit's page; figures.js draws them with the others.

const SYMBOLS = { token: "square", "attention head": "diamond", neuron: "circle" };
const HUES = { token: "token", "attention head": "head", neuron: "neuron" };
const KIND_HUES = { neurons: "neuron", heads: "head", "neurons and heads": "helps" };
const DASHES = { exact: "solid", attribution: "dash", greedy: "dot" };
const BY_HUES = { "switched off": "against", "held at its mean": "head", negated: "neuron" };
const WIDEST = 14; // pixels of a line that recovers 1
const SEEN = 0.6, FADED = 0.08; // of lines, while the pointer is on a node that has no part in them

// ---- the circuit

const ofEffect = of => `total ${number(of.total, 3)}<br>direct ${number(of.direct, 3)}<br>through others ${number(of.through_others, 3)}<extra></extra>`;
const atToken = node => `${plain(node.name)} at "${plain(node.token)}"`;

function curve(start, end) {
  const bend = Math.abs(end.x - start.x) < 0.4 ? Math.min(0.4, 0.07 * (end.y - start.y)) : 0, steps = [...Array(21).keys()].map(step => step / 20);
  return [steps.map(along => start.x + (end.x - start.x) * along + bend * Math.sin(Math.PI * along)), steps.map(along => start.y + (end.y - start.y) * along)];
}

function edgeTraces({ nodes, edges, logits }, share) {
  const lines = [], points = { x: [], y: [], text: [] };
  for (const edge of [...edges].reverse()) {
    const end = edge.receiver < 0 ? logits : nodes[edge.receiver], [x, y] = curve(nodes[edge.sender], end), helps = edge.edge > 0;
    const said = `<b>${atToken(nodes[edge.sender])} → ${edge.receiver < 0 ? "logits" : atToken(end)}</b><br>by this path alone ${number(edge.edge, 3)}<br>`;
    lines.push({ type: "scatter", mode: "lines", x, y, hoverinfo: "skip", showlegend: false, opacity: SEEN,
      line: { color: color(helps ? "helps" : "against"), dash: helps ? "solid" : "dash", width: Math.max(1, Math.min(WIDEST, WIDEST * Math.abs(edge.edge) * share)) } });
    for (let step = 3; step <= 17; step += 1) { points.x.push(x[step]); points.y.push(y[step]); points.text.push(said + ofEffect(edge)); }
  }
  return [...lines, { type: "scatter", mode: "markers", ...points, name: "edges", showlegend: false, marker: { size: 12, opacity: 0 }, hovertemplate: "%{text}" }];
}

function nodeTrace(kind, nodes, radius) {
  const own = nodes.filter(node => node.kind === kind);
  return { type: "scatter", mode: "markers", x: own.map(node => node.x), y: own.map(node => node.y), name: kind,
    customdata: own.map(node => kind === "neuron" ? node.label : ""), text: own.map(node => `<b>${atToken(node)}</b><br>recovery of the logit difference:<br>${ofEffect(node)}`), hovertemplate: "%{text}",
    marker: { symbol: SYMBOLS[kind], color: color(HUES[kind]), size: own.map(node => 2 * radius(node)), opacity: 1, line: { color: color("page"), width: 1.5 } } };
}

const signs = () => [["helps", "helps", "solid"], ["works against", "against", "dash"]].map(([name, hue, dash]) => (
  { type: "scatter", mode: "lines", x: [null], y: [null], name, line: { color: color(hue), dash, width: 4 } }));

function fadeOthers(element, { nodes, edges }) {
  const drawn = [...edges].reverse(), lines = [...drawn.keys()];
  const show = part => Plotly.restyle(element, { opacity: drawn.map(edge => part(edge) ? SEEN : FADED) }, lines);
  element.on("plotly_hover", ({ points: [point] }) => {
    const node = nodes.findIndex(each => each.kind === point.data.name && each.x === point.x && each.y === point.y);
    if (node >= 0 && lines.length) show(edge => edge.sender === node || edge.receiver === node);
  });
  element.on("plotly_unhover", () => lines.length && show(() => true));
}

function circuitFigure(of, width) {
  const { nodes, logits, columns, layers } = of, narrow = width < NARROW, share = narrow ? 0.7 : 1, margin = { l: narrow ? 84 : 116, r: 12, t: narrow ? 84 : 44, b: 60 };
  const radius = node => share * Math.max(5.5, 17 * Math.sqrt(Math.min(1, Math.abs(node.total ?? 0))));
  const range = [[-0.5, logits.x + (narrow ? 0.7 : 0.9)], [-0.7, logits.y + 0.6]], height = margin.t + margin.b + 48 * (layers.length + 1.3), size = [width - margin.l - margin.r, height - margin.t - margin.b];
  const strong = [...nodes].sort((one, other) => Math.abs(other.total) - Math.abs(one.total));
  const goal = { x: logits.x, y: logits.y, text: plain(narrow ? "logits" : logits.name), showarrow: false, yanchor: "bottom", yshift: 9 };
  const labels = named(strong.map(node => [node.x, node.y, node.label, radius(node)]), [[logits.x, logits.y, "", 12]], range, size);
  const star = { type: "scatter", mode: "markers", x: [logits.x], y: [logits.y], showlegend: false, text: [`<b>${plain(logits.name)}</b><extra></extra>`], hovertemplate: "%{text}", marker: { symbol: "star", size: 18, color: color("soft") } };
  const kinds = Object.keys(SYMBOLS).map(kind => nodeTrace(kind, nodes, radius)).filter(trace => trace.x.length);
  return [[...edgeTraces(of, share), star, ...kinds, ...signs()], layoutOf(height, margin, { annotations: [goal, ...labels].map(text => ({ ...text, bgcolor: `${color("page")}b3`, borderpad: 0 })), showlegend: true, legend: { ...legend, itemsizing: "constant", itemclick: false, itemdoubleclick: false },
    xaxis: { range: range[0], showgrid: false, zeroline: false, tickvals: columns.map(column => column.x), ticktext: columns.map(column => plain(column.text)), tickangle: narrow && columns.length > 3 ? -40 : 0, title: narrow ? undefined : { text: "token", standoff: 8 } },
    yaxis: { range: range[1], zeroline: false, tickvals: layers.map((_, row) => row), ticktext: layers.map(String), title: { text: narrow ? "" : "layer", standoff: 6 } } })];
}

// ---- dose and response, and many nodes together

function doseFigure(of, width) {
  const ends = [["clean", "foil", "solid", "circle"], ["corrupted", "answer", "dash", "diamond"]];
  const traces = ends.flatMap(([end, hue, dash, symbol]) => [
    ...of[`in_${end}`].map((y, pair) => ({ type: "scatter", mode: "lines", x: of.value, y, name: `${end} prompt`, showlegend: !pair, line: { color: color(hue), dash, width: 2 }, hovertemplate: "activation %{x:.3f}<br>logit difference %{y:.3f}<extra>%{fullData.name}</extra>" })),
    { type: "scatter", mode: "markers", x: of[`${end}_activation`], y: of[end], name: `${end}, as it is`, marker: { color: color(hue), symbol, size: 12, line: { color: color("page"), width: 1.5 } }, hovertemplate: "activation %{x:.3f}<br>logit difference %{y:.3f}<extra>%{fullData.name}</extra>" }]);
  return [traces, layoutOf(400, { l: 58, r: 12, t: width < NARROW ? 66 : 40, b: 48 }, { showlegend: true, legend, xaxis: { title: { text: `activation of ${of.neuron}`, standoff: 8 } },
    yaxis: { title: { text: width < NARROW ? "logit difference" : `logit(${plain(of.answer)}) − logit(${plain(of.foil)})`, standoff: 8 } } })];
}

const curvesFigure = measure => (curves, width) => {
  const traces = curves.map(of => ({ type: "scatter", mode: "lines+markers", x: of.k, y: of[measure], name: `${of.kind}, ${of.ranking}`, text: of.first.map((first, row) => plain(first) + (of.k[row] > 5 ? ", …" : "")),
    line: { color: color(KIND_HUES[of.kind]), dash: DASHES[of.ranking], width: 2 }, marker: { size: 5 }, hovertemplate: `the first %{x}: ${measure} %{y:.3f}<br>%{text}<extra>%{fullData.name}</extra>` }));
  const rows = Math.ceil(traces.length / Math.max(1, Math.floor((width - 70) / 230)));
  const level = y => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, layer: "below", line: { color: color("soft"), width: 1, dash: "dot" } });
  return [traces, layoutOf(330 + 19 * rows, { l: 58, r: 12, t: 24 + 19 * rows, b: 48 }, { showlegend: true, legend: { ...legend, entrywidth: 190, font: { size: 12 } }, shapes: [level(0), level(1)],
    xaxis: { type: "log", dtick: 1, zeroline: false, exponentformat: "none", separatethousands: true, title: { text: "k, the number of nodes", standoff: 8 } }, yaxis: { title: { text: measure, standoff: 8 }, zeroline: false } })];
};

// ---- over the corpus

function interval(row, level) {
  const hue = color(BY_HUES[row.done]), none = row.loss_change_low === null;
  const said = `${number(row.loss_change, 4)}${none ? "" : ` (${number(row.loss_change_low, 4)} to ${number(row.loss_change_high, 4)})`}`;
  const error = { type: "data", symmetric: false, array: [none ? 0 : row.loss_change_high - row.loss_change], arrayminus: [none ? 0 : row.loss_change - row.loss_change_low], color: hue, thickness: 2, width: 4 };
  return { type: "scatter", mode: "markers", x: [row.loss_change], y: [level], marker: { color: hue, size: 9 }, error_x: error,
    hovertemplate: `<b>${row.done}: ${said}</b><br>loss ${number(row.loss, 4)} → ${number(row.loss_ablated, 4)} nats<br>probability of ${plain(row.token)} ${number(row.probability, 4)} → ${number(row.probability_ablated, 4)}<extra></extra>` };
}

function ablationFigure(groups, width) {
  const traces = [], annotations = [], ticks = [];
  let level = 0;
  for (const group of groups) {
    const where = group.follows === "another token" ? "Elsewhere" : `Where ${plain(group.follows)} follows`;
    annotations.push({ text: `<b>${where}</b>: ${counted(group.n)} places${width < NARROW ? "" : `, loss ${number(group.loss, 3)} nats`}`, xref: "paper", x: 0, xanchor: "left", y: level, yanchor: "middle", showarrow: false, bgcolor: color("page") });
    for (const row of group.rows) {
      level += 1;
      ticks.push([level, row.done]);
      traces.push(interval(row, level));
    }
    level += 1.3;
  }
  return [traces, layoutOf(70 + 30 * (level + 1), { l: 118, r: 16, t: 6, b: 48 }, { annotations, xaxis: { title: { text: "change of the loss in nats", standoff: 8 } },
    yaxis: { range: [level - 0.4, -0.7], tickvals: ticks.map(([at]) => at), ticktext: ticks.map(([, name]) => name), showgrid: false, zeroline: false } })];
}

Object.assign(FIGURES, {
  "circuit-graph": [circuitFigure, data.circuit, fadeOthers],
  "dose-response": [doseFigure, data.dose],
  "together-recovery": [curvesFigure("recovery"), data.together?.curves], "together-faithfulness": [curvesFigure("faithfulness"), data.together?.curves],
  "ablation-changes": [ablationFigure, data.ablation?.groups],
});
