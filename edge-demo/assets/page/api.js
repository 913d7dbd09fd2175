// The server's API.

const root = '/api/v1';
let token = decodeURIComponent(location.hash.slice(1));
if (token) history.replaceState(null, '', location.pathname);

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(method, path, body, signal) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined && !(body instanceof Blob)) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(body);
  }
  const answer = await fetch(root + path, { method, headers, body, signal, cache: 'no-store' });
  if (answer.ok) return answer;
  const text = await answer.text();
  let detail = text;
  try {
    detail = JSON.parse(text).detail;
  } catch { /* words as they are */ }
  throw new Refused(answer.status, detail || answer.statusText);
}

const json = async (...what) => (await ask(...what)).json();

export const health = () => json('GET', '/health');

/** Asks until the token is the right one, or the server wants none. */
export async function enter() {
  for (;;) {
    try {
      return await health();
    } catch (error) {
      if (error.status !== 401) throw error;
      token = prompt('Token of the server (--token)') ?? '';
      if (!token) throw error;
    }
  }
}

/** A session, whose images nobody else sees. */
export class Session {
  /** Whether files are opened together. */
  static several = false;

  static async open() {
    const session = new Session();
    await session.claim();
    return session;
  }

  async claim() {
    this.path = `/sessions/${(await json('POST', '/sessions', {})).session}`;
  }

  async #opened(path, body) {
    try {
      return await json('POST', this.path + path, body);
    } catch (error) {
      // The server was started anew, or the session was idle for too long.
      if (error.status !== 404) throw error;
      await this.claim();
      return json('POST', this.path + path, body);
    }
  }

  send([file], name, choice = {}) {
    return this.#opened(`/images?${new URLSearchParams({ name, ...choice })}`, file);
  }

  offer(id) {
    return this.#opened(`/offers/${id}`, {});
  }

  image(info) {
    return new Image(`${this.path}/images/${info.image}`, info);
  }

  /** When the page goes. */
  leave() {
    fetch(root + this.path, { method: 'DELETE', keepalive: true, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  }
}

/** An image of a session. */
export class Image {
  constructor(path, info) {
    this.path = path;
    this.info = info;
  }

  forget() {
    return ask('DELETE', this.path).catch(() => {});
  }

  /** A slice: its size and its stored numbers. */
  async slice(axis, index, signal) {
    const answer = await ask('GET', `${this.path}/slices/${axis}/${index}`, undefined, signal);
    const head = JSON.parse(answer.headers.get('x-slice'));
    const bytes = await answer.arrayBuffer();
    return { ...head, values: head.type === 'i16' ? new Int16Array(bytes) : new Uint8Array(bytes) };
  }

  ahead(axis, slices) {
    return ask('POST', `${this.path}/ahead`, { axis, slices });
  }

  /** The mask of a box in a slice: cropped, one bit a pixel, rows from a byte on. */
  async mask(axis, slice, box, heat, seq) {
    const answer = await ask('POST', `${this.path}/masks`, { axis, slice, boxes: [box], as: 'bits', heat, seq });
    const head = JSON.parse(answer.headers.get('x-mask'));
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const length = Math.ceil(head.width / 8) * head.height;
    return { ...head, bits: bytes.subarray(0, length), map: head.heat ? bytes.subarray(length) : null };
  }

  async window(name) {
    this.info = await json('POST', `${this.path}/window`, { window: name });
    return this.info;
  }

  /** An object in a volume, from a box in 3D or in a slice; `report` is told of slices done. */
  async volume(asked, report, signal) {
    const answer = await ask('POST', `${this.path}/volumes`, asked, signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    let last = null;
    for (;;) {
      const { done, value } = await reader.read();
      text += value ?? '';
      const lines = text.split('\n');
      text = lines.pop();
      for (const line of lines) {
        last = JSON.parse(line);
        if (last.total) report(last.done, last.total);
      }
      if (done) break;
    }
    if (!last || last.error || last.total) throw new Refused(500, last?.error ?? 'the answer ended early');
    return last;
  }

  /** The file of a label map, and its name. */
  async labels(format, objects) {
    const answer = await ask('POST', `${this.path}/labels`, { format, objects });
    const name = /filename="([^"]*)"/.exec(answer.headers.get('content-disposition'))?.[1] ?? `labels.${format}`;
    return { name, blob: await answer.blob() };
  }
}
