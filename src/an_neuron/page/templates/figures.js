// The figures of a study's page, drawn by plotly.js: anew where the width, light or dark, or paper asks for it.

const NARROW = 640; // pixels: below it maps stand one below the other
const PAPER = 680; // pixels of a figure's width in print
const DIVERGING = [[0, "#67001f"], [0.1, "#b2182b"], [0.2, "#d6604d"], [0.3, "#f4a582"], [0.4, "#fddbc7"], [0.5, "#f7f7f7"],
  [0.6, "#d1e5f0"], [0.7, "#92c5de"], [0.8, "#4393c3"], [0.9, "#2166ac"], [1, "#053061"]]; // RdBu, as in the figures' files
const DIVERGING_DARK = [[0, "#ff8a65"], [0.25, "#a8452c"], [0.5, "#222934"], [0.75, "#2f6fa8"], [1, "#7cc4ff"]];
const FEW = 4000; // points that a browser without WebGL draws
const root = document.documentElement;
const hasWebGL = Boolean(document.createElement("canvas").getContext("webgl"));
let printing = false;

const color = name => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const plain = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"); // plotly reads markup
const isDark = () => !printing && matchMedia("(prefers-color-scheme: dark)").matches;

function layoutOf(height, margin, more) {
  const axis = { gridcolor: color("line"), zerolinecolor: color("soft"), linecolor: color("line"), automargin: false };
  const base = { height, margin, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { color: color("text"), size: 13, family: getComputedStyle(document.body).fontFamily }, dragmode: false,
    hoverlabel: { bgcolor: color("panel"), bordercolor: color("soft"), font: { color: color("text") } } };
  const axes = Object.keys(more).filter(name => /^[xy]axis/.test(name)).map(name => [name, { ...axis, ...more[name] }]);
  return { ...base, ...more, ...Object.fromEntries(axes) };
}

const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" };

function padded(values, share) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  const room = share * (high - low || 1);
  return [low - room, high + room];
}

// ---- maps: all of a set on one scale of colour

function heatMaps({ maps, columns, axis, limit }, width) {
  const wide = width >= NARROW, n = maps.length, layers = maps[0].z.length;
  const turned = columns.some(name => name.length > 3), below = turned ? 105 : 45, above = 34;
  const each = Math.max(190, Math.min(330, layers * 12)), rows = wide ? 1 : n;
  const height = rows * (each + below + above);
  const layout = { annotations: [], coloraxis: { colorscale: isDark() ? DIVERGING_DARK : DIVERGING, cmin: -limit, cmax: limit,
    colorbar: { title: wide ? { text: "recovery", side: "right" } : undefined, thickness: 12, len: each / height, y: 1 - above / height, ypad: 0, yanchor: "top", outlinewidth: 0 } } };
  const gap = 0.035, share = (1 - gap * (n - 1)) / n;
  const traces = maps.map((map, place) => {
    const id = place ? place + 1 : "", top = 1 - place * (each + below + above) / height;
    const x = wide ? [place * (share + gap), place * (share + gap) + share] : [0, 1];
    const y = wide ? [below / height, 1 - above / height] : [top - (above + each) / height, top - above / height];
    layout[`xaxis${id}`] = { domain: x, anchor: `y${id}`, tickvals: columns.map((_, column) => column), ticktext: columns.map(plain), tickangle: turned ? -90 : 0,
      tickfont: { size: 12 }, showgrid: false, zeroline: false, title: turned ? undefined : { text: axis, standoff: 4 } };
    layout[`yaxis${id}`] = { domain: y, anchor: `x${id}`, showgrid: false, zeroline: false, tickformat: "d", dtick: layers > 16 ? 5 : 1, showticklabels: !wide || !place,
      title: !wide || !place ? { text: "layer", standoff: 6 } : undefined };
    layout.annotations.push({ text: map.title, x: x[0], y: y[1], xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 14 } });
    return { type: "heatmap", z: map.z, xaxis: `x${id}`, yaxis: `y${id}`, coloraxis: "coloraxis", xgap: 1, ygap: layers > 16 ? 0 : 1,
      customdata: map.z.map(() => columns.map(plain)), hovertemplate: `layer %{y}, ${axis} %{customdata}<br>recovery %{z:.3f}<extra>${map.title}</extra>` };
  });
  return [traces, layoutOf(height, { l: 48, r: 70, t: 4, b: 4 }, layout)];
}

// ---- neurons: points [x, y, name, radius], the strongest with their names where there is room

function named(points, drawn, range, size) {
  const taken = [...points, ...drawn].map(([x, y, , r = 4]) => [...pixel(x, y, range, size), r]).map(([x, y, r]) => [x - r, y - r, x + r, y + r]), labels = [];
  for (const [x, y, text, r = 4] of points) {
    const [left, top] = pixel(x, y, range, size), w = 7.4 * text.length + 4, h = 18;
    const sides = [["left", "middle", r + 3, 0, left + r + 3, top - h / 2], ["right", "middle", -r - 3, 0, left - r - 3 - w, top - h / 2],
      ["center", "bottom", 0, r + 1, left - w / 2, top - r - 1 - h], ["center", "top", 0, -r - 1, left - w / 2, top + r + 1]];
    const free = sides.find(([, , , , x0, y0]) => x0 >= 0 && x0 + w <= size[0] && y0 >= 0 && y0 + h <= size[1]
      && !taken.some(box => x0 < box[2] && x0 + w > box[0] && y0 < box[3] && y0 + h > box[1]));
    if (!free) continue;
    const [xanchor, yanchor, xshift, yshift, x0, y0] = free;
    taken.push([x0, y0, x0 + w, y0 + h]);
    labels.push({ x, y, text: plain(text), showarrow: false, xanchor, yanchor, xshift, yshift });
  }
  return labels;
}

function pixel(x, y, range, size) {
  return [(x - range[0][0]) / (range[0][1] - range[0][0]) * size[0], (range[1][1] - y) / (range[1][1] - range[1][0]) * size[1]];
}

function strongest(strength, n) {
  return [...patched].sort((one, other) => strength[other] - strength[one]).slice(0, n);
}

function said(name) {
  const listed = neurons.listed[name];
  return listed ? `<br>raised ${plain(listed.raised.slice(0, 3).join(" "))}<br>lowered ${plain(listed.lowered.slice(0, 3).join(" "))}` : "";
}

function points(places, x, y, marker, template) {
  const names = Array.from(places, nameOf);
  return { type: hasWebGL ? "scattergl" : "scatter", mode: "markers", x: Float32Array.from(places, place => x[place]), y: Float32Array.from(places, place => y[place]), marker,
    customdata: names, text: names.map(said), hovertemplate: `<b>%{customdata}</b><br>${template}%{text}<extra></extra>` };
}

function neuronPlaces(strength) {
  const all = hasWebGL ? patched : strongest(strength, FEW), listed = new Set(Object.keys(neurons.listed).map(placeOf));
  return [all.filter(place => !listed.has(place)), [...listed]];
}

function neuronMap(_, width) {
  const strength = neurons.recovery.map(Math.abs), x = strength.map((_, place) => place / neurons.d_mlp), y = neurons.recovery;
  const [quiet, listed] = neuronPlaces(strength), layers = neurons.layers.length, margin = { l: 58, r: 10, t: 10, b: 48 };
  const range = [[-0.01 * layers, 1.01 * layers], padded(y, 0.08)], height = width < NARROW ? 360 : 440;
  const size = [width - margin.l - margin.r, height - margin.t - margin.b], step = Math.ceil(24 * layers / size[0]);
  const shown = strongest(strength, width < NARROW ? 5 : 9).filter((place, rank, all) => !rank || strength[place] > 0.05 * strength[all[0]]);
  const labels = named(shown.map(place => [x[place], y[place], [nameOf(place), ...(neurons.listed[nameOf(place)]?.label ?? [])].join("  ")]),
    listed.map(place => [x[place], y[place]]), range, size);
  const template = "recovery %{y:.4f}", even = place => Math.floor(place / neurons.d_mlp) % 2 === 0;
  const traces = [points(quiet.filter(even), x, y, { color: color("quiet"), size: 4 }, template), points(quiet.filter(place => !even(place)), x, y, { color: color("quiet-too"), size: 4 }, template),
    points(listed, x, y, { color: color("answer"), size: 7 }, template)];
  const ticks = neurons.layers.map((layer, row) => [row + 0.5, String(layer)]).filter((_, row) => row % step === 0);
  document.getElementById("neurons-drawn").textContent = hasWebGL ? "" : `This browser has no WebGL: the ${counted(quiet.length + listed.length)} of the largest recovery are drawn.`;
  const lines = [neurons.least, -neurons.least].filter(level => level).map(level => ({ type: "line", layer: "below", x0: range[0][0], x1: range[0][1], y0: level, y1: level, line: { color: color("soft"), width: 1, dash: "dot" } }));
  return [traces, layoutOf(height, margin, { annotations: labels, shapes: lines, xaxis: { range: range[0], showgrid: false, zeroline: false, title: { text: "layer", standoff: 8 },
    tickvals: ticks.map(([at]) => at), ticktext: ticks.map(([, name]) => name), tickangle: 0 }, yaxis: { range: range[1], title: { text: "recovery", standoff: 8 } } })];
}

function attributionFigure(_, width) {
  const exact = neurons.recovery, strength = exact.map((value, place) => Math.max(Math.abs(value), Math.abs(approximate[place])));
  const [quiet, listed] = neuronPlaces(strength), range = padded([...padded(exact, 0), ...padded(approximate, 0)], 0.06), margin = { l: 58, r: 10, t: 10, b: 48 };
  const across = Math.min(width, 620), size = [across - margin.l - margin.r, 460 - margin.t - margin.b];
  const gaps = exact.map((value, place) => Math.abs(value - approximate[place])).map((gap, place) => gap > 0.02 * (range[1] - range[0]) || nameOf(place) === neurons.studied ? gap : -1);
  const labels = named(strongest(gaps, 6).filter(place => gaps[place] >= 0).map(place => [exact[place], approximate[place], nameOf(place)]),
    listed.map(place => [exact[place], approximate[place]]), [range, range], size);
  const template = "exact %{x:.4f}<br>estimate %{y:.4f}", line = { type: "line", x0: range[0], y0: range[0], x1: range[1], y1: range[1], line: { color: color("soft"), width: 1 } };
  return [[points(quiet, exact, approximate, { color: color("quiet"), size: 4 }, template), points(listed, exact, approximate, { color: color("answer"), size: 7 }, template)],
    layoutOf(460, margin, { width: across, annotations: labels, shapes: [{ ...line, layer: "below" }], xaxis: { range, title: { text: "recovery, exact", standoff: 8 } },
      yaxis: { range, title: { text: "attribution patching's estimate", standoff: 8 } } })];
}

// ---- over a corpus and prompt pairs

function histogram({ histogram: { edge, count }, token }, width) {
  const x = count.map((_, bin) => (edge[bin] + edge[bin + 1]) / 2), widths = count.map((_, bin) => edge[bin + 1] - edge[bin]);
  const totals = count.map(([other, top]) => other + top), spans = x.map((_, bin) => `${edge[bin].toFixed(2)} to ${edge[bin + 1].toFixed(2)}`);
  const bars = (y, name, marker) => ({ type: "bar", x, y, width: widths, name, marker, customdata: spans, hovertemplate: "activation %{customdata}<br>%{y:,} tokens<extra>%{fullData.name}</extra>" });
  return [[bars(totals, "all tokens", { color: color("quiet-too") }), bars(count.map(([, top]) => top), `${plain(token)} is the top prediction`, { color: color("answer") })],
    layoutOf(300, { l: 62, r: 10, t: 40, b: 48 }, { barmode: "overlay", showlegend: true, legend, xaxis: { title: { text: "activation", standoff: 8 }, zeroline: true },
      yaxis: { type: "log", dtick: 1, title: { text: width < NARROW ? "tokens" : "tokens (log scale)", standoff: 8 }, exponentformat: "none", separatethousands: true, zeroline: false } })];
}

function pairsFigure({ names, parts }, width) {
  const hues = parts.length > 1 ? ["quiet", "answer"] : ["answer"], traces = [];
  parts.forEach((part, number) => {
    const shift = parts.length > 1 ? (number ? -0.18 : 0.18) : 0, n = part.recovery.length;
    const spread = row => n > 1 ? 0.11 * (2 * row / (n - 1) - 1) : 0;
    const cells = part.recovery.flatMap((values, row) => values.map((value, neuron) => [value, neuron + shift + spread(row), part.prompts[row]]));
    const title = `${part.title} (${n})`;
    traces.push({ type: "scatter", mode: "markers", x: cells.map(([value]) => value), y: cells.map(([, y]) => y), customdata: cells.map(([, , prompt]) => plain(prompt)), name: title,
      marker: { color: color(hues[number]), size: 5, opacity: 0.55, symbol: number ? "circle" : "square" }, hovertemplate: "%{customdata}<br>recovery %{x:.3f}<extra></extra>" });
    traces.push({ type: "scatter", mode: "markers", x: part.mean, y: names.map((_, neuron) => neuron + shift), name: title, showlegend: false,
      marker: { color: color("text"), size: 12, symbol: "line-ns", line: { color: color("text"), width: 2 } },
      error_x: { type: "data", array: part.standard_error.map(error => error ?? 0), color: color("text"), thickness: 1.5, width: 4 }, hovertemplate: "mean %{x:.3f} ± %{error_x.array:.3f}<extra>%{fullData.name}</extra>" });
  });
  return [traces, layoutOf(60 + 46 * names.length + 50, { l: 70, r: 12, t: 40, b: 48 }, { showlegend: true, legend, xaxis: { title: { text: "recovery", standoff: 8 }, zeroline: true },
    yaxis: { tickvals: names.map((_, neuron) => neuron), ticktext: names, range: [names.length - 0.5, -0.5], zeroline: false, showgrid: false } })];
}

function choiceScatter(choice, width) {
  const kinds = [[0, "another token", "quiet", "circle"], [2, choice.foil, "foil", "square"], [1, choice.answer, "answer", "diamond"]];
  const traces = kinds.map(([next, name, hue, symbol]) => {
    const places = [...choice.next.keys()].filter(place => choice.next[place] === next);
    return { type: hasWebGL ? "scattergl" : "scatter", mode: "markers", x: places.map(place => choice.activation[place]), y: places.map(place => choice.logit_difference[place]), name: plain(name),
      marker: { color: color(hue), size: 5, symbol, opacity: 0.75 }, hovertemplate: "activation %{x:.3f}<br>logit difference %{y:.3f}<extra>next: %{fullData.name}</extra>" };
  });
  return [traces, layoutOf(400, { l: 58, r: 10, t: 46, b: 48 }, { showlegend: true, legend: { ...legend, traceorder: "reversed" }, xaxis: { title: { text: "activation", standoff: 8 } },
    yaxis: { title: { text: width < 500 ? "logit difference" : `logit(${plain(choice.answer)}) − logit(${plain(choice.foil)})`, standoff: 8 } } })];
}

function choiceShare(choice, width) {
  const bins = [...choice.count.keys()].filter(bin => choice.count[bin] > 0), of = values => bins.map(bin => values[bin]);
  const share = of(choice.answers).map((hits, place) => of(choice.answers_or_foils)[place] ? hits / of(choice.answers_or_foils)[place] : null);
  const ticks = bins.map(bin => `${choice.edge[bin].toFixed(2)}<br>to ${choice.edge[bin + 1].toFixed(2)}`), place = bins.map((_, at) => at);
  const error = { type: "data", symmetric: false, array: of(choice.share_high).map((high, at) => high - share[at]), arrayminus: of(choice.share_low).map((low, at) => share[at] - low), color: color("text"), thickness: 1.2, width: 4 };
  const counts = place.map(at => `${counted(of(choice.answers)[at])} of ${counted(of(choice.answers_or_foils)[at])}`);
  return [[{ type: "bar", x: place, y: share, name: "in the text", marker: { color: color("answer"), opacity: 0.45 }, error_y: error, customdata: counts, hovertemplate: "%{y:.3f}: %{customdata}<extra>in the text</extra>" },
    { type: "scatter", mode: "lines+markers", x: place, y: of(choice.mean_p_answer), name: "the model's mean p", marker: { size: 9, symbol: "diamond", color: color("foil") }, hovertemplate: "%{y:.3f}<extra>the model</extra>" }],
  layoutOf(400, { l: 58, r: 10, t: 46, b: 70 }, { showlegend: true, legend, xaxis: { tickvals: place, ticktext: ticks, tickangle: 0, tickfont: { size: width < 500 ? 10 : 12 }, title: { text: "activation", standoff: 8 }, showgrid: false, zeroline: false },
    yaxis: { range: [0, 1.03], title: { text: `share of ${plain(choice.answer)}`, standoff: 8 } } })];
}

// ---- drawing

const FIGURES = {
  "places-sites": [heatMaps, data.places?.sites], "places-heads": [heatMaps, data.places?.heads],
  "neurons-map": [neuronMap, neurons],
  "drivers-sites": [heatMaps, data.drivers?.sites], "drivers-heads": [heatMaps, data.drivers?.heads],
  "breadth-pairs": [pairsFigure, data.breadth?.pairs],
  "breadth-scatter": [choiceScatter, data.breadth?.choice], "breadth-share": [choiceShare, data.breadth?.choice],
  "attribution-scatter": [attributionFigure, approximate],
};

function paperWidth(element) {
  if (element.closest(".two")) return PAPER / 2 - 12;
  return element.closest(".card") ? PAPER - 40 : PAPER;
}

function draw(id) {
  const [figure, of, listen] = FIGURES[id] ?? [], element = document.getElementById(id); // a card may have gone meanwhile
  if (!element || !of || typeof Plotly === "undefined") return null;
  const width = printing ? paperWidth(element) : element.clientWidth;
  const [traces, layout] = figure(of, width);
  const fresh = !element.classList.contains("js-plotly-plot");
  const done = Plotly.react(element, traces, { width, ...layout }, { displayModeBar: false, responsive: false });
  if (fresh) {
    element.on("plotly_click", ({ points: [point] }) => { if (isNeuron(String(point.customdata))) goTo(point.customdata); });
    listen?.(element, of);
  }
  return done;
}

function drawCard(cards) {
  Object.keys(FIGURES).filter(id => id.startsWith("card-")).forEach(id => delete FIGURES[id]);
  cards.forEach((card, place) => { FIGURES[`card-histogram-${place}`] = [histogram, card]; draw(`card-histogram-${place}`); });
}

const drawAll = () => Promise.all(Object.keys(FIGURES).map(draw));

async function begin() {
  document.getElementById("no-plotly").hidden = typeof Plotly !== "undefined";
  if (typeof Plotly === "undefined") return;
  const away = id => Math.abs(document.getElementById(id)?.getBoundingClientRect().top ?? 0);
  for (const id of Object.keys(FIGURES).sort((one, other) => away(one) - away(other))) { // what is looked at comes first
    await draw(id);
    await new Promise(done => idle(done, { timeout: 1000 })); // whoever does something comes first
  }
  performance.mark("figures-drawn");
  root.dataset.figures = "drawn";
}

function forPaper(begins) {
  printing = begins;
  root.classList.toggle("paper", begins);
  drawAll();
}

// plotly.js takes a second to read: texts, tables and cards answer before it does.
const { plotly } = document.currentScript.dataset, idle = window.requestIdleCallback ?? setTimeout;
addEventListener("load", () => idle(() => {
  document.body.append(Object.assign(document.createElement("script"), { src: plotly, onload: begin, onerror: begin }));
}, { timeout: 500 }));

let lastWidth = innerWidth, waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  if (innerWidth !== lastWidth) waiting = setTimeout(() => { lastWidth = innerWidth; drawAll(); }, 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("beforeprint", () => forPaper(true));
addEventListener("afterprint", () => forPaper(false));

// ---- start

if (neurons && data.card) {
  document.getElementById("find").hidden = false;
  document.getElementById("find").addEventListener("submit", event => {
    event.preventDefault();
    goTo(event.target.elements.name.value.trim() || neurons.studied);
  });
  document.addEventListener("click", event => {
    const name = event.target.closest?.('a[href^="#neuron="]')?.hash.replace("#neuron=", "");
    if (!name) return;
    event.preventDefault();
    goTo(name);
  });
  addEventListener("hashchange", () => asked() && showCard(asked(), true));
  showCard(asked() ?? neurons.studied, Boolean(asked()));
}
