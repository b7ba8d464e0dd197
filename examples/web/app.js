// SPDX-License-Identifier: LGPL-2.1-or-later
//
// app.js - the videos with their captions, the settings and the statistics. history.js has what was before.
// Text from captions, names and messages is only ever set as text.
import { History } from "./history.js";

const by = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};

let socket = null;
let wait = 500; // ms until the next attempt to connect
let state = null; // the server's
let chosen = 0;
const figures = []; // per source: {root, canvas, caption, trouble, badge, choose, visible}

const post = async (source, change) => {
  const answer = await fetch(`/api/sources/${source}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
};

// ---- Videos ---------------------------------------------------------------------------------------

const observer = new IntersectionObserver((changes) => {
  for (const change of changes) figures[change.target.dataset.number].visible = change.isIntersecting;
  watch();
});

// Pictures that nobody can see are not asked for, but those of the chosen video, whose captions are read out.
function watch() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const seen = document.hidden ? [] : figures.flatMap((f, i) => (f.visible || i === chosen ? [i] : []));
  socket.send(JSON.stringify({ watch: seen }));
}

function addFigure(number) {
  const canvas = make("canvas", { width: 16, height: 9 });
  const caption = make("span");
  const trouble = make("p", { className: "trouble" });
  const badge = make("span", { className: "badge" });
  const choose = make("button", { type: "button", className: "choose name" });
  const root = make("figure", {},
    make("div", { className: "picture" }, canvas, trouble, make("p", { className: "caption" }, caption)),
    make("figcaption", {}, choose, badge));
  canvas.setAttribute("role", "img");
  trouble.setAttribute("role", "status");
  root.dataset.number = number;
  choose.addEventListener("click", () => pick(number));
  by("figures").append(root);
  figures.push({ root, canvas, caption, trouble, badge, choose, visible: true });
  observer.observe(root);
}

// The live region is the caption of the chosen video: several at once could not be followed.
function mark() {
  figures.forEach((f, i) => {
    f.root.classList.toggle("chosen", i === chosen);
    f.choose.setAttribute("aria-pressed", String(i === chosen));
    f.caption.parentElement.setAttribute("aria-live", i === chosen && by("announce").checked ? "polite" : "off");
    f.caption.parentElement.setAttribute("aria-atomic", "true");
  });
}

function pick(number) {
  chosen = number;
  history.live();
  mark();
  watch();
  fillSettings(true);
  show();
}

async function draw(header, jpeg) {
  const figure = figures[header.source];
  if (!figure) return;
  const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (figure.canvas.width !== bitmap.width || figure.canvas.height !== bitmap.height) {
    figure.canvas.width = bitmap.width;
    figure.canvas.height = bitmap.height;
  }
  figure.canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  if (figure.caption.textContent !== header.caption) figure.caption.textContent = header.caption;
}

// ---- State ----------------------------------------------------------------------------------------

const words = { starting: "Starting", playing: "Live", paused: "Paused", lost: "Gone", ended: "Ended" };

function show() {
  while (figures.length < state.sources.length) addFigure(figures.length);
  state.sources.forEach((source, i) => {
    const f = figures[i];
    const current = source.paused ? "paused" : source.state;
    const trouble = source.state === "lost" || source.state === "ended" ? source.message : "";
    f.badge.textContent = words[current];
    f.badge.className = `badge ${current}`;
    f.badge.title = source.message;
    if (f.trouble.textContent !== trouble) f.trouble.textContent = trouble;
    if (f.choose.textContent !== source.name) f.choose.textContent = source.name;
    f.choose.title = source.name;
    f.canvas.setAttribute("aria-label", `Video: ${source.name}`);
  });
  const source = state.sources[chosen];
  by("pause").setAttribute("aria-pressed", String(source.paused));
  by("pause").textContent = source.paused ? "Resume" : "Pause";
  const others = state.viewers > 1 ? `${state.viewers} viewers` : "";
  const warning = source.state === "playing" ? source.message : "";
  const said = ["Connected", others].filter(Boolean).join(" · ");
  if (by("connection").textContent !== said) by("connection").textContent = said;
  by("connection").classList.remove("lost");
  if (by("warning").textContent !== warning) by("warning").textContent = warning;
  fillSettings(false);
  showStatistics(source);
}

const seconds = (ns) => `${(ns / 1e9).toFixed(ns < 1e9 ? 3 : 2)} s`;
const count = (n) => n.toLocaleString("en");
// What is shown first, with a plain name; the other counters follow as the element calls them.
const statistics = [
  ["captions", "Captions made", count], ["captions-per-second", "Captions a second", (n) => n.toFixed(2)],
  ["latency-last", "Last caption took", seconds], ["latency-mean", "Mean", seconds],
  ["latency-p99", "99 of 100 took at most", seconds],
  ["frames", "Frames", count], ["scene-cuts", "Scene cuts", count], ["kept", "Caption kept, same scene", count],
  ["work-saved", "Work saved", (n) => `${Math.round(100 * n)} %`], ["errors", "Errors", count],
];

function showStatistics(source) {
  const rows = [];
  if (source["model-info"].name) rows.push(["Model", String(source["model-info"].name)]);
  if (source.width) rows.push(["Picture", `${source.width} × ${source.height}`]);
  for (const [key, label, text] of statistics) if (key in source.stats) rows.push([label, text(source.stats[key])]);
  rows.push(["Attempts to connect", count(source.attempts + 1)], ["Captions in memory", count(state.entries)],
    ["Their pictures", `${(state["picture-bytes"] / 1048576).toFixed(1)} MB`]);
  const list = by("numbers");
  while (list.childElementCount < 2 * rows.length) list.append(make("dt"), make("dd"));
  while (list.childElementCount > 2 * rows.length) list.lastElementChild.remove();
  rows.flat().forEach((text, i) => {
    if (list.children[i].textContent !== text) list.children[i].textContent = text;
  });
}

// ---- Settings -------------------------------------------------------------------------------------

const inputs = new Map();

function makeSettings() {
  const fields = [];
  for (const kind of state.kinds) {
    const id = `set-${kind.key}`;
    const type = kind.kind === "text" ? "text" : "number";
    const input = make("input", { id, type, name: kind.key, autocomplete: "off" });
    input.placeholder = kind.usual;
    if (kind.kind === "text") input.maxLength = 500;
    else Object.assign(input, { min: kind.least, max: kind.most, step: kind.kind === "whole" ? 1 : "any" });
    input.setAttribute("aria-describedby", `${id}-help`);
    inputs.set(kind.key, input);
    fields.push(make("div", { className: kind.kind === "text" ? "wide" : "" },
      make("label", { htmlFor: id, textContent: kind.label }), input,
      make("p", { id: `${id}-help`, className: "help", textContent: kind.help })));
  }
  if (state.models.length) {
    const select = make("select", { id: "set-model", name: "model" });
    inputs.set("model", select);
    fields.splice(1, 0, make("div", {}, make("label", { htmlFor: "set-model", textContent: "Model" }), select));
  }
  by("fields").replaceChildren(...fields);
}

// What somebody is typing is left alone, unless another video was chosen.
function fillSettings(anew) {
  const source = state.sources[chosen];
  if (!inputs.size) makeSettings();
  const select = inputs.get("model");
  if (select) {
    const names = source.model ? state.models : ["", ...state.models];
    if (names.join("/") !== [...select.options].map((o) => o.value).join("/"))
      select.replaceChildren(...names.map((n) => make("option", { value: n, textContent: n || "As started" })));
  }
  for (const [key, input] of inputs) {
    const value = key === "model" ? source.model : source.settings[key] ?? "";
    if (!anew && input.dataset.shown === String(value)) continue;
    if (!anew && document.activeElement === input) continue;
    input.value = input.dataset.shown = String(value);
  }
  if (anew) by("problem").textContent = by("applied").textContent = "";
}

by("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const change = {};
  by("problem").textContent = by("applied").textContent = "";
  for (const [key, input] of inputs) {
    if (input.value === input.dataset.shown && !input.validity.badInput) continue;
    if (input.validity.badInput) change[key] = "?"; // what is no number is refused by the server, by its name
    else if (input.value === "") change[key] = null;
    else change[key] = input.type === "number" ? Number(input.value) : input.value;
  }
  try {
    await post(chosen, change);
    for (const key in change) inputs.get(key).dataset.shown = inputs.get(key).value;
    by("applied").textContent = "Applied";
  } catch (error) {
    by("problem").textContent = error.message;
    const wrong = inputs.get(error.message.split(":")[0]);
    if (wrong) wrong.focus();
  }
});

const tell = (promise) => promise.catch((error) => { by("problem").textContent = error.message; });
by("pause").addEventListener("click", () => tell(post(chosen, { paused: !state.sources[chosen].paused })));
by("now").addEventListener("click", () => tell(post(chosen, { caption_now: true })));
by("announce").addEventListener("change", mark);

// ---- Connection -----------------------------------------------------------------------------------

const history = new History({
  begin: () => { by("figures").hidden = true; },
  end: () => { by("figures").hidden = false; },
  name: (source) => (state.sources.length > 1 ? state.sources[source].name : ""),
});

async function hear(data) {
  let number;
  if (typeof data === "string") {
    const update = JSON.parse(data);
    number = update.n;
    if (update.state) {
      const first = !state;
      state = update.state;
      show();
      if (first) {
        mark();
        await history.start(state);
      }
    }
    history.add(update.captions);
  } else {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    number = header.n;
    await draw(header, new Uint8Array(data, 4 + length)).catch(() => {}); // a picture that is broken is left out
  }
  return number;
}

function connect() {
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  let last = Promise.resolve(); // messages are done and acknowledged one after the other
  socket = mine;
  mine.binaryType = "arraybuffer";
  mine.addEventListener("open", () => {
    wait = 500;
    watch();
  });
  mine.addEventListener("message", (event) => {
    last = last.then(() => hear(event.data)).then((n) => {
      if (mine.readyState === WebSocket.OPEN) mine.send(JSON.stringify({ n }));
    });
  });
  mine.addEventListener("close", (event) => {
    const why = event.reason === "too many viewers" ? "There are too many viewers" : "The server does not answer";
    by("connection").textContent = `${why}. Trying again …`;
    by("connection").classList.add("lost");
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, 10000);
  });
}

document.addEventListener("visibilitychange", watch);
connect();
