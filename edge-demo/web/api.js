// In place of the server's API: readers and network run in this page.

const base = new URL('.', import.meta.url);
const worker = new Worker(new URL('worker.js', base), { type: 'module' });
/** Threads of the network: the machine's, at most 8; one where the browser does not let the page share memory. */
const THREADS = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 8) : 1;
const waiting = new Map();
let last = 0;
/** Why nothing works any more. */
let broken = '';

/** What was refused, in the words of who refused it. */
export class Refused extends Error {}

worker.addEventListener('message', ({ data: { id, result, report, threads, error, name } }) => {
  // After a fault nobody waits.
  if (!waiting.has(id)) return;
  const { resolve, reject, told } = waiting.get(id);
  if (report) return told(...report);
  if (threads) return threads.forEach(start);
  waiting.delete(id);
  if (error === undefined) resolve(result);
  else reject(name ? new DOMException(error, name) : new Refused(error));
});
worker.addEventListener('error', event => fail(event.message));

/** Starts a thread, which ends with the page. */
function start(thread) {
  const worker = new Worker(new URL('thread.js', base), { type: 'module' });
  worker.addEventListener('error', event => fail(event.message));
  // It tells its fault only. The worker would wait for it without an end.
  worker.addEventListener('message', ({ data }) => fail(data));
  worker.postMessage(thread);
}

function fail(message) {
  broken ||= `the library failed (${message ?? 'no worker'}); reload the page`;
  for (const { reject } of waiting.values()) reject(new Refused(broken));
  waiting.clear();
  worker.terminate();
}

const call = (name, asked, told) => new Promise((resolve, reject) => {
  if (broken) return reject(new Refused(broken));
  waiting.set(++last, { resolve, reject, told });
  worker.postMessage({ id: last, name, asked });
});

/** The samples of the command, with the boxes that a person would draw. */
const SAMPLES = [
  { name: 'retina.jpg', boxes: [[118, 538, 0, 322, 766, 0], [560, 570, 0, 860, 840, 0]] },
  { name: 'cell.png', boxes: [[360, 305, 0, 496, 442, 0]] },
];

/** Loads the library and the model. */
export async function enter() {
  const address = name => new URL(name, base).href;
  const { told } = await call('load', { library: address('umedsam.wasm'), model: address('model.umedsam'), threads: THREADS });
  return { ...told, offers: SAMPLES.map(sample => sample.name) };
}

export class Session {
  static several = true;

  static async open() {
    return new Session();
  }

  async send(files, name) {
    return (await call('open', { files, name })).told;
  }

  async offer(id) {
    const { name, boxes } = SAMPLES[id];
    const answer = await fetch(new URL(name, base));
    if (!answer.ok) throw new Refused(`${name}: ${answer.status} ${answer.statusText}`);
    return { ...await this.send([await answer.blob()], name), boxes };
  }

  image(info) {
    return new Image(info);
  }

  leave() {}
}

/** The image that is open. */
export class Image {
  constructor(info) {
    this.info = info;
    this.number = info.image;
  }

  // Opening another forgets it.
  async forget() {}

  #ask(question, more, told) {
    return call('ask', { image: this.number, question, ...more }, told);
  }

  async slice(axis, index) {
    const { told, bytes } = await this.#ask({ ask: 'slice', axis, index });
    return { ...told, values: told.type === 'i16' ? new Int16Array(bytes.buffer) : bytes };
  }

  /** Encodes slices while there is nothing else to do; how long the first took in ms, 0 if something else came first. */
  async ahead(axis, slices) {
    return (await call('ahead', { image: this.number, axis, slices })).ms;
  }

  async mask(axis, slice, box, heat, seq) {
    const { told, bytes, ms } = await this.#ask({ ask: 'mask', axis, slice, box, heat });
    const length = Math.ceil(told.width / 8) * told.height;
    return { ...told, bits: bytes.subarray(0, length), map: told.heat ? bytes.subarray(length) : null, ms, seq };
  }

  async window(window) {
    const { told } = await this.#ask({ ask: 'window', window });
    this.info = { ...told, image: this.number };
    return this.info;
  }

  async volume(asked, report, signal) {
    // The worker looks whether this file is still there.
    const wanted = URL.createObjectURL(new Blob(['wanted']));
    const withdraw = () => URL.revokeObjectURL(wanted);
    signal.addEventListener('abort', withdraw);
    try {
      const { told } = await this.#ask({ ask: 'volume', asked }, { wanted }, report);
      if (!told) throw new DOMException('cancelled', 'AbortError');
      return told;
    } finally {
      withdraw();
    }
  }

  async labels(format, objects) {
    const { told: { name, type }, bytes } = await this.#ask({ ask: 'labels', asked: { format, objects } });
    return { name, blob: new Blob([bytes], { type }) };
  }
}
