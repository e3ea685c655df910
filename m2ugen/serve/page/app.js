// The page: messages, settings, history, and what happens when one is sent.

import * as api from "./api.js";
import { attach, attached, clear, recorder, refer, setLimit } from "./attachments.js";
import { LiveSound } from "./live.js";
import { button, element, resultCard } from "./player.js";

const $ = (id) => document.getElementById(id);
const log = $("log");
const KEPT = "m2ugen-results";
const EXAMPLES = [
  { label: "A calm piano piece in D minor", mode: "generate", text: "a calm piano piece in D minor" },
  { label: "A fast rock song with drums", mode: "generate", text: "a fast rock song with electric guitar, bass and drums" },
  { label: "Music for this picture", mode: "generate", text: "music for this picture", file: "dark", as: "image" },
  { label: "A soundtrack for this clip", mode: "generate", text: "an exciting soundtrack for this clip", file: "video", as: "video", duration: 0 },
  { label: "Which instruments play?", mode: "ask", text: "Which instruments play?", file: "music", as: "music" },
  { label: "Add drums to this piece", mode: "edit", text: "add drums", file: "music", as: "music" },
];

let turns = []; // of this conversation, as the server wants them
let server = { max_duration: 300 };

function mode(value) {
  if (value) document.querySelector(`input[name=mode][value=${value}]`).checked = true;
  return document.querySelector("input[name=mode]:checked").value;
}

function settings() {
  const number = (id) => Number($(id).value);
  return {
    duration: number("duration") || undefined,
    guidance_scale: number("guidance") || undefined,
    temperature: number("temperature") || undefined,
    seed: $("seed").value === "" ? undefined : number("seed"),
    keep_sound: $("keep").checked || undefined,
    live: $("listen").checked || undefined,
  };
}

function tellSettings() {
  $("duration-told").textContent = Number($("duration").value) ? `${$("duration").value} s` : "as long as the video, else 30 s";
  $("guidance-told").textContent = Number($("guidance").value) || "the model's own";
  $("temperature-told").textContent = Number($("temperature").value) || "0 (the likeliest words)";
}

function add(item) {
  $("welcome").hidden = true;
  log.append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

function fail(error) {
  add(element("li", { class: "error", role: "alert" }, error.message));
}

function preview(name, file) {
  const src = URL.createObjectURL(file);
  if (name === "image") return element("img", { src, alt: `Attached: ${file.name}` });
  const kind = name === "video" ? "video" : "audio";
  return element(kind, { src, controls: true, "aria-label": `Attached: ${file.name}` });
}

async function send(wish) {
  const files = Object.entries(wish.files).map(([name, file]) => preview(name, file));
  const about = wish.source ? element("p", { class: "faint" }, `about “${wish.source.title}”`) : null;
  add(element("li", { class: "mine" }, element("p", {}, wish.text), about, ...files));
  const item = add(element("li", { class: "answer" }));
  const words = element("p", { class: "words" });
  const state = element("span", { class: "faint" }, "sending …");
  const bar = element("progress", { max: 1, "aria-label": "Progress" });
  let id = null;
  let unwanted = false;
  let sound = null; // while it is being made
  const stop = button("Cancel", () => {
    unwanted = true;
    stop.disabled = true;
    sound?.stop();
    if (id) api.cancel(id).catch(fail);
  }, { class: "quiet" });
  item.append(words, element("div", { class: "working" }, state, bar, stop));
  try {
    const job = await api.submit(wish);
    id = job.id;
    if (unwanted) await api.cancel(id);
    const last = await api.watch(id, (now) => {
      words.textContent = now.text;
      state.textContent = now.state === "queued" ? "waiting …" : now.progress ? `composing ${Math.round(100 * now.progress)} %` : "listening and thinking …";
      if (now.progress) bar.value = now.progress;
      if (now.live && !sound && !unwanted && now.state === "running") {
        sound = new LiveSound();
        sound.play(id).catch(() => {}); // the finished sound comes all the same
      }
      item.scrollIntoView({ block: "nearest" });
    });
    await show(item, last, wish, sound);
  } catch (error) {
    sound?.stop();
    ended(item, error.message, wish, true);
  }
}

function ended(item, message, wish, bad) {
  const actions = element("div", { class: "actions" }, button("Try again", () => send(wish)));
  const told = bad ? { class: "error", role: "alert" } : { class: "faint" };
  item.replaceChildren(element("p", told, message), actions);
}

async function show(item, job, wish, sound = null) {
  if (job.state === "cancelled") return ended(item, "Cancelled.", wish, false);
  if (job.state === "failed") {
    const { message } = job.error;
    return ended(item, message.charAt(0).toUpperCase() + message.slice(1) + ".", wish, true);
  }
  const title = wish.text.slice(0, 60);
  const source = { id: job.id, title };
  const act = {
    editThis: () => {
      refer(source);
      mode("edit");
      $("text").focus();
    },
    regenerate: () => send({ ...wish, settings: { ...wish.settings, seed: undefined } }),
  };
  item.replaceChildren(await resultCard(job, act, fail, sound));
  item.scrollIntoView({ block: item === log.lastElementChild ? "end" : "nearest" });
  turns.push({ user: wish.text, reply: job.result.text, music: job.result.files.length > 0 });
  if (job.result.files.length && !wish.old) keep({ id: job.id, title, mode: wish.mode });
}

// Results that the browser remembers; the server forgets them after a while.
function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

function keep(entry) {
  localStorage.setItem(KEPT, JSON.stringify([entry, ...kept()].slice(0, 50)));
  showKept();
}

function showKept() {
  const entries = kept();
  $("nothing").hidden = entries.length > 0;
  $("history").replaceChildren(...entries.map((entry) =>
    element("li", {}, button(`${entry.mode === "edit" ? "✎" : "♪"} ${entry.title}`, () => recall(entry), { class: "quiet", title: entry.title })),
  ));
}

async function recall(entry) {
  try {
    const job = await api.job(entry.id);
    const item = add(element("li", { class: "answer" }));
    await show(item, job, { mode: entry.mode, text: entry.title, files: {}, settings: settings(), history: [], old: true });
  } catch (error) {
    localStorage.setItem(KEPT, JSON.stringify(kept().filter((other) => other.id !== entry.id)));
    showKept();
    fail(error);
  }
}

function take(files) {
  for (const file of files) {
    const problem = attach(file);
    if (problem) fail(new Error(problem));
  }
}

async function tryExample(example) {
  mode(example.mode);
  $("text").value = example.text;
  if (example.duration !== undefined) $("duration").value = example.duration;
  tellSettings();
  try {
    if (example.file) attach(await api.exampleFile(example.file), example.as);
    $("composer").requestSubmit();
  } catch (error) {
    fail(error);
  }
}

async function connect() {
  try {
    const { ready, reason } = await api.ready();
    $("status").textContent = ready ? "" : `${reason} …`;
    if (!ready) return setTimeout(connect, 1000);
    server = await api.about();
    $("status").textContent = `${server.model} is ready`;
    $("duration").max = server.max_duration;
    setLimit(server.max_file_bytes);
    $("text").maxLength = server.max_text;
  } catch {
    $("status").textContent = "the server cannot be reached";
    setTimeout(connect, 3000);
  }
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const wish = { mode: mode(), text, files: { ...attached.files }, source: attached.source, settings: settings(), history: turns.slice(-6) };
  $("text").value = "";
  clear();
  if (wish.mode === "edit") mode("chat");
  send(wish);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
$("text").addEventListener("paste", (event) => take(event.clipboardData.files));
$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  take($("file").files);
  $("file").value = "";
});
for (const id of ["duration", "guidance", "temperature"]) $(id).addEventListener("input", tellSettings);
for (const kind of ["dragover", "drop", "dragleave"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("shown", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
$("new").addEventListener("click", () => {
  turns = [];
  log.replaceChildren();
  clear();
  $("welcome").hidden = false;
  $("text").focus();
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
});
if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
api.onKeyWanted(() => new Promise((resolve) => {
  const dialog = $("key-dialog");
  dialog.addEventListener("close", () => resolve($("key").value || null), { once: true });
  if (!dialog.open) dialog.showModal();
}));
recorder($("record"), fail);
$("examples").append(...EXAMPLES.map((example) => element("li", {}, button(example.label, () => tryExample(example), { class: "quiet" }))));
tellSettings();
showKept();
connect();
