// Objects: their boxes, their masks, and what was before.

/** Colours that stay apart for most kinds of colour vision (Okabe and Ito), as in the command's pictures. */
const COLOURS = [[86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [0, 114, 178]];
const STEPS = 100;

/** One object. A slice's mask is never changed in place, so that copies of the object share it. */
class Item {
  constructor(number) {
    this.number = number;
    this.name = `Object ${number}`;
    this.visible = true;
    this.boxes = new Map();
    this.masks = new Map();
    this.iou = null;
  }

  get colour() {
    return COLOURS[(this.number - 1) % COLOURS.length];
  }

  copy() {
    return Object.assign(new Item(this.number), this, { boxes: new Map(this.boxes), masks: new Map(this.masks) });
  }
}

/** Pixels of masks, which are counted once: they never change in place. */
const counts = new WeakMap();

function count(mask) {
  if (!counts.has(mask)) {
    let pixels = 0;
    for (let byte of mask) {
      for (; byte; byte &= byte - 1) pixels++;
    }
    counts.set(mask, pixels);
  }
  return counts.get(mask);
}

const key = (axis, index) => `${axis},${index}`;

/** The objects of an image of `[depth, height, width]` voxels. */
export class Objects {
  constructor(shape) {
    [this.depth, this.height, this.width] = shape;
    this.stride = Math.ceil(this.width / 8);
    this.items = [];
    this.selected = -1;
    this.next = 1;
    this.past = [];
    this.future = [];
  }

  get current() {
    return this.items[this.selected] ?? null;
  }

  #state() {
    return { items: this.items.map(item => item.copy()), selected: this.selected, next: this.next };
  }

  /** To be called before a change that a person can take back. */
  remember() {
    this.past.push(this.#state());
    if (this.past.length > STEPS) this.past.shift();
    this.future = [];
  }

  undo() {
    return this.#step(this.past, this.future);
  }

  redo() {
    return this.#step(this.future, this.past);
  }

  #step(from, to) {
    if (!from.length) return false;
    to.push(this.#state());
    Object.assign(this, from.pop());
    return true;
  }

  add() {
    this.items.push(new Item(this.next++));
    this.selected = this.items.length - 1;
    return this.current;
  }

  remove() {
    if (!this.current) return;
    this.items.splice(this.selected, 1);
    this.selected = Math.min(this.selected, this.items.length - 1);
  }

  box(item, axis, index) {
    return item?.boxes.get(key(axis, index)) ?? null;
  }

  setBox(item, axis, index, box) {
    item.boxes.set(key(axis, index), box);
  }

  /** Takes an object's box and mask away in a slice. */
  clear(item, axis, index) {
    item.boxes.delete(key(axis, index));
    this.setMask(item, axis, index, { width: 0, height: 0, x: 0, y: 0, bits: new Uint8Array(0) });
  }

  #blank() {
    return new Uint8Array(this.stride * this.height);
  }

  /** Puts a mask in the place of what the object had in a slice. */
  setMask(item, axis, index, { x, y, width, height, bits }) {
    const row = Math.ceil(width / 8);
    const set = (u, v) => u >= x && u < x + width && v >= y && v < y + height
      && bits[(v - y) * row + ((u - x) >> 3)] >> (7 - ((u - x) & 7)) & 1;
    if (axis === 0) {
      if (!width) {
        item.masks.delete(index);
        return;
      }
      const mask = this.#blank();
      for (let v = y; v < y + height; v++) {
        for (let u = x; u < x + width; u++) {
          if (set(u, v)) mask[v * this.stride + (u >> 3)] |= 128 >> (u & 7);
        }
      }
      item.masks.set(index, mask);
      return;
    }
    for (let z = 0; z < this.depth; z++) {
      const before = item.masks.get(z);
      if (!before && (z < y || z >= y + height)) continue;
      const mask = before ? before.slice() : this.#blank();
      const count = axis === 1 ? this.width : this.height;
      for (let u = 0; u < count; u++) {
        const [column, line] = axis === 1 ? [u, index] : [index, u];
        const at = line * this.stride + (column >> 3);
        mask[at] = set(u, z) ? mask[at] | 128 >> (column & 7) : mask[at] & ~(128 >> (column & 7));
      }
      item.masks.set(z, mask);
    }
  }

  /** Puts the slices of a volume in the place of what the object had. */
  setVolume(item, slices) {
    item.masks = new Map();
    for (const { slice, runs } of slices) {
      const mask = this.#blank();
      let at = 0;
      runs.forEach((run, i) => {
        if (i & 1) {
          for (let p = at; p < at + run; p++) {
            const x = p % this.width;
            mask[Math.floor(p / this.width) * this.stride + (x >> 3)] |= 128 >> (x & 7);
          }
        }
        at += run;
      });
      item.masks.set(slice, mask);
    }
  }

  /** Whether the object has a voxel; `u` and `v` are the column and row of the slice. */
  reader(item, axis, index) {
    const { masks } = item;
    const { stride } = this;
    const bit = (mask, x, y) => mask ? mask[y * stride + (x >> 3)] >> (7 - (x & 7)) & 1 : 0;
    if (axis === 0) {
      const mask = masks.get(index);
      return mask && ((u, v) => bit(mask, u, v));
    }
    if (!masks.size) return null;
    return axis === 1 ? (u, v) => bit(masks.get(v), u, index) : (u, v) => bit(masks.get(v), index, u);
  }

  /** Left, top, right and bottom, past the last, of what may be set in a slice; null where nothing is. */
  bounds(item, axis, index) {
    if (!item.masks.size) return null;
    if (axis) {
      const slices = [...item.masks.keys()];
      return [0, Math.min(...slices), axis === 1 ? this.width : this.height, Math.max(...slices) + 1];
    }
    const mask = item.masks.get(index);
    if (!mask) return null;
    let [left, top, right, bottom] = [this.stride, this.height, 0, 0];
    for (let y = 0, at = 0; y < this.height; y++) {
      for (let x = 0; x < this.stride; x++, at++) {
        if (!mask[at]) continue;
        if (x < left) left = x;
        if (x >= right) right = x + 1;
        if (y < top) top = y;
        bottom = y + 1;
      }
    }
    return right ? [8 * left, top, Math.min(8 * right, this.width), bottom] : null;
  }

  voxels(item) {
    let pixels = 0;
    for (const mask of item.masks.values()) pixels += count(mask);
    return pixels;
  }

  /** Every object's slices in runs, as the server takes them. */
  runs() {
    return this.items.map(item => ({
      name: /^[ -[\]-~]{1,64}$/.test(item.name) ? item.name : null,
      slices: [...item.masks].map(([slice, mask]) => {
        const runs = [];
        let [value, length] = [0, 0];
        for (let y = 0; y < this.height; y++) {
          for (let x = 0; x < this.width; x++) {
            const bit = mask[y * this.stride + (x >> 3)] >> (7 - (x & 7)) & 1;
            if (bit !== value) {
              runs.push(length);
              [value, length] = [bit, 0];
            }
            length++;
          }
        }
        runs.push(length);
        return { slice, runs };
      }),
    }));
  }
}
