// In place of the server's API: the network runs in this page.

import { png } from './png.js';

const base = new URL('.', import.meta.url);
const worker = new Worker(new URL('worker.js', base), { type: 'module' });
const waiting = new Map();
let last = 0;

/** What was refused, in the words of who refused it. */
export class Refused extends Error {}

worker.addEventListener('message', ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Refused(error));
});
worker.addEventListener('error', event => {
  for (const { reject } of waiting.values()) reject(new Refused(event.message ?? 'the worker failed'));
  waiting.clear();
});

const call = (name, asked) => new Promise((resolve, reject) => {
  waiting.set(++last, { resolve, reject });
  worker.postMessage({ id: last, name, asked });
});

/** The samples of the command, with the boxes that a person would draw. */
const SAMPLES = [
  { name: 'retina.jpg', boxes: [[118, 538, 322, 766], [560, 570, 860, 840]] },
  { name: 'cell.png', boxes: [[360, 305, 496, 442]] },
];

/** Loads the library and the model. */
export async function enter() {
  const address = name => new URL(name, base).href;
  const model = await call('load', { library: address('umedsam.wasm'), model: address('model.umedsam') });
  return { ok: true, ...model, offers: SAMPLES.map(sample => sample.name), windows: [] };
}

export class Session {
  static async open() {
    return new Session();
  }

  async send(file, name) {
    try {
      return described(name, [], await call('open', { file }));
    } catch (error) {
      throw new Refused(`${name}: ${error.message} This page opens pictures; for volumes and DICOM there is umedsam serve.`);
    }
  }

  async offer(id) {
    const { name, boxes } = SAMPLES[id];
    const answer = await fetch(new URL(name, base));
    if (!answer.ok) throw new Refused(`${name}: ${answer.status} ${answer.statusText}`);
    return described(name, boxes, await call('open', { file: await answer.blob() }));
  }

  image(info) {
    return new Image(info);
  }

  leave() {}
}

function described(name, boxes, { width, height, values }) {
  return {
    name,
    shape: [1, height, width],
    channels: 3,
    spacing: null,
    modality: null,
    axes: null,
    stored: { type: 'u8', slope: 1, intercept: 0 },
    inverted: false,
    window: '',
    range: [0, 255],
    notes: ['8 bits a channel, as this browser decodes it'],
    boxes: boxes.map(([x0, y0, x1, y1]) => [x0, y0, 0, x1, y1, 0]),
    formats: ['png'],
    values,
  };
}

/** The picture that is open. */
export class Image {
  constructor(info) {
    this.info = info;
  }

  // Opening another forgets it.
  async forget() {}

  async slice() {
    const [, height, width] = this.info.shape;
    return { width, height, channels: 3, type: 'u8', values: this.info.values };
  }

  ahead() {
    return call('encode');
  }

  async mask(axis, slice, box, heat, seq) {
    return { map: null, ...await call('mask', { box, heat }), seq };
  }

  async labels(format, objects) {
    const [, height, width] = this.info.shape;
    const labels = new Uint8Array(width * height);
    if (objects.length > 255) throw new Refused('a picture of labels has room for 255 objects');
    objects.forEach(({ slices }, i) => slices.forEach(({ runs }) => {
      let at = 0;
      runs.forEach((run, n) => {
        if (n % 2) labels.fill(i + 1, at, at + run);
        at += run;
      });
    }));
    return { name: `${this.info.name.replace(/\.[^.]*$/, '')}.mask.png`, blob: await png(labels, width, height) };
  }
}
