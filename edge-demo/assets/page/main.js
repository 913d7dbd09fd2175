// The page: what is open, what is shown, what is asked of the server.

import { Session, enter } from './api.js';
import { Objects } from './objects.js';
import { bind } from './pointer.js';
import { View } from './view.js';

const $ = id => document.getElementById(id);
const canvas = $('canvas');
const view = new View(canvas);
const AHEAD = [0, 1, -1, 2, -2];
const KEPT = 24;

/** The two other planes of a volume, in small. */
const others = [...document.querySelectorAll('.plane')].map(button => ({ button, view: new View(button.firstElementChild) }));

let session = null;
let image = null;
let objects = null;
let axis = 0;
let index = 0;
/** A point along the axes 0, 1 and 2, through which the other planes go. */
let point = [0, 0, 0];
let slices = new Map();
let opening = 0;
let carrying = null;

function say(text, forSeconds = 0) {
  $('status').textContent = text;
  clearTimeout(say.timer);
  if (forSeconds) say.timer = setTimeout(() => { $('status').textContent = ''; }, forSeconds * 1000);
}

const fail = error => {
  if (error.name !== 'AbortError') say(error.message, 8);
};

// Opening

async function open(load, name, offer = '') {
  const turn = ++opening;
  carrying?.abort();
  say(`Opening ${name}…`);
  try {
    const info = await load();
    const next = session.image(info);
    if (turn !== opening) return void next.forget();
    image?.forget();
    image = next;
    objects = view.objects = new Objects(info.shape);
    slices = new Map();
    live.reset();
    axis = 0;
    point = info.shape.map(n => Math.floor(n / 2));
    [index] = point;
    describe(info);
    $('offers').options[0].textContent = info.name;
    $('offers').value = offer;
    bring(info.boxes);
    // What was there is of the image before, until the slice is shown.
    for (const id of ['objects', 'formats']) $(id).replaceChildren();
    await show(true);
    if (turn !== opening) return;
    offerFormats(info.formats);
    say(objects.items.length ? '' : 'Draw a box around an object', 6);
  } catch (error) {
    fail(error);
  }
}

/** Boxes that the image brings. */
function bring(boxes) {
  for (const [x0, y0, z0, x1, y1, z1] of boxes.slice(0, 50)) {
    const item = objects.add();
    const middle = Math.floor((z0 + z1) / 2);
    objects.setBox(item, 0, middle, [x0, y0, x1, y1]);
    point = [middle, Math.floor((y0 + y1) / 2), Math.floor((x0 + x1) / 2)];
    item.range = [z0 + 1, z1 + 1];
    index = middle;
  }
  if (objects.items.length) objects.selected = 0;
}

function describe(info) {
  const [depth] = info.shape;
  $('slices').hidden = $('volume').hidden = depth === 1;
  $('window-row').hidden = info.stored.type === 'u8';
  $('window').value = info.window;
  view.range = info.range ?? [0, 255];
  const list = $('notes').querySelector('ul');
  const size = `${info.shape.toReversed().filter((n, i) => i < 2 || n > 1).join(' × ')} ${depth > 1 ? 'voxels' : 'pixels'}`;
  const spacing = info.spacing && `${info.spacing.map(v => v.toFixed(3)).join(' × ')} mm a voxel`;
  list.replaceChildren(...[size, spacing, info.modality, info.axes && `axes ${info.axes}`, ...info.notes].filter(Boolean).map(text => {
    const line = document.createElement('li');
    line.textContent = text;
    return line;
  }));
}

function offerFormats(formats) {
  const names = { png: 'Labels (PNG)', overlay: 'Picture (PNG)', npz: 'NPZ', nifti: 'NIfTI', seg: 'DICOM SEG', nrrd: 'NRRD', geojson: 'GeoJSON', coco: 'COCO' };
  $('formats').replaceChildren(...formats.map(format => {
    const button = document.createElement('button');
    button.textContent = names[format] ?? format;
    button.dataset.format = format;
    button.onclick = () => save(format);
    return button;
  }));
}

// Slices

function sizes() {
  const [depth, height, width] = image.info.shape;
  return [[height, width], [depth, width], [depth, height]][axis];
}

/** Spacing of a slice's columns and rows in mm, or null. */
function spacing(of = axis) {
  const s = image.info.spacing;
  return s && [[s[0], s[1]], [s[0], s[2]], [s[1], s[2]]][of];
}

function aspect(of) {
  const s = spacing(of);
  return s ? s.map(v => v / Math.min(...s)) : [1, 1];
}

/** Directions of a slice's columns and rows in the patient, or null. */
function letters(of) {
  const { axes } = image.info;
  return axes && [[axes[0], axes[1]], [axes[0], axes[2]], [axes[1], axes[2]]][of];
}

function load(of, at) {
  const name = `${of},${at}`;
  if (!slices.has(name)) {
    const loading = image.slice(of, at);
    loading.catch(() => slices.delete(name));
    slices.set(name, loading);
    if (slices.size > KEPT) slices.delete(slices.keys().next().value);
  }
  return slices.get(name);
}

async function show(fit = false) {
  const of = image;
  const [a, k] = [axis, index];
  const count = image.info.shape[axis];
  Object.assign($('slice'), { max: count - 1, value: index });
  $('axis').value = axis;
  $('position').textContent = `${index + 1} / ${count}`;
  point[a] = k;
  let slice;
  try {
    slice = await load(a, k);
  } catch (error) {
    return fail(error);
  }
  if (of !== image || a !== axis || k !== index) return;
  view.aspect = aspect(a);
  view.orient(letters(a));
  view.setSlice(slice, image.info.stored, image.info.inverted);
  view.setHeat(null);
  if (fit) view.fit();
  refresh();
  clearTimeout(show.timer);
  show.timer = setTimeout(() => {
    if (of !== image) return;
    const near = AHEAD.map(d => k + d).filter(i => i >= 0 && i < count);
    near.forEach(i => load(a, i));
    beside();
    of.ahead(a, near).catch(() => {});
  }, 60);
  live.missing();
}

/** Shows the other planes through the point. */
async function beside() {
  if (image.info.shape[0] === 1) return;
  const of = image;
  for (const [i, a] of [0, 1, 2].filter(a => a !== axis).entries()) {
    const { button, view: small } = others[i];
    const k = point[a];
    try {
      const slice = await load(a, k);
      if (of !== image || a === axis || k !== point[a]) return;
      const fresh = small.slice?.width !== slice.width || small.slice?.height !== slice.height;
      Object.assign(small, { objects, range: view.range, aspect: aspect(a) });
      small.orient(letters(a));
      small.setSlice(slice, image.info.stored, image.info.inverted);
      small.paintMasks(a, k);
      if (fresh) small.fit();
      button.setAttribute('aria-label', `Show ${$('axis').options[a].text.toLowerCase()}, ${k + 1}`);
      button.onclick = () => act.plane(a);
    } catch (error) {
      fail(error);
    }
  }
}

// Masks that follow a box

const live = {
  busy: false,
  next: null,
  seq: 0,
  reset() {
    this.next = null;
    this.seq++;
  },
  /** Asks for the mask of the chosen object's box; of many wishes the last counts. */
  ask(item = objects.current) {
    const box = objects.box(item, axis, index);
    if (!box) return;
    this.next = { of: image, item: item.number, axis, index, box: [...box], seq: ++this.seq };
    if (!this.busy) this.run();
  },
  /** Boxes of the shown slice that have no mask yet. */
  missing() {
    for (const item of objects.items) {
      if (!objects.box(item, axis, index) || item.masks.size || item.asked) continue;
      item.asked = true;
      return this.ask(item);
    }
  },
  async run() {
    this.busy = true;
    const slow = setTimeout(() => {
      view.waiting = true;
      view.draw();
    }, 120);
    while (this.next) {
      const wish = this.next;
      this.next = null;
      try {
        const found = await wish.of.mask(wish.axis, wish.index, wish.box, view.showHeat, wish.seq);
        const item = wish.of === image && objects.items.find(other => other.number === wish.item);
        // A later box of the same object may be drawn already: this is still the nearest answer.
        if (!item || !objects.box(item, wish.axis, wish.index)) continue;
        objects.setMask(item, wish.axis, wish.index, found);
        item.iou = found.iou;
        if (item === objects.current) view.setHeat(found.map, found.heat);
        canvas.dataset.ms = found.ms;
        canvas.dataset.seq = found.seq;
        refresh();
      } catch (error) {
        if (error.status === 503) {
          await new Promise(done => setTimeout(done, 300));
          this.next ??= wish;
        } else fail(error);
      }
    }
    clearTimeout(slow);
    view.waiting = false;
    view.draw();
    this.busy = false;
    if (!this.next) this.missing();
  },
};

// Objects

function size(item) {
  const voxels = objects.voxels(item);
  if (!voxels) return '';
  const s = image.info.spacing;
  const flat = image.info.shape[0] === 1;
  const score = item.iou === null ? '' : `\nscore ${item.iou.toFixed(2)}`;
  if (!s) return `${voxels.toLocaleString('en')} ${flat ? 'px' : 'voxels'}${score}`;
  const mm = voxels * s[0] * s[1] * (flat ? 1 : s[2]);
  const text = flat ? `${mm.toFixed(1)} mm²` : mm < 1000 ? `${mm.toFixed(0)} mm³` : `${(mm / 1000).toFixed(1)} ml`;
  return text + score;
}

function refresh() {
  view.paintMasks(axis, index);
  $('undo').disabled = !objects.past.length;
  $('redo').disabled = !objects.future.length;
  $('remove').disabled = !objects.current;
  $('carry').disabled = !objects.current || carrying !== null;
  $('follow').disabled = !objects.box(objects.current, axis, index) || carrying !== null;
  const list = $('objects');
  while (list.children.length > objects.items.length) list.lastChild.remove();
  objects.items.forEach((item, i) => {
    const line = list.children[i] ?? list.appendChild(row());
    line.setAttribute('aria-current', i === objects.selected);
    const [swatch, name, text] = line.children;
    swatch.style.background = `rgb(${item.colour})`;
    swatch.setAttribute('aria-pressed', item.visible);
    swatch.setAttribute('aria-label', `Show ${item.name}`);
    if (document.activeElement !== name) name.value = item.name;
    text.textContent = size(item);
  });
  measure();
  if (!acting) others.forEach(({ view: small }) => small.place && small.objects === objects && small.paintMasks(...small.place));
  const [low, high] = view.range;
  $('levels').textContent = image.info.stored.type === 'u8' && low === 0 && high === 255 ? '' : `level ${((low + high) / 2).toFixed(0)}, width ${(high - low).toFixed(0)}`;
}

/** The sides of the box that is drawn. */
function measure() {
  const box = acting && objects.box(objects.current, axis, index);
  if (!box) return;
  const s = spacing();
  const sides = [box[2] - box[0] + 1, box[3] - box[1] + 1];
  say(s ? `${sides.map((v, i) => (v * s[i]).toFixed(1)).join(' × ')} mm` : `${sides.join(' × ')} px`);
}

function row() {
  const line = document.createElement('li');
  const swatch = document.createElement('button');
  const name = document.createElement('input');
  const text = document.createElement('span');
  swatch.className = 'swatch';
  text.className = 'size';
  name.setAttribute('aria-label', 'Name');
  name.maxLength = 64;
  const place = () => [...$('objects').children].indexOf(line);
  swatch.onclick = () => {
    const item = objects.items[place()];
    item.visible = !item.visible;
    refresh();
  };
  name.onfocus = () => act.choose(place());
  name.onchange = () => { objects.items[place()].name = name.value; };
  text.onclick = () => act.choose(place());
  line.append(swatch, name, text);
  return line;
}

/** Whether a box is held, and has been changed since. */
let acting = null;

/** A box within the slice; a moved one keeps its size. */
function within(box, keep) {
  const [height, width] = sizes();
  let [x0, y0, x1, y1] = box;
  if (keep) {
    const dx = Math.min(0, width - 1 - x1) || Math.max(0, -x0);
    const dy = Math.min(0, height - 1 - y1) || Math.max(0, -y0);
    [x0, x1, y0, y1] = [x0 + dx, x1 + dx, y0 + dy, y1 + dy];
  }
  const clip = (v, n) => Math.min(n - 1, Math.max(0, v));
  const order = (a, b) => a <= b ? [a, b] : [b, a];
  [x0, x1] = order(clip(x0, width), clip(x1, width));
  [y0, y1] = order(clip(y0, height), clip(y1, height));
  return [x0, y0, x1, y1];
}

const act = {
  boxes() {
    const all = objects.items.filter(item => item.visible).reverse();
    const ordered = objects.current ? [objects.current, ...all.filter(item => item !== objects.current)] : all;
    return ordered.map(item => ({ item, box: objects.box(item, axis, index) })).filter(({ box }) => box);
  },
  grab(item) {
    objects.selected = objects.items.indexOf(item);
    if (view.showHeat) live.ask();
    acting = 'held';
    refresh();
  },
  /** A new box: of the chosen object where it has none here, else of a new one. */
  begin() {
    objects.remember();
    if (!objects.current || objects.box(objects.current, axis, index)) objects.add();
    acting = 'changed';
  },
  move(box, keep = false) {
    if (acting === 'held') {
      objects.remember();
      acting = 'changed';
    }
    objects.setBox(objects.current, axis, index, within(box, keep));
    measure();
    view.draw();
    live.ask();
  },
  drop() {
    acting = null;
    say('');
    const item = objects.current;
    // The other planes go through the middle of the box.
    const box = objects.box(item, axis, index);
    const [down, across] = [0, 1, 2].filter(a => a !== axis);
    [point[across], point[down]] = [Math.round((box[0] + box[2]) / 2), Math.round((box[1] + box[3]) / 2)];
    beside();
    if (axis === 0) range(item);
    refresh();
  },
  abandon() {
    live.reset();
    if (acting === 'changed' && objects.undo()) objects.future.pop();
    acting = null;
    refresh();
  },
  nudge(by, keep) {
    const box = objects.box(objects.current, axis, index);
    if (!box) return false;
    objects.remember();
    this.move(box.map((v, i) => v + by[i]), keep);
    return true;
  },
  middle() {
    const [height, width] = sizes();
    this.begin();
    this.move([width / 4, height / 4, width * 3 / 4, height * 3 / 4].map(Math.round));
    this.drop();
  },
  choose(i) {
    if (i === null || !objects.items[i]) return;
    objects.selected = i;
    if (axis === 0) range(objects.current);
    if (view.showHeat) live.ask();
    refresh();
  },
  add() {
    objects.remember();
    objects.add();
    refresh();
    say('Draw a box around the new object', 4);
  },
  clear() {
    if (!objects.current) return;
    objects.remember();
    live.reset();
    objects.clear(objects.current, axis, index);
    refresh();
  },
  scroll(by) {
    if (image.info.shape[axis] === 1) return false;
    const next = Math.min(image.info.shape[axis] - 1, Math.max(0, index + by));
    if (next !== index) {
      index = next;
      show();
    }
    return true;
  },
  /** Another plane, or the next one. */
  plane(to = (axis + 1) % 3) {
    if (image.info.shape[0] === 1) return;
    axis = to;
    index = point[axis];
    show(true);
  },
  follow() {
    if (image.info.shape[0] > 1) follow();
  },
  level(range) {
    view.range = range;
    view.paintPicture();
    refresh();
  },
  /** The network sees what the person sees. */
  levelled() {
    const [low, high] = view.range;
    if (image.info.stored.type === 'i16') setWindow(`${(low + high) / 2},${high - low}`);
  },
};

async function setWindow(name) {
  const of = image;
  try {
    const info = await of.window(name);
    if (of !== image) return;
    view.range = info.range ?? view.range;
    view.paintPicture();
    live.ask();
    show();
  } catch (error) {
    fail(error);
  }
}

// Volumes

/** The slices that a box in 3D has, from 1, as far as the person has not said otherwise. */
function range(item) {
  const last = image.info.shape[0];
  item.range ??= [Math.max(1, index - 9), Math.min(last, index + 11)];
  [$('from').value, $('to').value] = item.range;
}

/** Finds an object through the volume. */
async function through(item, asked) {
  const of = image;
  carrying?.abort();
  const mine = carrying = new AbortController();
  $('work').hidden = false;
  $('progress').removeAttribute('value');
  refresh();
  try {
    const report = (done, total) => Object.assign($('progress'), { max: total, value: done });
    const object = await of.volume(asked, report, mine.signal);
    const still = of === image && objects.items.find(other => other.number === item.number);
    if (still) {
      objects.remember();
      objects.setVolume(still, object.slices);
      still.iou = object.iou;
      const [first, last] = [object.slices[0], object.slices.at(-1)].map(part => part?.slice + 1);
      say(!object.voxels ? 'Nothing was found' : `${object.voxels.toLocaleString('en')} voxels in slices ${first} to ${last}`
        + (object.complete ? '' : '; there was no time for more'), 8);
    }
  } catch (error) {
    if (error.name === 'AbortError') say('Cancelled', 3);
    else fail(error);
  }
  if (carrying !== mine) return;
  carrying = null;
  $('work').hidden = true;
  refresh();
}

function follow() {
  const box = objects.box(objects.current, axis, index);
  if (!box) return say('Draw a box in this slice first', 5);
  through(objects.current, { box, slice: index, axis });
}

function carry() {
  const item = objects.current;
  const boxes = [...item?.boxes ?? []].filter(([name]) => name.startsWith('0,'));
  const found = boxes.find(([name]) => name === `0,${index}`) ?? boxes[0];
  if (!found) return say('Draw a box in one of the slices first', 5);
  const [z0, z1] = item.range.map(z => z - 1).sort((a, b) => a - b);
  const [x0, y0, x1, y1] = found[1];
  through(item, { box: [x0, y0, z0, x1, y1, z1] });
}

// Saving

async function save(format) {
  try {
    // The mask of the last box may be on its way.
    const of = image;
    while (live.busy) await new Promise(done => setTimeout(done, 20));
    if (of !== image) return;
    const { name, blob } = await image.labels(format, objects.runs());
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`${name} saved`, 4);
  } catch (error) {
    fail(error);
  }
}

// The rest of the page

function openFiles(files) {
  const [file] = files;
  if (!file) return;
  if (files.length > 1 && !Session.several) say('Several files: the first is opened. Pack a DICOM series as ZIP.', 6);
  open(() => session.send(files, file.name), file.name);
}

function wire() {
  bind(canvas, view, act);
  $('file').onchange = event => {
    openFiles([...event.target.files]);
    event.target.value = '';
  };
  const stage = $('stage');
  addEventListener('dragover', event => {
    event.preventDefault();
    stage.classList.add('drop');
  });
  addEventListener('dragleave', event => {
    if (!event.relatedTarget) stage.classList.remove('drop');
  });
  addEventListener('drop', event => {
    event.preventDefault();
    stage.classList.remove('drop');
    openFiles([...event.dataTransfer.files]);
  });
  $('offers').onchange = event => openOffer(Number(event.target.value));
  $('slice').oninput = event => {
    index = Number(event.target.value);
    show();
  };
  $('axis').onchange = event => {
    act.plane(Number(event.target.value));
  };
  $('from').onchange = $('to').onchange = () => {
    if (objects.current) objects.current.range = [Number($('from').value), Number($('to').value)];
  };
  $('add').onclick = () => act.add();
  $('remove').onclick = () => {
    objects.remember();
    live.reset();
    objects.remove();
    refresh();
  };
  $('carry').onclick = carry;
  $('follow').onclick = follow;
  $('cancel').onclick = () => carrying?.abort();
  $('window').onchange = event => setWindow(event.target.value);
  $('opacity').oninput = event => {
    view.opacity = event.target.value / 100;
    refresh();
  };
  $('heat').onchange = event => {
    view.showHeat = event.target.checked;
    live.ask();
    refresh();
  };
  $('fit').onclick = () => view.fit();
  $('help').onclick = () => {
    $('keys').hidden = !$('keys').hidden;
    $('help').setAttribute('aria-expanded', !$('keys').hidden);
    if (!$('keys').hidden) $('keys').scrollIntoView();
  };
  const step = back => {
    live.reset();
    if (back ? objects.undo() : objects.redo()) refresh();
  };
  $('undo').onclick = () => step(true);
  $('redo').onclick = () => step(false);
  addEventListener('keydown', event => {
    if (!(event.ctrlKey || event.metaKey) || event.target.tagName === 'INPUT' && event.target.type === 'text') return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    step(key === 'z' && !event.shiftKey);
  });
  addEventListener('pagehide', () => session.leave());
}

let offers = [];
const openOffer = id => open(() => session.offer(id), offers[id], String(id));

try {
  say('Connecting…');
  const state = await enter();
  ({ offers } = state);
  // The first is what a person opened.
  $('offers').replaceChildren(Object.assign(new Option('', ''), { hidden: true }), ...offers.map((name, i) => new Option(name, i)));
  $('window').replaceChildren(...state.windows.map(name => new Option(name)));
  session = await Session.open();
  wire();
  await openOffer(0);
} catch (error) {
  fail(error);
}
