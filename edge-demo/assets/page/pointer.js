// Mouse, pen, fingers and keys.

const REACH = { mouse: 8, pen: 12, touch: 22 };

/** What a point of a box takes hold of on the canvas: sides to move, as left, top, right, bottom; null beside it. */
function grip(view, box, x, y, kind) {
  const ratio = devicePixelRatio || 1;
  const reach = REACH[kind] ?? 8;
  const [x0, y0, x1, y1] = view.frame(box).map(v => v / ratio);
  if (x < x0 - reach || x > x1 + reach || y < y0 - reach || y > y1 + reach) return null;
  // Of a small box the nearer side counts, and its middle still moves it.
  const near = (v, a, b) => {
    const limit = Math.min(reach, Math.max(3, (b - a) / 3));
    const [low, high] = [Math.abs(v - a), Math.abs(v - b)];
    const hit = d => d <= (v < a || v > b ? reach : limit);
    return low < high ? [hit(low), false] : [false, hit(high)];
  };
  const [left, right] = near(x, x0, x1);
  const [top, bottom] = near(y, y0, y1);
  return left || right || top || bottom ? [left, top, right, bottom] : [true, true, true, true];
}

const CURSORS = { 1000: 'ew', '0010': 'ew', '0100': 'ns', '0001': 'ns', 1100: 'nwse', '0011': 'nwse', '0110': 'nesw', 1001: 'nesw' };

export function bind(canvas, view, act) {
  const held = new Map();
  const keys = new Set();
  let drag = null;

  const at = event => {
    const frame = canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };

  const hold = (x, y, kind) => {
    // The chosen object's box first, then the others, the last on top.
    for (const { item, box } of act.boxes()) {
      const held = grip(view, box, x, y, kind);
      if (!held) continue;
      // The slice's own left and top may be on the right and below.
      const [left, top, right, bottom] = held;
      const [a, c] = view.flip[0] ? [right, left] : [left, right];
      const [b, d] = view.flip[1] ? [bottom, top] : [top, bottom];
      return { item, box, sides: [a, b, c, d], held };
    }
    return null;
  };

  canvas.addEventListener('contextmenu', event => event.preventDefault());

  canvas.addEventListener('pointerdown', event => {
    if (!view.slice) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = at(event);
    held.set(event.pointerId, [x, y]);
    if (held.size === 2) {
      if (drag?.kind === 'box') act.abandon();
      drag = { kind: 'pinch' };
      return;
    }
    if (held.size > 2) return;
    if (event.button === 2 || keys.has('w')) {
      drag = { kind: 'window', x, y, range: [...view.range] };
    } else if (event.button === 1 || keys.has(' ')) {
      drag = { kind: 'pan', x, y };
    } else {
      const [u, v] = view.toSlice(x, y);
      const found = hold(x, y, event.pointerType);
      if (found) {
        act.grab(found.item);
        drag = { kind: 'box', from: found.box, sides: found.sides, u, v };
      } else if (u >= 0 && v >= 0 && u < view.slice.width && v < view.slice.height) {
        drag = { kind: 'new', u, v, x, y };
      }
    }
  });

  canvas.addEventListener('pointermove', event => {
    const [x, y] = at(event);
    if (!held.has(event.pointerId)) {
      const sides = hold(x, y, event.pointerType)?.held;
      const name = sides?.map(Number).join('');
      canvas.style.cursor = !sides ? 'crosshair' : name === '1111' ? 'move' : `${CURSORS[name] ?? 'nwse'}-resize`;
      return;
    }
    const before = held.get(event.pointerId);
    held.set(event.pointerId, [x, y]);
    if (!drag) return;
    if (drag.kind === 'pinch') {
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      if (!other) return;
      const far = p => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      view.pan((x - before[0]) / 2, (y - before[1]) / 2);
      view.zoom(far([x, y]) / far(before), (x + other[0]) / 2, (y + other[1]) / 2);
    } else if (drag.kind === 'window') {
      const [low, high] = drag.range;
      const step = (high - low) / 300 || 1;
      const width = Math.max(step, high - low + (x - drag.x) * step);
      const centre = (low + high) / 2 + (y - drag.y) * step;
      act.level([centre - width / 2, centre + width / 2]);
    } else if (drag.kind === 'pan') {
      view.pan(x - before[0], y - before[1]);
    } else {
      const [u, v] = view.toSlice(x, y);
      if (drag.kind === 'new') {
        if (Math.hypot(x - drag.x, y - drag.y) < 4) return;
        act.begin();
        drag.kind = 'box';
        drag.fresh = true;
      }
      if (drag.fresh) {
        act.move([Math.min(drag.u, u), Math.min(drag.v, v), Math.max(drag.u, u), Math.max(drag.v, v)].map(Math.floor));
      } else {
        const by = [u - drag.u, v - drag.v, u - drag.u, v - drag.v];
        const moved = drag.from.map((value, i) => Math.round(value + (drag.sides[i] ? by[i] : 0)));
        act.move(moved, drag.sides.every(Boolean));
      }
    }
  });

  const end = event => {
    if (!held.delete(event.pointerId)) return;
    const done = drag;
    if (held.size) return;
    drag = null;
    if (done?.kind === 'box') event.type === 'pointercancel' ? act.abandon() : act.drop();
    if (done?.kind === 'window') act.levelled();
    if (done?.kind === 'new') act.choose(null);
  };
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', end);

  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    const [x, y] = at(event);
    if (event.ctrlKey || !act.scroll(Math.sign(event.deltaY))) view.zoom(Math.exp(-event.deltaY / 400), x, y);
  }, { passive: false });

  canvas.addEventListener('keydown', event => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    keys.add(key);
    const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (key in arrows) {
      const [dx, dy] = arrows[key].map((v, i) => v * (event.ctrlKey ? 10 : 1) * (view.flip[i] ? -1 : 1));
      // With Shift the side on the right or below moves.
      const [near, far] = [[dx, dy], [dx, dy]];
      if (event.shiftKey) view.flip.forEach((flipped, i) => { (flipped ? far : near)[i] = 0; });
      if (!act.nudge([...near, ...far], !event.shiftKey)) return;
    } else if (key === 'PageUp' || key === 'PageDown') act.scroll(key === 'PageUp' ? -1 : 1);
    else if (event.ctrlKey || event.metaKey) return;
    else if (key === '+' || key === '=') view.zoom(1.25, ...middle);
    else if (key === '-') view.zoom(0.8, ...middle);
    else if (key === '0') view.fit();
    else if (key === 'b') act.middle();
    else if (key === 'n') act.add();
    else if (key === 'f') act.follow();
    else if (key === 'x') act.plane();
    else if (key === 'Delete' || key === 'Backspace') act.clear();
    else if (/^[1-9]$/.test(key)) act.choose(Number(key) - 1);
    else if (key !== ' ') return;
    event.preventDefault();
  });
  const lift = event => keys.delete(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  canvas.addEventListener('keyup', lift);
  canvas.addEventListener('blur', () => keys.clear());
}
