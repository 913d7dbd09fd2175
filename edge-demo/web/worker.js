// The network in a thread of its own: the C library as WebAssembly, called as core/include/umedsam.h describes.

const [U8, INT8] = [1, 4];
const SIDE = 256;
const PAGE = 65536;

let c = null;
let session = 0;
/** Pixels of the open image, and its embedding once a mask was asked for. */
let image = null;

/** Memory of the page's own in the library's; it only grows. */
class Region {
  constructor() {
    this.at = this.size = 0;
  }

  of(bytes) {
    if (bytes > this.size) {
      const pages = Math.ceil(bytes / PAGE);
      this.at = c.memory.grow(pages) * PAGE;
      this.size = pages * PAGE;
    }
    return this.at;
  }
}

const [small, pixels, masks, logits] = [new Region(), new Region(), new Region(), new Region()];
const u32 = at => new DataView(c.memory.buffer).getUint32(at, true);

function text(at) {
  const bytes = new Uint8Array(c.memory.buffer, at);
  return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}

function check(status) {
  if (status) throw new Error(text(c.umedsam_last_error_message()));
}

/** The handle that a call makes. */
function made(call) {
  const out = small.of(PAGE);
  check(call(out));
  return u32(out);
}

const calls = {
  /** Loads the library and the model; its name. */
  async load({ library, model }) {
    const [wasm, bytes] = await Promise.all([library, model].map(async url => {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
      return answer.arrayBuffer();
    }));
    c = (await WebAssembly.instantiate(wasm, {})).instance.exports;
    // The library refers to it as long as it runs.
    const held = new Region().of(bytes.byteLength);
    new Uint8Array(c.memory.buffer, held).set(new Uint8Array(bytes));
    const handle = made(out => c.umedsam_model_from_static(held, bytes.byteLength, out));
    const options = made(c.umedsam_options_new);
    check(c.umedsam_options_set_threads(options, 1));
    session = made(out => c.umedsam_session_new(handle, options, out));
    c.umedsam_options_free(options);
    return { name: text(made(out => c.umedsam_model_name(handle, out))), version: text(c.umedsam_version()) };
  },

  /** Decodes a picture; its size and its pixels, RGB. */
  async open({ file }) {
    const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
    // A browser would drop the low byte, where the command looks at the range of the values.
    if (String.fromCharCode(...head.subarray(1, 4)) === 'PNG' && head[24] === 16) throw new Error('16 bits a channel; 8 are taken.');
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const { data } = context.getImageData(0, 0, width, height);
    const rgb = new Uint8Array(3 * width * height);
    for (let i = 0, p = 0; i < rgb.length; p += 4) {
      rgb[i++] = data[p];
      rgb[i++] = data[p + 1];
      rgb[i++] = data[p + 2];
    }
    calls.forget();
    image = { width, height, rgb, embedding: 0 };
    return { width, height, values: rgb };
  },

  forget() {
    if (image?.embedding) c.umedsam_embedding_free(image.embedding);
    image = null;
  },

  /** Encodes the open image, unless it is encoded; how long that took in ms. */
  encode() {
    if (!image || image.embedding) return 0;
    const start = performance.now();
    const { width, height, rgb } = image;
    const at = pixels.of(rgb.length);
    new Uint8Array(c.memory.buffer, at).set(rgb);
    const embedding = made(c.umedsam_embedding_new);
    const view = small.of(PAGE);
    new Int32Array(c.memory.buffer, view, 6).set([at, width, height, 0, 3, U8]);
    const status = c.umedsam_encode(session, view, 0, embedding);
    if (status) c.umedsam_embedding_free(embedding);
    check(status);
    image.embedding = embedding;
    return performance.now() - start;
  },

  /** The mask of a box, cropped, one bit a pixel, rows from a byte on; with `heat` how unsure each pixel is. */
  mask({ box, heat }) {
    const start = performance.now();
    calls.encode();
    const { width, height, embedding } = image;
    const at = small.of(PAGE);
    const [mask, values] = [masks.of(width * height), logits.of(4 * SIDE * SIDE)];
    new Float64Array(c.memory.buffer, at, 4).set(box);
    check(c.umedsam_segment(session, embedding, at, 1, mask, width * height, values, SIDE * SIDE, at + 64));
    const iou = new Float32Array(c.memory.buffer, at + 64, 1)[0];
    const found = packed(new Uint8Array(c.memory.buffer, mask, width * height), width);
    const map = heat && unsure(new Float32Array(c.memory.buffer, values, SIDE * SIDE), width, height);
    return { ...found, ...map, iou, ms: performance.now() - start };
  },
};

function packed(mask, width) {
  const height = mask.length / width;
  let [x0, x1, y0, y1, area] = [width, -1, height, -1, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!mask[i]) continue;
      area++;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = y;
    }
  }
  if (!area) return { x: 0, y: 0, width: 0, height: 0, area, bits: new Uint8Array(0) };
  const [columns, rows] = [x1 + 1 - x0, y1 + 1 - y0];
  const row = Math.ceil(columns / 8);
  const bits = new Uint8Array(row * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (mask[(y0 + y) * width + x0 + x]) bits[y * row + (x >> 3)] |= 128 >> (x & 7);
    }
  }
  return { x: x0, y: y0, width: columns, height: rows, area, bits };
}

/** The entropy of each pixel of the model's grid that the image covers: 0 sure, 255 even. */
function unsure(values, width, height) {
  const scale = SIDE / Math.max(width, height);
  const [columns, rows] = [width, height].map(side => Math.min(SIDE, Math.max(1, Math.floor(side * scale + 0.5))));
  const map = new Uint8Array(columns * rows);
  const part = p => p > 0 ? -p * Math.log2(p) : 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const p = 1 / (1 + Math.exp(-values[y * SIDE + x]));
      map[y * columns + x] = Math.round(255 * (part(p) + part(1 - p)));
    }
  }
  return { heat: [columns, rows], map };
}

// One after the other: a call waits for those before it.
let last = Promise.resolve();
/** Why nothing works any more: a fault of the library leaves its locks taken. */
let broken = '';

async function run(name, asked) {
  if (broken) throw new Error(broken);
  try {
    return await calls[name](asked ?? {});
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) broken = `the network failed (${error.message}); reload the page`;
    throw broken ? new Error(broken) : error;
  }
}

addEventListener('message', ({ data: { id, name, asked } }) => {
  last = last.then(() => run(name, asked)).then(
    result => postMessage({ id, result }),
    error => postMessage({ id, error: error.message }),
  );
});
