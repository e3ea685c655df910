// Waveform and piano roll on canvases.

const COLOURS = ["#e4572e", "#2e86ab", "#3a9d5d", "#a23b72", "#d99a00", "#7a6ff0"];

export function partColour(index) {
  return COLOURS[index % COLOURS.length];
}

function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 600;
  const height = canvas.clientHeight || 100;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// `played` is the share of the piece that has been heard, 0 to 1.
export function drawWave(canvas, peaks, played) {
  const { pen, width, height } = prepared(canvas);
  const loudest = Math.max(0.05, ...peaks.map(([low, high]) => Math.max(-low, high)));
  const step = width / peaks.length;
  peaks.forEach(([low, high], index) => {
    pen.fillStyle = colour(index / peaks.length < played ? "--accent" : "--wave");
    const top = ((1 - high / loudest) * height) / 2;
    const bottom = ((1 - low / loudest) * height) / 2;
    pen.fillRect(index * step, top, Math.max(step * 0.8, 0.6), Math.max(bottom - top, 1));
  });
}

export function drawRoll(canvas, outline, played) {
  const { pen, width, height } = prepared(canvas);
  const drums = outline.parts.findIndex((part) => part.includes("(drums)"));
  const tuned = outline.notes.filter((note) => note[4] !== drums);
  const pitches = tuned.map((note) => note[2]);
  const low = Math.min(...pitches, 60) - 2;
  const high = Math.max(...pitches, 60) + 2;
  const strip = drums >= 0 ? 14 : 0; // for the drums, below the pitches
  const row = (height - strip) / (high - low + 1);
  for (const [start, length, pitch, velocity, part] of outline.notes) {
    pen.globalAlpha = 0.45 + (0.55 * velocity) / 127;
    pen.fillStyle = partColour(part);
    const x = (start / outline.duration) * width;
    const wide = Math.max((length / outline.duration) * width - 0.5, 1.5);
    if (part === drums) pen.fillRect(x, height - strip + 2 + (pitch % 5) * 2, 2, 2);
    else pen.fillRect(x, (high - pitch) * row, wide, Math.max(row - 0.5, 1.5));
  }
  pen.globalAlpha = 1;
  pen.fillStyle = colour("--text");
  if (played > 0) pen.fillRect(played * width, 0, 1.5, height);
}
