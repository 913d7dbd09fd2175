// The page in a real browser, as a person uses it. UMEDSAM_CLIENT_MODULES names a folder with the packages playwright-core
// and axe-core; CHROMIUM the browser, /usr/bin/chromium if left out.
//
// node page.mjs PROGRAM [PICTURE]   PROGRAM is the command umedsam; a screenshot is written as PICTURE

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { gunzipSync } from 'node:zlib';

const [program, picture] = process.argv.slice(2);
const modules = createRequire(join(process.env.UMEDSAM_CLIENT_MODULES, 'x.js'));
const { chromium } = modules('playwright-core');
const axe = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'umedsam-page-'));

// A volume with one bright object, as NIfTI of 16 bits.
const [width, height, depth] = [96, 80, 30];
function nifti() {
  const bytes = Buffer.alloc(352 + 2 * width * height * depth);
  bytes.writeInt32LE(348, 0);
  [3, width, height, depth, 1, 1, 1, 1].forEach((v, i) => bytes.writeInt16LE(v, 40 + 2 * i));
  bytes.writeInt16LE(4, 70);
  bytes.writeInt16LE(16, 72);
  [1, 0.9, 0.9, 2.5].forEach((v, i) => bytes.writeFloatLE(v, 76 + 4 * i));
  // To the patient's right, front and head.
  bytes.writeInt16LE(1, 254);
  [0.9, 0.9, 2.5].forEach((v, i) => bytes.writeFloatLE(v, 280 + 20 * i));
  bytes.writeFloatLE(352, 108);
  bytes.writeFloatLE(1, 112);
  bytes.writeUInt8(2, 123);
  bytes.write('n+1\0', 344, 'latin1');
  let noise = 1;
  for (let z = 0, at = 352; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 2) {
        noise = Math.imul(noise, 1664525) + 1013904223 >>> 0;
        const inside = ((x - 50) / 22) ** 2 + ((y - 40) / 18) ** 2 + ((z - 15) / 11) ** 2 < 1;
        bytes.writeInt16LE((inside ? 900 : 200) + (noise >>> 25), at);
      }
    }
  }
  return bytes;
}
const file = join(folder, 'blob.nii');
writeFileSync(file, nifti());

const server = spawn(program, ['serve', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const notes = [];
try {
  const line = (await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next()).value;
  const url = /http:\/\/\S+/.exec(line)[0];
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
  // Times of the pointer's moves, of the last before each request, and of the frame after each answer.
  await context.addInitScript(() => {
    let [moves, delays] = [[], []];
    const asked = new Map();
    addEventListener('pointermove', event => event.buttons && moves.push(event.timeStamp), true);
    const { fetch } = globalThis;
    globalThis.fetch = (url, options) => {
      if (String(url).endsWith('/masks')) asked.set(JSON.parse(options.body).seq, moves.at(-1));
      return fetch(url, options);
    };
    addEventListener('DOMContentLoaded', () => {
      const canvas = document.getElementById('canvas');
      new MutationObserver(() => {
        const until = asked.get(Number(canvas.dataset.seq));
        requestAnimationFrame(() => setTimeout(() => {
          delays.push(...moves.filter(time => time <= until).map(time => performance.now() - time));
          moves = moves.filter(time => !(time <= until));
        }));
      }).observe(canvas, { attributeFilter: ['data-seq'] });
    });
    globalThis.delays = () => {
      const found = delays;
      [moves, delays] = [[], []];
      return found;
    };
  });
  const page = await context.newPage();
  const wrong = [];
  page.on('console', message => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()));
  page.on('pageerror', error => wrong.push(String(error)));

  // A sample is there at once, with its masks.
  const start = Date.now();
  await page.goto(url);
  await page.waitForFunction(() => document.querySelectorAll('#objects .size').length === 2
    && [...document.querySelectorAll('#objects .size')].every(text => text.textContent.includes('score')), null, { timeout: 30_000 });
  notes.push(`sample with two masks after ${Date.now() - start} ms`);
  if (picture) await page.screenshot({ path: picture });

  // Where a pixel of the slice is on the screen.
  const size = () => page.$$eval('#objects li', lines => lines.map(line => line.lastChild.textContent));
  const seq = () => page.$eval('#canvas', canvas => Number(canvas.dataset.seq ?? 0));
  const settled = async before => {
    await page.waitForFunction(n => Number(document.getElementById('canvas').dataset.seq ?? 0) > n, before, { timeout: 30_000 });
  };
  const spot = async (w, h, x, y, aspect = [1, 1]) => {
    const frame = await page.locator('#canvas').boundingBox();
    // Slices are turned as radiologists are used to.
    const [flipX, flipY] = [...await page.$eval('#canvas', canvas => canvas.dataset.flip)].map(Number);
    if (flipX) x = w - x;
    if (flipY) y = h - y;
    const scale = Math.min(frame.width / (w * aspect[0]), frame.height / (h * aspect[1])) * 0.98;
    return [frame.x + (frame.width - w * aspect[0] * scale) / 2 + x * aspect[0] * scale, frame.y + (frame.height - h * aspect[1] * scale) / 2 + y * aspect[1] * scale];
  };
  const drag = async (from, to, steps = 8) => {
    await page.mouse.move(...from);
    await page.mouse.down();
    await page.mouse.move(...to, { steps });
    await page.mouse.up();
  };

  // A file is opened; a box is drawn; the mask comes.
  await page.setInputFiles('#file', file);
  await page.waitForFunction(() => document.getElementById('offers').selectedOptions[0]?.textContent === 'blob.nii');
  await page.waitForFunction(() => document.getElementById('position').textContent === '16 / 30');
  await page.waitForTimeout(1500);
  assert.equal(await page.$eval('#canvas', canvas => canvas.dataset.flip), '11');
  const at = (x, y) => spot(width, height, x, y);
  let before = await seq();
  await drag(await at(24.5, 18.5), await at(76.5, 62.5));
  await settled(before);
  await page.waitForFunction(() => document.querySelector('#objects .size')?.textContent.includes('ml'));
  const drawn = await size();
  assert.equal(drawn.length, 1);

  // It follows while the box is dragged: the time from a move of the pointer to the frame that shows a mask of it.
  await page.mouse.move(...await at(50, 40));
  await page.mouse.down();
  await page.evaluate(() => globalThis.delays());
  for (let i = 1; i <= 60; i++) {
    await page.mouse.move(...await at(50 + 4 * Math.sin(i / 5), 40 + 4 * Math.cos(i / 5)));
    await page.waitForTimeout(16);
  }
  before = await seq();
  await page.mouse.move(...await at(50, 40));
  await settled(before);
  await page.mouse.up();
  await page.waitForTimeout(400);
  const times = (await page.evaluate(() => globalThis.delays())).sort((x, y) => x - y);
  assert.ok(times.length > 30, 'most moves are seen');
  const part = p => Math.round(times[Math.floor(p * (times.length - 1))]);
  notes.push(`pointer to picture: median ${part(0.5)} ms, 95 % within ${part(0.95)} ms, ${times.length} moves`);

  // Undo and redo.
  await page.waitForTimeout(400);
  await page.keyboard.press('Control+z');
  await page.keyboard.press('Control+z');
  assert.deepEqual(await size(), []);
  await page.keyboard.press('Control+y');
  await page.waitForFunction(() => document.querySelectorAll('#objects li').length === 1);

  // An object is followed from its box in one slice until it ends.
  const found = () => page.waitForFunction(() => /voxels in slices/.test(document.getElementById('status').textContent), null, { timeout: 120_000 });
  await page.click('#follow');
  await found();
  const [millilitres] = (await size()).map(parseFloat);
  const expected = 4 / 3 * Math.PI * 22 * 18 * 11 * 0.9 * 0.9 * 2.5 / 1000;
  assert.ok(Math.abs(millilitres / expected - 1) < 0.3, `${millilitres} of ${expected} ml`);
  notes.push(`followed: ${await page.$eval('#status', status => status.textContent)}, ${millilitres} of ${expected.toFixed(1)} ml`);
  await page.click('#undo');

  // A box in 3D: cancelled once, then whole, and saved; the file's voxels are the command's.
  await page.fill('#from', '3');
  await page.fill('#to', '29');
  await page.dispatchEvent('#from', 'change');
  await page.click('#carry');
  await page.click('#cancel');
  await page.waitForFunction(() => document.getElementById('status').textContent === 'Cancelled');
  await page.click('#carry');
  await found();
  const saving = page.waitForEvent('download');
  await page.click('button[data-format=nifti]');
  const saved = await saving;
  assert.equal(saved.suggestedFilename(), 'blob.nii.gz');
  const served = gunzipSync(readFileSync(await saved.path()));
  // The box that was drawn: pixels under the pointer at its ends, moved back to where it was.
  execFileSync(program, ['segment', file, '--box3d', '24,18,2,76,62,28', '--out', join(folder, 'out')]);
  const wanted = readFileSync(join(folder, 'out', 'blob.nii'));
  const voxels = bytes => bytes.subarray(bytes.readFloatLE(108));
  assert.ok(voxels(wanted).some(v => v), 'an object');
  assert.ok(voxels(served).equals(voxels(wanted)), 'the voxels of the command');
  if (picture) await page.screenshot({ path: picture.replace(/(\.\w+)$/, '-volume$1') });

  // Another plane and another window show something; the keyboard alone draws a box.
  await page.selectOption('#axis', '1');
  await page.waitForFunction(() => document.getElementById('position').textContent === '41 / 80');
  await page.selectOption('#window', 'percentiles');
  await page.waitForFunction(() => /width/.test(document.getElementById('levels').textContent));
  await page.focus('#canvas');
  await page.keyboard.press('n');
  before = await seq();
  await page.keyboard.press('b');
  await settled(before);
  before = await seq();
  await page.keyboard.press('Shift+ArrowRight');
  await settled(before);
  assert.equal((await size()).length, 2);
  await page.keyboard.press('Delete');
  await page.keyboard.press('PageDown');
  await page.waitForFunction(() => document.getElementById('position').textContent === '42 / 80');

  // Names are text, whatever they hold.
  await page.fill('#objects li:first-child input', '<img src=x onerror=alert(1)>');
  await page.keyboard.press('Tab');
  assert.equal(await page.locator('#objects img').count(), 0);

  // What is no image is refused in words.
  const other = join(folder, 'other.txt');
  writeFileSync(other, 'nothing');
  const quiet = wrong.length;
  await page.setInputFiles('#file', other);
  await page.waitForFunction(() => document.getElementById('status').textContent.includes('are read'));
  // The browser tells of each answer that is an error.
  const [refused] = wrong.splice(quiet);
  assert.match(refused, /400/);

  await page.evaluate(axe);
  const checked = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(checked.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`), []);
  assert.deepEqual(wrong, []);

  // Fingers: a box by one, zoom by two.
  const touch = await browser.newContext({ viewport: { width: 480, height: 900 }, hasTouch: true, isMobile: true });
  const phone = await touch.newPage();
  await phone.goto(url);
  await phone.waitForFunction(() => document.querySelectorAll('#objects .size').length === 2, null, { timeout: 30_000 });
  const cdp = await touch.newCDPSession(phone);
  const finger = (type, points) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  const frame = await phone.locator('#canvas').boundingBox();
  const [cx, cy] = [frame.x + frame.width / 2, frame.y + frame.height / 2];
  await phone.click('#add');
  await finger('touchStart', [[cx + 60, cy - 70]]);
  for (let i = 1; i <= 6; i++) await finger('touchMove', [[cx + 60 + 10 * i, cy - 70 + 10 * i]]);
  await finger('touchEnd', []);
  await phone.waitForFunction(() => document.querySelectorAll('#objects .size').length === 3
    && document.querySelector('#objects li:last-child .size').textContent !== '', null, { timeout: 30_000 });
  await finger('touchStart', [[cx - 20, cy], [cx + 20, cy]]);
  await finger('touchMove', [[cx - 60, cy], [cx + 60, cy]]);
  await finger('touchEnd', []);
  assert.equal(await phone.locator('#objects li').count(), 3, 'two fingers draw no box');

  console.log(notes.join('\n'));
  console.log('all of it held');
} finally {
  await browser.close();
  server.kill('SIGINT');
  rmSync(folder, { recursive: true, force: true });
}
