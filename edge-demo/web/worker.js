// The readers and the network in a thread of their own: src/web.rs as WebAssembly.

import { instantiate, now, shared } from './library.js';

let c = null;
let memory = null;
/** The number of the image that is open. */
let opened = 0;
/** What is done now, and a file that is there as long as it is wanted. */
let doing = { id: 0, wanted: '' };

/** Asks the library, with bytes; what it tells, and its bytes. */
function ask(question, bytes = new Uint8Array(0)) {
  const words = new TextEncoder().encode(JSON.stringify(question));
  const length = bytes.length + words.length;
  const at = c.umedsam_room(length) >>> 0;
  if (!at) throw new Error(`no memory left for ${length} bytes`);
  const room = new Uint8Array(memory.buffer, at, length);
  room.set(bytes);
  room.set(words, bytes.length);
  const answer = c.umedsam_ask(bytes.length) >>> 0;
  const [good, told, toldLength, from, count] = new Uint32Array(memory.buffer, answer, 5);
  const text = new TextDecoder().decode(new Uint8Array(memory.buffer, told, toldLength).slice());
  if (!good) throw new Error(text);
  return { told: JSON.parse(text), bytes: new Uint8Array(memory.buffer, from, count).slice() };
}

/** What the library calls. */
const page = {
  now,
  progress(done, of) {
    postMessage({ id: doing.id, report: [done, of] });
    // No message arrives while the library works: a file that is withdrawn says it.
    const request = new XMLHttpRequest();
    request.open('GET', doing.wanted, false);
    try {
      request.send();
      return 0;
    } catch {
      return 1;
    }
  },
};

/** What each thread of the network is given: as much stack as Rust gives elsewhere. */
function thread(module) {
  const room = (bytes, align) => {
    const at = c.umedsam_thread_room(bytes, align) >>> 0;
    if (!at) throw new Error(`no memory left for a thread's ${bytes} bytes`);
    return at;
  };
  const stack = 2 << 20;
  return { module, memory, stack: room(stack, 16) + stack, variables: room(c.__tls_size.value, c.__tls_align.value) };
}

const calls = {
  /** Loads the library and the model; what they are. Threads are started by the page: a worker that waits starts none. */
  async load({ library, model, threads }) {
    const [wasm, bytes] = await Promise.all([library, model].map(async url => {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
      return answer.arrayBuffer();
    }));
    const module = await WebAssembly.compile(wasm);
    memory = shared();
    c = await instantiate(module, memory, page);
    if (threads > 1) postMessage({ id: doing.id, threads: Array.from({ length: threads }, () => thread(module)) });
    return ask({ ask: 'load', threads }, new Uint8Array(bytes));
  },

  async open({ files, name }) {
    ask({ ask: 'allow', name, bytes: files.reduce((sum, file) => sum + file.size, 0) });
    for (const [i, file] of files.entries()) {
      ask({ ask: 'file', name: file.name ?? `${i}` }, new Uint8Array(await file.arrayBuffer()));
    }
    const answer = ask({ ask: 'open', name });
    opened++;
    answer.told.image = opened;
    return answer;
  },

  ask({ question }) {
    return ask(question);
  },
};

/** Slices to encode while there is nothing else to do, and who waits for the first of them. */
let ahead = { id: 0, slices: [] };

function encode() {
  const [index] = ahead.slices.splice(0, 1);
  const start = performance.now();
  ask({ ask: 'ahead', axis: ahead.axis, index });
  settle({ ms: performance.now() - start });
}

/** Answers whoever waits for a slice to be encoded. */
function settle(result) {
  if (ahead.id) postMessage({ id: ahead.id, result });
  ahead.id = 0;
}

/** Why nothing works any more: a fault of the library leaves its locks taken. */
let broken = '';
const queue = [];
let busy = false;

async function one() {
  const { id, name, asked } = queue[0] ? queue.shift() : { id: ahead.id, name: 'encode' };
  try {
    if (broken) throw new Error(broken);
    if (name === 'encode') return encode();
    doing = { id, wanted: asked.wanted };
    if (asked.image !== undefined && asked.image !== opened) return postMessage({ id, error: '', name: 'AbortError' });
    const start = performance.now();
    const { told, bytes } = await calls[name](asked);
    postMessage({ id, result: { told, bytes, ms: performance.now() - start } }, [bytes.buffer]);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) broken = `the library failed (${error.message}); reload the page`;
    if (name === 'encode') [ahead.id, ahead.slices] = [0, []];
    if (id) postMessage({ id, error: broken || error.message });
  }
}

async function work() {
  if (busy) return;
  busy = true;
  while (queue.length || ahead.slices.length) {
    await one();
    // What was sent meanwhile comes first.
    await new Promise(done => setTimeout(done));
  }
  busy = false;
}

addEventListener('message', ({ data: { id, name, asked } }) => {
  if (name === 'ahead') {
    settle({ ms: 0 });
    if (asked.image === opened) ahead = { id, axis: asked.axis, slices: asked.slices };
    else postMessage({ id, result: { ms: 0 } });
  } else {
    if (name === 'open') {
      settle({ ms: 0 });
      ahead.slices = [];
    }
    queue.push({ id, name, asked });
  }
  work();
});
