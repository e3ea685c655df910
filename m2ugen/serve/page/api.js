// Calls to the server. Every failure is an Error whose message can be shown as it is.

let askForKey = async () => null;

export function onKeyWanted(ask) {
  askForKey = ask;
}

async function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.status === 401) {
    const given = await askForKey();
    if (given) {
      sessionStorage.setItem("key", given);
      return call(path, options);
    }
  }
  if (!response.ok) throw new Error(await reason(response));
  return response;
}

async function reason(response) {
  let told = "";
  try {
    told = (await response.json()).error.message;
  } catch {
    told = `The server answered with status ${response.status}.`;
  }
  return told.charAt(0).toUpperCase() + told.slice(1) + (/[.!?]$/.test(told) ? "" : ".");
}

export async function about() {
  return (await call("/v1/about")).json();
}

export async function ready() {
  const response = await fetch("/readyz");
  return response.json();
}

export async function exampleFile(name) {
  const response = await call(`/v1/examples/${name}`);
  const blob = await response.blob();
  const endings = { "image/jpeg": ".jpg", "audio/ogg": ".ogg", "video/mp4": ".mp4", "audio/midi": ".mid" };
  return new File([blob], `example-${name}${endings[blob.type] ?? ""}`, { type: blob.type });
}

// Field of the form that carries the message, by kind of request.
const TEXT = { chat: "message", ask: "question", generate: "prompt", edit: "instruction" };

export async function submit(wish) {
  const form = new FormData();
  form.append(TEXT[wish.mode], wish.text);
  const fields = { ...wish.settings, source: wish.source?.id };
  if (wish.mode === "chat") fields.history = JSON.stringify(wish.history);
  if (wish.mode === "edit") for (const name of ["duration", "guidance_scale", "temperature", "keep_sound", "live"]) delete fields[name];
  if (wish.mode === "ask") for (const name of ["duration", "guidance_scale", "keep_sound", "live"]) delete fields[name];
  for (const [name, value] of Object.entries(fields)) if (value !== undefined && value !== null) form.append(name, value);
  for (const [name, file] of Object.entries(wish.files)) form.append(name, file);
  return (await call(`/v1/music/${wish.mode}`, { method: "POST", body: form })).json();
}

export async function job(id) {
  return (await call(`/v1/music/jobs/${encodeURIComponent(id)}`)).json();
}

export async function cancel(id) {
  return (await call(`/v1/music/jobs/${encodeURIComponent(id)}`, { method: "DELETE" })).json();
}

export async function file(id, name) {
  return (await call(`/v1/music/jobs/${encodeURIComponent(id)}/files/${name}`)).blob();
}

// A reader of the sound that is being made.
export async function live(id) {
  return (await call(`/v1/music/jobs/${encodeURIComponent(id)}/live`)).body.getReader();
}

export async function outline(id) {
  return (await call(`/v1/music/jobs/${encodeURIComponent(id)}/files/outline.json`)).json();
}

// Calls `onChange` with every state of a job, and returns the last one.
export async function watch(id, onChange) {
  const response = await call(`/v1/music/jobs/${encodeURIComponent(id)}/events`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let last = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      last = JSON.parse(event.slice(6));
      onChange(last);
    }
  }
  if (!last || !["done", "failed", "cancelled"].includes(last.state)) throw new Error("The connection to the server was lost.");
  return last;
}
