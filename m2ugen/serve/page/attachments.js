// Files that go with the next message: chosen, dropped, pasted or recorded; and an earlier result to edit.

import { button, element } from "./player.js";

const chips = document.getElementById("chips");
const ENDINGS = /\.(midi?|wav|mp3|ogg|flac|m4a|aiff?)$/i;

export const attached = { files: {}, source: null };
let limit = Infinity;

export function setLimit(bytes) {
  limit = bytes;
}

function modality(file) {
  if (file.type.startsWith("image/")) return "image";
  if (file.type.startsWith("video/")) return "video";
  if (file.type.startsWith("audio/") || ENDINGS.test(file.name)) return "music";
  return null;
}

// Returns what is wrong with the file, or null.
export function attach(file, as = modality(file)) {
  if (!as) return `${file.name} is neither music nor a picture nor a video.`;
  if (file.size > limit) return `${file.name} is larger than ${Math.round(limit / 2 ** 20)} MB.`;
  attached.files[as] = file;
  if (as === "music") attached.source = null;
  show();
  return null;
}

export function refer(source) {
  attached.source = source;
  delete attached.files.music;
  show();
}

export function clear() {
  attached.files = {};
  attached.source = null;
  show();
}

function chip(label, remove) {
  return element("span", { class: "chip" }, element("span", {}, label), button("✕", remove, { "aria-label": `Remove ${label}` }));
}

function show() {
  const made = Object.entries(attached.files).map(([name, file]) =>
    chip(`${name}: ${file.name}`, () => {
      delete attached.files[name];
      show();
    }),
  );
  if (attached.source) {
    made.push(chip(`editing: ${attached.source.title}`, () => {
      attached.source = null;
      show();
    }));
  }
  chips.replaceChildren(...made);
}

// A record button: press to begin, press again to attach what was heard.
export function recorder(control, fail) {
  let running = null;
  control.addEventListener("click", async () => {
    if (running) return running.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const pieces = [];
      running = new MediaRecorder(stream);
      running.addEventListener("dataavailable", (event) => pieces.push(event.data));
      running.addEventListener("stop", () => {
        stream.getTracks().forEach((track) => track.stop());
        const type = running.mimeType;
        running = null;
        control.setAttribute("aria-pressed", "false");
        control.textContent = "Record";
        const problem = attach(new File([new Blob(pieces, { type })], "recording", { type }), "music");
        if (problem) fail(new Error(problem));
      });
      running.start();
      control.setAttribute("aria-pressed", "true");
      control.textContent = "■ Stop";
    } catch {
      running = null;
      fail(new Error("The microphone cannot be used; allow it in the browser, or attach a file."));
    }
  });
}
