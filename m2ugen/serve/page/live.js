// Sound that plays while the rest of it is still being made: a WAV stream in pieces of 16-bit samples.

import * as api from "./api.js";

const HEADER = 44;
const LEAD = 0.15; // seconds between the first piece and its sound

export class LiveSound {
  constructor() {
    this.context = new AudioContext();
    this.next = 0;
    this.stopped = false;
  }

  // Plays the sound of a job to its end, or until stop().
  async play(id) {
    const reader = await api.live(id);
    let rest = new Uint8Array(0);
    let format = null;
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.stopped) break;
      const bytes = new Uint8Array(rest.length + value.length);
      bytes.set(rest);
      bytes.set(value, rest.length);
      rest = bytes;
      if (!format) {
        if (rest.length < HEADER) continue;
        const view = new DataView(rest.buffer);
        format = { channels: view.getUint16(22, true), rate: view.getUint32(24, true) };
        rest = rest.slice(HEADER);
      }
      const frame = 2 * format.channels;
      const whole = rest.length - (rest.length % frame);
      if (whole) this.schedule(rest.slice(0, whole), format);
      rest = rest.slice(whole);
    }
    reader.cancel().catch(() => {});
  }

  schedule(bytes, { channels, rate }) {
    const samples = new Int16Array(bytes.buffer);
    const buffer = this.context.createBuffer(channels, samples.length / channels, rate);
    for (let channel = 0; channel < channels; channel++) {
      const data = buffer.getChannelData(channel);
      for (let index = 0; index < data.length; index++) data[index] = samples[index * channels + channel] / 32768;
    }
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.next = Math.max(this.next, this.context.currentTime + LEAD);
    source.start(this.next);
    this.next += buffer.duration;
  }

  get isPlaying() {
    return !this.stopped && this.context.currentTime < this.next;
  }

  stop() {
    this.stopped = true;
    if (this.context.state !== "closed") this.context.close();
  }
}
