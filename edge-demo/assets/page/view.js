// The canvas: a slice by window and level, masks over it, boxes.

const HANDLE = 5;

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.picture = document.createElement('canvas');
    this.overlay = document.createElement('canvas');
    this.heat = document.createElement('canvas');
    this.slice = null;
    this.range = [0, 255];
    this.opacity = 0.35;
    this.scale = 1;
    this.origin = [0, 0];
    /** Width and height of a pixel beside each other. */
    this.aspect = [1, 1];
    this.objects = null;
    this.showHeat = false;
    this.waiting = false;
    this.pending = 0;
    this.flip = [false, false];
    this.sides = null;
    /** The part of the overlay that is not empty. */
    this.painted = null;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  #resize() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [before, after] = [this.canvas.width, Math.round(width * ratio)];
    this.canvas.width = after;
    this.canvas.height = Math.round(height * ratio);
    if (this.fitted || before === 0) this.fit();
    this.draw();
  }

  /**
   * Directions of the slice's columns and rows in the patient, such as 'L' and 'P', or null. The slice is turned so that the
   * patient's right, front and head are on the left and on top.
   */
  orient(letters) {
    this.flip = [0, 1].map(i => letters !== null && 'RAS'.includes(letters[i]));
    this.sides = letters && [0, 1].map(i => ({ L: 'R', P: 'A', I: 'S' })[letters[i]] ?? letters[i]);
    this.canvas.dataset.flip = this.flip.map(Number).join('');
  }

  #size() {
    return [this.slice.width, this.slice.height];
  }

  /** Canvas pixels to a slice's pixel. */
  toSlice(x, y) {
    const ratio = devicePixelRatio || 1;
    return [x, y].map((at, i) => {
      const place = (at * ratio - this.origin[i]) / (this.scale * this.aspect[i]);
      return this.flip[i] ? this.#size()[i] - place : place;
    });
  }

  toCanvas(u, v) {
    return [u, v].map((at, i) => this.origin[i] + (this.flip[i] ? this.#size()[i] - at : at) * this.scale * this.aspect[i]);
  }

  /** The box on the canvas: left, top, right, bottom. A box names its last pixel. */
  frame(box) {
    const [ax, ay] = this.toCanvas(box[0], box[1]);
    const [bx, by] = this.toCanvas(box[2] + 1, box[3] + 1);
    return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
  }

  fit() {
    if (!this.slice || !this.canvas.width) return;
    const [width, height] = [this.slice.width * this.aspect[0], this.slice.height * this.aspect[1]];
    this.scale = Math.min(this.canvas.width / width, this.canvas.height / height) * 0.98;
    this.origin = [(this.canvas.width - width * this.scale) / 2, (this.canvas.height - height * this.scale) / 2];
    this.fitted = true;
    this.#rims();
    this.draw();
  }

  pan(dx, dy) {
    const ratio = devicePixelRatio || 1;
    this.origin = [this.origin[0] + dx * ratio, this.origin[1] + dy * ratio];
    this.fitted = false;
    this.draw();
  }

  /** Zooms by a factor about a point of the canvas. */
  zoom(factor, x, y) {
    const ratio = devicePixelRatio || 1;
    const scale = Math.min(200, Math.max(0.01, this.scale * factor));
    const by = scale / this.scale;
    this.origin = [x * ratio - (x * ratio - this.origin[0]) * by, y * ratio - (y * ratio - this.origin[1]) * by];
    this.scale = scale;
    this.fitted = false;
    this.#rims();
    this.draw();
  }

  /** Outlines stay as wide on the screen whatever the zoom. */
  #rims() {
    if (this.place && this.rim !== this.#rim()) this.paintMasks(...this.place);
  }

  #rim() {
    return Math.max(1, Math.min(16, Math.round(1.5 * (devicePixelRatio || 1) / this.scale)));
  }

  /** Another slice; `stored` turns its numbers into values. */
  setSlice(slice, stored, inverted) {
    this.slice = slice;
    this.stored = stored;
    this.inverted = inverted;
    this.picture.width = this.overlay.width = slice.width;
    this.picture.height = this.overlay.height = slice.height;
    this.painted = null;
    this.paintPicture();
  }

  paintPicture() {
    const { slice } = this;
    if (!slice) return;
    const context = this.picture.getContext('2d');
    const image = context.createImageData(slice.width, slice.height);
    const out = new Uint32Array(image.data.buffer);
    const [low, high] = this.range;
    const level = value => {
      const v = Math.min(255, Math.max(0, (value - low) / (high - low || 1) * 255)) | 0;
      return this.inverted ? 255 - v : v;
    };
    const wide = slice.type === 'i16';
    const table = new Uint8Array(wide ? 65536 : 256);
    for (let i = 0; i < table.length; i++) {
      table[i] = level((wide ? i - 32768 : i) * this.stored.slope + this.stored.intercept);
    }
    const { values } = slice;
    if (slice.channels === 3) {
      for (let i = 0, p = 0; i < out.length; i++, p += 3) {
        out[i] = 0xff000000 | table[values[p + 2]] << 16 | table[values[p + 1]] << 8 | table[values[p]];
      }
    } else {
      const shift = wide ? 32768 : 0;
      for (let i = 0; i < out.length; i++) out[i] = 0xff000000 | table[values[i] + shift] * 0x010101;
    }
    context.putImageData(image, 0, 0);
    this.draw();
  }

  /** Paints the masks of all objects in the shown slice. */
  paintMasks(axis, index) {
    this.place = [axis, index];
    this.rim = this.#rim();
    const { slice, objects } = this;
    if (!slice) return;
    const context = this.overlay.getContext('2d');
    const shown = (objects?.items ?? [])
      .map(item => ({ item, bounds: item.visible && objects.bounds(item, axis, index) }))
      .filter(({ bounds }) => bounds);
    // What was painted is cleared, and no more is painted than there is.
    const all = [...shown.map(({ bounds }) => bounds), this.painted].filter(Boolean);
    if (all.length) {
      const side = (i, pick) => pick(...all.map(bounds => bounds[i]));
      const [left, top] = [side(0, Math.min), side(1, Math.min)];
      const [width, height] = [side(2, Math.max) - left, side(3, Math.max) - top];
      const image = context.createImageData(width, height);
      const out = new Uint32Array(image.data.buffer);
      for (const { item, bounds } of shown) this.#paintMask(out, [left, top, width], item, bounds);
      context.putImageData(image, left, top);
      const now = shown.map(({ bounds }) => bounds);
      const reach = (i, pick) => pick(...now.map(bounds => bounds[i]));
      this.painted = now.length ? [reach(0, Math.min), reach(1, Math.min), reach(2, Math.max), reach(3, Math.max)] : null;
    }
    this.draw();
  }

  #paintMask(out, [left, top, stride], item, bounds) {
    const { rim, slice: { width, height } } = this;
    const read = this.objects.reader(item, ...this.place);
    const [r, g, b] = item.colour;
    const colour = b << 16 | g << 8 | r;
    // Nothing covers the map of uncertainty but outlines.
    const inner = this.showHeat ? 0 : (Math.round(this.opacity * 255) << 24 | colour) >>> 0;
    const outer = (0xe0 << 24 | colour) >>> 0;
    for (let v = bounds[1]; v < bounds[3]; v++) {
      for (let u = bounds[0]; u < bounds[2]; u++) {
        if (!read(u, v)) continue;
        const edge = u < rim || v < rim || u >= width - rim || v >= height - rim
          || !read(u - rim, v) || !read(u + rim, v) || !read(u, v - rim) || !read(u, v + rim);
        out[(v - top) * stride + u - left] = edge ? outer : inner;
      }
    }
  }

  /** A map of how unsure pixels are, or none. */
  setHeat(map, size) {
    this.hasHeat = Boolean(map);
    if (map) {
      [this.heat.width, this.heat.height] = size;
      const context = this.heat.getContext('2d');
      const image = context.createImageData(...size);
      map.forEach((v, i) => image.data.set([255, 70, 255, v], 4 * i));
      context.putImageData(image, 0, 0);
    }
    this.draw();
  }

  /** Once a frame, however often it is asked for. */
  draw() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.#paint();
    });
  }

  #paint() {
    const { context, canvas, slice } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!slice) return;
    const [sx, sy] = this.aspect.map((a, i) => a * this.scale * (this.flip[i] ? -1 : 1));
    context.setTransform(sx, 0, 0, sy, ...this.toCanvas(0, 0));
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(this.picture, 0, 0);
    if (this.showHeat && this.hasHeat) {
      context.imageSmoothingEnabled = true;
      context.drawImage(this.heat, 0, 0, slice.width, slice.height);
    }
    context.imageSmoothingEnabled = this.scale < 1;
    context.drawImage(this.overlay, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    for (const item of this.objects?.items ?? []) {
      const box = item.visible && this.place && this.objects.box(item, ...this.place);
      if (box) this.#outline(box, item, item === this.objects.current);
    }
    if (this.sides && canvas.clientWidth > 200) this.#letters();
  }

  /** The sides of the patient that are on the left and on top. */
  #letters() {
    const { context, canvas } = this;
    const ratio = devicePixelRatio || 1;
    context.font = `${15 * ratio}px system-ui, sans-serif`;
    context.fillStyle = '#fff';
    context.strokeStyle = '#000';
    context.lineWidth = 3 * ratio;
    context.textAlign = 'center';
    const places = [[12 * ratio, canvas.height / 2], [canvas.width / 2, 20 * ratio]];
    this.sides.forEach((letter, i) => {
      context.strokeText(letter, ...places[i]);
      context.fillText(letter, ...places[i]);
    });
  }

  #outline(box, item, selected) {
    const { context } = this;
    const ratio = devicePixelRatio || 1;
    const [x0, y0, x1, y1] = this.frame(box);
    context.lineWidth = 3 * ratio;
    context.strokeStyle = '#000a';
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.lineWidth = (selected ? 2 : 1) * ratio;
    context.strokeStyle = `rgb(${item.colour})`;
    context.setLineDash(selected && this.waiting ? [6 * ratio, 4 * ratio] : []);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
    if (!selected) return;
    context.fillStyle = '#fff';
    const side = HANDLE * ratio;
    for (const x of [x0, (x0 + x1) / 2, x1]) {
      for (const y of [y0, (y0 + y1) / 2, y1]) {
        if (x === (x0 + x1) / 2 && y === (y0 + y1) / 2) continue;
        context.fillRect(x - side / 2, y - side / 2, side, side);
        context.strokeRect(x - side / 2, y - side / 2, side, side);
      }
    }
  }
}
