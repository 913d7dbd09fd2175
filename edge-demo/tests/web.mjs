// The page without a server, in a real browser: its masks beside those of the command, and how long an encode takes.
// UMEDSAM_CLIENT_MODULES names a folder with the package playwright-core; CHROMIUM the browser, /usr/bin/chromium if left
// out.
//
// node web.mjs FOLDER PROGRAM [PICTURE]   FOLDER is what web/build.sh made, PROGRAM the command umedsam

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';

import { serve } from '../web/files.mjs';

const [site, program, picture] = process.argv.slice(2);
const modules = createRequire(join(process.env.UMEDSAM_CLIENT_MODULES, 'x.js'));
const { chromium } = modules('playwright-core');
const folder = mkdtempSync(join(tmpdir(), 'umedsam-web-'));

const server = await serve(path => join(site, path));

/** The values of a gray PNG of 8 bits, whose rows have any of the filters. */
function gray(bytes) {
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  assert.deepEqual([...bytes.subarray(24, 26)], [8, 0]);
  const parts = [];
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)));
  }
  const rows = inflateSync(Buffer.concat(parts));
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const left = x ? values[y * width + x - 1] : 0;
      const up = y ? values[(y - 1) * width + x] : 0;
      const corner = x && y ? values[(y - 1) * width + x - 1] : 0;
      const [a, b, c] = [left, up, corner].map(v => Math.abs(left + up - corner - v));
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      values[y * width + x] = rows[y * (width + 1) + 1 + x] + [0, left, up, left + up >> 1, paeth][filter];
    }
  }
  return values;
}

function dice(a, b, label) {
  let [both, sum] = [0, 0];
  assert.equal(a.length, b.length);
  a.forEach((v, i) => {
    both += v === label && b[i] === label;
    sum += (v === label) + (b[i] === label);
  });
  assert.ok(sum > 1000);
  return 2 * both / sum;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true })).newPage();
  const wrong = [];
  page.on('console', message => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()));
  page.on('pageerror', error => wrong.push(String(error)));
  const start = performance.now();
  await page.goto(server.url);
  const found = name => page.waitForFunction(name => {
    const sizes = [...document.querySelectorAll('#objects .size')];
    return document.getElementById('offers').options[0]?.textContent === name && sizes.length && sizes.every(line => /\d/.test(line.textContent));
  }, name, { timeout: 60_000 });
  await found('retina.jpg').catch(async error => {
    throw new Error(`${await page.textContent('#status')} ${wrong.join('; ')}`, { cause: error });
  });
  console.log(`two masks of the first sample after ${((performance.now() - start) / 1000).toFixed(1)} s`);
  const saved = async () => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-format=png]')]);
    return gray(readFileSync(await download.path()));
  };
  const web = await saved();

  // Another sample, and a box drawn in it.
  await page.selectOption('#offers', '1');
  await found('cell.png');
  const cell = await saved();
  const before = await page.locator('#objects .size').first().textContent();
  await page.focus('#canvas');
  for (let i = 0; i < 4; i++) await page.keyboard.press('Shift+ArrowLeft');
  await page.waitForFunction(before => document.querySelector('#objects .size').textContent !== before, before);
  const ms = Number(await page.getAttribute('#canvas', 'data-ms'));
  console.log(`a mask that follows its box: ${ms.toFixed(0)} ms`);

  // What is no picture is refused in words.
  await page.setInputFiles('#file', { name: 'x.nii', mimeType: '', buffer: Buffer.from('no picture') });
  await page.waitForFunction(() => document.getElementById('status').textContent.includes('umedsam serve'));
  // So is a PNG of 16 bits, whose low bytes a browser drops.
  const deep = Buffer.from('89504e470d0a1a0a0000000d494844520000000100000001100000000', 'hex');
  await page.setInputFiles('#file', { name: 'deep.png', mimeType: 'image/png', buffer: deep });
  await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('deep.png: 16 bits'));

  // How long an encode takes, each time of another picture.
  const times = await page.evaluate(async () => {
    const { Session } = await import(new URL('page/api.js', location.href));
    const session = await Session.open();
    const times = [];
    for (let i = 0; i < 5; i++) {
      const canvas = new OffscreenCanvas(256, 256);
      const context = canvas.getContext('2d');
      context.fillStyle = `rgb(${40 * i}, 90, 200)`;
      context.fillRect(30 * i, 40, 90, 120);
      const image = session.image(await session.send(await canvas.convertToBlob(), 'x.png'));
      times.push(await image.ahead());
    }
    return times.sort((a, b) => a - b);
  });
  assert.ok(times.every(ms => ms > 0));
  console.log(`an encode in WebAssembly: least ${times[0].toFixed(0)} ms, median ${times[2].toFixed(0)} ms`);
  if (picture) {
    await page.selectOption('#offers', '0');
    await found('retina.jpg');
    await page.screenshot({ path: picture });
  }
  assert.deepEqual(wrong, []);

  execFileSync(program, [], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  const command = name => gray(readFileSync(join(folder, 'out', name)));
  // A browser's JPEG decoder may differ by one from the command's, and 8 bits round by the machine.
  const agreement = [dice(web, command('retina.mask.png'), 1), dice(web, command('retina.mask.png'), 2), dice(cell, command('cell.mask.png'), 1)];
  console.log(`DSC to the command's masks: ${agreement.map(v => v.toFixed(4)).join(', ')}`);
  assert.ok(agreement.every(v => v > 0.98));
} finally {
  await browser.close();
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
