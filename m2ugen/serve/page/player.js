// The card of a finished result: words, sound, pictures of the sound, downloads, and what can be done with it.

import * as api from "./api.js";
import { drawRoll, drawWave, partColour } from "./draw.js";

const LABELS = { "audio.wav": "WAV", "audio.mp3": "MP3", "audio.flac": "FLAC", "audio.ogg": "OGG", "score.mid": "MIDI", "plan.json": "Plan" };

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}

// `act` has regenerate() and editThis(); `fail` shows an error beside the card; `live` is the sound that may be playing.
export async function resultCard(job, act, fail, live = null) {
  const { result } = job;
  const card = element("div");
  card.append(element("p", { class: "words" }, result.text || "(no words)"));
  const actions = element("div", { class: "actions" });
  if (result.files.includes("audio.wav")) {
    card.append(...(await sound(job, fail, live)));
    for (const name of result.files) {
      const label = LABELS[name] ?? (name.startsWith("video.") ? "Video" : null);
      if (label) actions.append(button(`↓ ${label}`, () => download(job.id, name).catch(fail), { "aria-label": `Download ${label}` }));
    }
    actions.append(button("Edit this", act.editThis));
  }
  actions.append(button("Regenerate", act.regenerate));
  card.append(actions);
  return card;
}

async function sound(job, fail, live) {
  const { result, id } = job;
  const parts = [];
  const [outline, blob] = await Promise.all([api.outline(id), api.file(id, "audio.mp3")]);
  const audio = element("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": "The music" });
  if (live?.isPlaying) {
    const quiet = button("Stop the sound", () => {
      live.stop();
      quiet.remove();
    });
    audio.addEventListener("play", () => quiet.click(), { once: true }); // one sound at a time
    parts.push(quiet);
  }
  const wave = element("canvas", { class: "wave", "aria-hidden": "true" });
  parts.push(audio, wave);
  let roll = null;
  if (outline.notes.length) {
    const told = `Piano roll: ${outline.notes.length} notes of ${outline.parts.join(", ")}`;
    roll = element("canvas", { class: "roll", role: "img", "aria-label": told });
    const names = outline.parts.map((part, index) => {
      const dot = element("i", { "aria-hidden": "true" });
      dot.style.background = partColour(index);
      return element("li", {}, dot, part);
    });
    parts.push(roll, element("ul", { class: "parts", "aria-label": "Who plays" }, ...names));
  }
  const draw = () => {
    const played = audio.duration ? audio.currentTime / audio.duration : 0;
    drawWave(wave, outline.peaks, played);
    if (roll) drawRoll(roll, outline, played);
    if (!audio.paused && !audio.ended) requestAnimationFrame(draw);
  };
  for (const event of ["play", "pause", "seeked", "loadedmetadata"]) audio.addEventListener(event, draw);
  wave.addEventListener("click", (event) => {
    if (audio.duration) audio.currentTime = (event.offsetX / wave.clientWidth) * audio.duration;
  });
  new ResizeObserver(draw).observe(wave);
  document.addEventListener("theme", draw);
  const video = result.files.find((name) => name.startsWith("video."));
  if (video) {
    const place = element("div");
    const show = button("Show the video with this music", async () => {
      show.disabled = true;
      try {
        const src = URL.createObjectURL(await api.file(id, video));
        place.replaceChildren(element("video", { controls: true, src, "aria-label": "The video with its new soundtrack" }));
      } catch (error) {
        show.disabled = false;
        fail(error);
      }
    }, { class: "quiet" });
    place.append(show);
    parts.push(place);
  }
  const facts = [`${result.duration.toFixed(1)} s`, `seed ${result.seed}`, result.plan].filter(Boolean).join(" · ");
  parts.push(element("p", { class: "plan" }, facts));
  return parts;
}

async function download(id, name) {
  const url = URL.createObjectURL(await api.file(id, name));
  element("a", { href: url, download: `m2ugen-${name}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
