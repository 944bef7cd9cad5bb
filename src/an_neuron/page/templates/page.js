"use strict";
// What every page does: tables that sort and search, and the card of a neuron. Texts are set as text, never as markup.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter(child => child !== null));
  return element;
}

function number(value, digits) {
  const text = value === null ? "–" : value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−"); // no −0
}

const counted = value => value.toLocaleString("en");

// ---- tables

function cellValue(row, column) {
  const text = row.cells[column].innerText.trim();
  const value = Number(text.replaceAll(",", "").replace("−", "-"));
  return text !== "" && !Number.isNaN(value) ? value : text;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach(head => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map(row => [cellValue(row, column), row]);
  rows.sort((one, other) => (descending ? -1 : 1) * compare(one[0], other[0]));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function search(table, text, said) {
  const rows = [...table.tBodies[0].rows], wanted = text.toLowerCase();
  rows.forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
  said.textContent = wanted ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
}

function equip(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(button);
  });
  const input = make("input", { type: "search" }), said = make("span", { class: "small", role: "status" });
  input.addEventListener("input", () => search(table, input.value, said));
  const label = make("label", { class: "search" }, `${table.dataset.search} `, input, " ", said);
  (table.closest(".scroll") ?? table).before(label);
}

document.querySelectorAll("table.sortable").forEach(equip);

// ---- data

const data = JSON.parse(document.getElementById("data")?.textContent ?? "{}");

function unpacked(text) {
  return new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
}

const neurons = data.neurons && { ...data.neurons, recovery: unpacked(data.neurons.recovery) };
const patched = neurons && Array.from(neurons.recovery.keys()).filter(place => !isNaN(neurons.recovery[place])); // a screen leaves the others out
const approximate = data.attribution && unpacked(data.attribution.approximate);
const nameOf = place => `${neurons.layers[Math.floor(place / neurons.d_mlp)]}.${place % neurons.d_mlp}`;

function placeOf(name) {
  const [layer, index] = /^\d+\.\d+$/.test(name) ? name.split(".").map(Number) : [-1, 0];
  const row = neurons.layers.indexOf(layer);
  return row < 0 || index >= neurons.d_mlp ? -1 : row * neurons.d_mlp + index;
}

// ---- the card

function facts(name, place) {
  const recovery = neurons.recovery[place], listed = neurons.listed[name];
  const rank = neurons.recovery.reduce((above, value) => above + (value > recovery), 1);
  const rows = [["Recovery", isNaN(recovery) ? "not patched" : `${number(recovery, 4)}, number ${counted(rank)} of ${counted(patched.length)}`]];
  if (approximate) rows.push(["Attribution patching's estimate", number(approximate[place], 4)]);
  if (listed) rows.push(["Activation, clean − corrupted", number(listed.change, 3)]);
  const pairs = data.breadth?.pairs, column = pairs ? pairs.names.indexOf(name) : -1;
  for (const part of column < 0 ? [] : pairs.parts) {
    const error = part.standard_error[column] === null ? "" : ` ± ${number(part.standard_error[column], 3)}`;
    rows.push([`Mean recovery, ${part.recovery.length} ${part.title} prompt pairs`, number(part.mean[column], 3) + error]);
  }
  return make("dl", { class: "facts" }, ...rows.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]));
}

function tokenBars(kind, title, tokens) {
  const largest = Math.max(...tokens.map(([, value]) => Math.abs(value ?? 0))) || 1;
  const rows = tokens.map(([token, value]) => make("tr", { class: kind },
    make("th", { scope: "row" }, make("code", {}, token)),
    make("td", {}, value === null ? null : make("span", { class: "bar", style: `width: ${100 * Math.abs(value) / largest}%` })),
    make("td", { class: "number" }, value === null ? "" : number(value, 2))));
  return make("div", {}, make("h4", {}, title), make("table", { class: "bars" }, ...rows));
}

function written(name) {
  const known = data.card.written[name], listed = neurons.listed[name];
  const titles = known ? ["An activation above 0 raises", "and lowers"] : ["The patch raised", "and lowered"];
  const tokens = known ?? (listed && Object.fromEntries(["raised", "lowered"].map(kind => [kind, listed[kind].map(token => [token, null])])));
  const held = isNaN(neurons.recovery[placeOf(name)]) ? "nothing" : "its recovery alone";
  if (!tokens) return make("p", {}, `Of this neuron the map holds ${held}; tokens are listed for those of the largest recovery.`);
  return make("div", { class: "two" }, tokenBars("raised", titles[0], tokens.raised), tokenBars("lowered", titles[1], tokens.lowered));
}

function coloured([text, value], largest, at) {
  const share = value === null ? 0 : Math.min(1, Math.abs(value) / largest), color = value < 0 ? "0, 114, 178" : "230, 97, 0";
  const title = value === null ? "not kept" : `activation ${number(value, 3)}`;
  const style = `background-color: rgba(${color}, ${(0.75 * share).toFixed(3)})`;
  return make("span", { class: at ? "token at" : "token", title, style }, text);
}

function exampleRow(example, rank, largest, signed) {
  const text = example.context.map((token, place) => coloured(token, largest, place === example.at));
  const numbers = [String(rank), ...(signed ? [example.end] : []), number(example.activation, 3), number(example.margin, 2)];
  const tokens = [example.prediction, example.next].map(token => make("td", {}, make("code", {}, token)));
  return make("tr", {}, ...numbers.map(cell => make("td", { class: "number" }, cell)), ...tokens, make("td", { class: "text" }, ...text));
}

function examples(of) {
  const largest = Math.max(...of.examples.map(example => Math.abs(example.activation))) || 1;
  const heads = ["Rank", ...(of.signed ? ["End"] : []), "Activation", "Margin", "Predicted", "Really next", "Text"];
  const table = make("table", { class: "sortable examples", "data-search": "Search examples" },
    make("caption", {}, "The places of the corpus where it is most active. Colour: its activation at each token, ", coloured(["above 0", largest], largest), " or ",
      coloured(["below 0", -largest], largest), `; framed: the place. Margin: logit(${of.token}) − the largest other logit of the next token.`),
    make("thead", {}, make("tr", {}, ...heads.map(head => make("th", {}, head)))),
    make("tbody", {}, ...of.examples.map((example, place) => exampleRow(example, place + 1, largest, of.signed))));
  const around = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Examples" }, table);
  const whole = make("div", {}, around);
  equip(table);
  return whole;
}

function association(of, place) {
  const best = of.f1 === null ? "" : ` Best threshold: ${of.above ? "above" : "below"} ${number(of.threshold, 2)} it tells that ${of.token} is the top prediction with precision ${number(of.precision, 2)} and recall ${number(of.recall, 2)} (F1 ${number(of.f1, 2)}).`;
  const said = `Over ${counted(of.n_tokens)} tokens of the corpus, in which ${of.token} stands ${counted(of.occurrences)} times and is the top prediction ${counted(of.top_predictions)} times.`;
  return [make("h4", {}, `With the token ${of.token}`), make("p", {}, said + best),
    of.histogram.count.flat().some(Boolean) ? make("div", { class: "plot", id: `card-histogram-${place}`, role: "img",
      "aria-label": "Histogram of the neuron's activations" }) : make("p", {}, "It is nowhere active."),
    of.examples.length ? examples(of) : make("p", {}, "No place was recorded.")];
}

function showCard(name, go) {
  const card = document.getElementById("the-card"), place = placeOf(name), cards = data.card.cards[name] ?? [];
  if (place < 0) {
    const swept = `layers ${neurons.layers[0]} to ${neurons.layers.at(-1)}, 0 to ${neurons.d_mlp - 1} in each`;
    card.replaceChildren(make("p", { class: "warning" }, `${name} is no neuron of this sweep: ${swept}.`));
  } else {
    const parts = cards.flatMap(association);
    const none = cards.length ? null : make("p", { class: "small" }, "It was not looked at over the corpus.");
    card.replaceChildren(make("article", { class: "card", "data-neuron": name, tabindex: "-1" }, make("h3", {}, `Neuron ${name}`),
      facts(name, place), written(name), ...parts, none));
    drawCard(cards);
  }
  if (go) {
    document.getElementById("card").scrollIntoView();
    card.firstElementChild.focus({ preventScroll: true });
  }
}

const isNeuron = name => neurons ? placeOf(name) >= 0 : /^\d+\.\d+$/.test(name);

function goTo(name) {
  if (!neurons) location.href = `index.html#neuron=${name}`; // the cards are on the page beside this one
  else if (asked() === name) showCard(name, true); // the address stays, so that nothing else would show it
  else location.hash = `neuron=${name}`;
}

const asked = () => decodeURIComponent(location.hash).match(/^#neuron=(.+)$/)?.[1];
