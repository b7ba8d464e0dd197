// SPDX-License-Identifier: LGPL-2.1-or-later
//
// history.js - the list of captions with its search, the timeline of a day, and the picture of a moment.
const by = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const ask = async (path, parameters) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value != null));
  const answer = await fetch(`${path}?${query}`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
};

const PAGE = 50; // entries that are asked for at a time
const MOST = 300; // entries in the list
const BINS = 288; // bars in a day: five minutes each
const two = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const clock = (ms) => new Date(ms).toLocaleTimeString([], two);
const day = (ms) => {
  const date = new Date(ms);
  const parts = [date.getFullYear(), date.getMonth() + 1, date.getDate()];
  return parts.map((part) => String(part).padStart(2, "0")).join("-");
};

export class History {
  // view: begin() and end() hide and show the live videos; name(source) is what an entry adds to its time.
  constructor(view) {
    this.view = view;
    this.newest = 0; // id in the list, or passed by it
    this.then = null; // the entry that is shown in place of the live video
    this.request = 0;
  }

  async start(state) {
    this.began = state.began;
    by("which").replaceChildren(make("option", { value: "", textContent: "All videos" }),
      ...state.sources.map((s, i) => make("option", { value: i, textContent: s.name })));
    by("which").hidden = state.sources.length < 2;
    by("date").value = by("date").max = day(Date.now());
    by("time").value = this.second(Date.now());
    by("search").addEventListener("submit", (event) => event.preventDefault());
    by("words").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.load(), 200);
    });
    by("which").addEventListener("change", () => {
      this.links();
      this.load();
      this.bars();
    });
    by("older").addEventListener("click", () => this.older());
    by("entries").addEventListener("keydown", (event) => this.key(event));
    by("entries").addEventListener("focusin", (event) => this.rove(event.target));
    by("back").addEventListener("click", () => this.live());
    by("time").addEventListener("input", () => {
      clearTimeout(this.moving);
      this.moving = setTimeout(() => this.jump(), 120);
    });
    by("date").addEventListener("change", () => {
      this.bars();
      this.jump();
    });
    by("bars").addEventListener("click", (event) => {
      const box = by("bars").getBoundingClientRect();
      by("time").value = Math.round(((event.clientX - box.left) / box.width) * 86399);
      this.jump();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.bars());
    addEventListener("resize", () => this.bars());
    setInterval(() => this.bars(), 10000);
    this.links();
    await this.load();
    await this.bars();
  }

  links() {
    const source = by("which").value;
    by("vtt").href = `/api/captions.vtt?source=${source || 0}`;
    by("json").href = source ? `/api/captions.json?source=${source}` : "/api/captions.json";
    by("vtt").setAttribute("aria-label", "Download the captions as WebVTT");
    by("json").setAttribute("aria-label", "Download the captions as JSON");
  }

  // ---- The list -----------------------------------------------------------------------------------

  asked(more) {
    return ask("/api/history", { q: by("words").value.trim(), source: by("which").value, limit: PAGE, ...more });
  }

  async load(before) {
    const request = ++this.request;
    const entries = await this.asked({ before });
    if (request !== this.request) return; // somebody typed on
    by("entries").replaceChildren(...entries.map((e) => this.item(e)));
    by("entries").scrollTop = 0;
    this.oldest = entries.at(-1)?.id;
    this.newest = Math.max(this.newest, entries[0]?.id ?? 0);
    this.isPart = Boolean(before);
    by("older").hidden = entries.length < PAGE;
    this.count(entries.length === PAGE);
  }

  async older() {
    const entries = await this.asked({ before: this.oldest });
    const first = by("entries").children.length;
    by("entries").append(...entries.map((e) => this.item(e)));
    this.oldest = entries.at(-1)?.id ?? this.oldest;
    by("older").hidden = entries.length < PAGE;
    by("entries").children[first]?.querySelector("button").focus();
    this.count(entries.length === PAGE);
  }

  count(more) {
    if (!document.querySelector(".entry[tabindex='0']")) this.rove(document.querySelector(".entry"));
    const n = by("entries").children.length;
    const found = n ? `${n}${more ? " and more" : ""} found` : "Nothing found";
    by("found").textContent = by("words").value.trim() ? found : n ? "" : "No captions yet";
  }

  item(entry) {
    const name = this.view.name(entry.source);
    const date = day(entry.begin) === day(Date.now()) ? "" : `${day(entry.begin)} `;
    const time = make("time", { dateTime: new Date(entry.begin).toISOString(),
      textContent: date + clock(entry.begin) + (name ? ` · ${name}` : "") });
    const picture = entry.picture
      ? make("img", { src: this.address(entry), alt: "", loading: "lazy", decoding: "async" })
      : make("span", { className: "none" });
    const button = make("button", { type: "button", className: "entry" }, picture,
      make("span", {}, time, make("span", { className: "text", textContent: entry.text })));
    button.dataset.id = entry.id;
    button.tabIndex = -1;
    button.addEventListener("click", () => this.show(entry));
    return make("li", {}, button);
  }

  // The list is one stop of the Tab key; in it, arrows go up and down.
  rove(button) {
    for (const other of document.querySelectorAll(".entry[tabindex='0']")) if (other !== button) other.tabIndex = -1;
    if (button) button.tabIndex = 0;
  }

  key(event) {
    const item = event.target.closest("li");
    const to = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling,
      Home: by("entries").firstElementChild, End: by("entries").lastElementChild }[event.key];
    if (!to) return;
    event.preventDefault();
    to.firstElementChild.focus();
  }

  address(entry) {
    return `/api/pictures/${entry.id}?of=${this.began}`;
  }

  matches(entry) {
    const source = by("which").value;
    const text = entry.text.toLowerCase();
    return (source === "" || Number(source) === entry.source) &&
      by("words").value.trim().toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  // New captions, the oldest one first. The list stays where somebody has scrolled to.
  add(entries) {
    const list = by("entries");
    for (const entry of entries) {
      if (entry.id <= this.newest) continue;
      this.newest = entry.id;
      if (this.isPart || !this.matches(entry)) continue;
      list.prepend(this.item(entry));
      if (list.children.length > MOST) {
        list.lastElementChild.remove();
        this.oldest = Number(list.lastElementChild.firstElementChild.dataset.id);
        by("older").hidden = false;
      }
      by("found").textContent = by("words").value.trim() ? by("found").textContent : "";
    }
    // Tab goes to the newest one, unless somebody is in the list.
    if (!list.contains(document.activeElement)) this.rove(list.querySelector(".entry"));
    if (!this.then && by("date").value === day(Date.now()) && document.activeElement !== by("time"))
      by("time").value = this.second(Date.now());
  }

  // ---- A moment -----------------------------------------------------------------------------------

  second(ms) {
    const date = new Date(ms);
    return date.getHours() * 3600 + date.getMinutes() * 60 + date.getSeconds();
  }

  midnight() {
    const date = by("date").valueAsDate ?? new Date();
    return new Date(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()).getTime();
  }

  show(entry) {
    this.then = entry;
    by("past-picture").src = entry.picture ? this.address(entry) : "/icon.svg";
    by("past-picture").alt = entry.text;
    by("past-caption").textContent = entry.text;
    const name = this.view.name(entry.source);
    by("past-time").textContent = `${day(entry.begin)} ${clock(entry.begin)}${name ? ` · ${name}` : ""}`;
    by("past").hidden = false;
    by("date").value = day(entry.begin);
    by("time").value = this.second(entry.begin);
    this.say(entry);
    this.current();
    this.view.begin();
  }

  current() {
    for (const button of document.querySelectorAll(".entry"))
      button.setAttribute("aria-current", String(Number(button.dataset.id) === this.then?.id));
  }

  say(entry) {
    by("time").setAttribute("aria-valuetext", entry ? `${clock(entry.begin)}: ${entry.text}` : "no caption");
  }

  live() {
    if (!this.then) return;
    this.then = null;
    by("past").hidden = true;
    by("date").value = day(Date.now());
    by("time").value = this.second(Date.now());
    by("time").removeAttribute("aria-valuetext");
    this.current();
    this.view.end();
    if (this.isPart) this.load();
  }

  // To what was shown at the time of the slider, or last before that.
  async jump() {
    const at = this.midnight() + Number(by("time").value) * 1000;
    const entries = await ask("/api/history", { source: by("which").value, to: at + 1000, limit: 1 });
    const entry = entries[0] ?? (await this.first());
    if (!entry) return this.say(null);
    const value = by("time").value;
    await this.load(entry.id + PAGE / 2);
    this.show(entry);
    if (day(entry.begin) === day(at)) by("time").value = value;
    document.querySelector(`.entry[data-id="${entry.id}"]`)?.scrollIntoView({ block: "nearest" });
  }

  async first() {
    const line = await ask("/api/timeline", { source: by("which").value, bins: 1 });
    if (!line.ids[0]) return null;
    return (await ask("/api/history", { before: line.ids[0] + 1, limit: 1 }))[0];
  }

  async bars() {
    const canvas = by("bars");
    const from = this.midnight();
    const line = await ask("/api/timeline", { source: by("which").value, from, to: from + 86400000, bins: BINS });
    const style = getComputedStyle(document.documentElement);
    const context = canvas.getContext("2d");
    const scale = devicePixelRatio;
    const most = Math.max(1, ...line.counts);
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    line.counts.forEach((count, i) => {
      if (!line.ids[i]) return;
      const height = canvas.height * (0.2 + (0.8 * count) / most);
      const left = Math.floor((i * canvas.width) / BINS);
      context.fillStyle = style.getPropertyValue(count ? "--strong" : "--bar");
      context.fillRect(left, canvas.height - height, Math.max(2, Math.ceil(canvas.width / BINS)), height);
    });
  }
}
