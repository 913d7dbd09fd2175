// The page without a server, in a real browser: pictures, volumes and DICOM, its masks beside those of the command, and how
// long an encode takes.
// UMEDSAM_CLIENT_MODULES names a folder with the package playwright-core; CHROMIUM the browser, /usr/bin/chromium if left
// out.
//
// node web.mjs FOLDER PROGRAM [PICTURE]   FOLDER is what web/build.sh made, PROGRAM the command umedsam

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, inflateSync } from 'node:zlib';

import { serve } from '../web/files.mjs';
import { SHAPE, dicom, nifti, png, tiff } from './made.mjs';

const [site, program, picture] = process.argv.slice(2);
const modules = createRequire(join(process.env.UMEDSAM_CLIENT_MODULES, 'x.js'));
const { chromium } = modules('playwright-core');
const folder = mkdtempSync(join(tmpdir(), 'umedsam-web-'));

const place = path => join(site, path);
const server = await serve(place);
// Without the headers that let threads share memory.
const plain = await serve(place, { isolated: false });

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
  const found = (name, on = page) => on.waitForFunction(name => {
    const sizes = [...document.querySelectorAll('#objects .size')];
    return document.getElementById('offers').options[0]?.textContent === name && sizes.length && sizes.every(line => /\d/.test(line.textContent));
  }, name, { timeout: 60_000 });
  await found('retina.jpg').catch(async error => {
    throw new Error(`${await page.textContent('#status')} ${wrong.join('; ')}`, { cause: error });
  });
  console.log(`two masks of the first sample after ${((performance.now() - start) / 1000).toFixed(1)} s`);
  const saved = async (on = page) => {
    const [download] = await Promise.all([on.waitForEvent('download'), on.click('[data-format=png]')]);
    return gray(readFileSync(await download.path()));
  };
  const web = await saved();

  // Threads: as many as the machine has, or one; the same mask, and a fault of one is told.
  const threads = on => on.workers().filter(worker => worker.url().endsWith('/thread.js')).length;
  const most = Math.min(availableParallelism(), 8);
  assert.equal(threads(page), most > 1 ? most : 0);
  const alone = await browser.newPage({ acceptDownloads: true });
  await alone.goto(plain.url);
  await found('retina.jpg', alone);
  assert.equal(threads(alone), 0);
  assert.deepEqual(await saved(alone), web);
  await alone.close();
  if (most > 1) {
    const faulty = await browser.newPage();
    await faulty.route('**/thread.js', route => route.fulfill({
      contentType: 'text/javascript', headers: { 'Cross-Origin-Embedder-Policy': 'require-corp' }, body: "postMessage('provoked')",
    }));
    await faulty.goto(server.url);
    await faulty.waitForFunction(() => document.getElementById('status').textContent.includes('the library failed (provoked); reload the page'));
    await faulty.close();
  }

  // Another sample, and a box drawn in it.
  await page.selectOption('#offers', '1');
  await found('cell.png');
  const cell = await saved();
  const before = await page.locator('#objects .size').first().textContent();
  await page.focus('#canvas');
  for (let i = 0; i < 4; i++) await page.keyboard.press('Shift+ArrowLeft');
  // What is saved at once is the last box's mask, too.
  const early = await saved();
  await page.waitForFunction(before => document.querySelector('#objects .size').textContent !== before, before);
  assert.deepEqual(early, await saved());
  assert.notDeepEqual(early, cell);
  const ms = Number(await page.getAttribute('#canvas', 'data-ms'));
  console.log(`a mask that follows its box: ${ms.toFixed(0)} ms`);

  const status = text => page.waitForFunction(text => document.getElementById('status').textContent.includes(text), text);
  const opened = async (name, position) => {
    await page.waitForFunction(([name, position]) => document.getElementById('offers').options[0].textContent === name
      && (document.getElementById('slices').hidden ? '' : document.getElementById('position').textContent) === position
      && document.getElementById('status').textContent !== `Opening ${name}…`, [name, position]).catch(async error => {
      throw new Error(`${name}: ${await page.textContent('#status')}`, { cause: error });
    });
  };
  const open = async (name, buffer, position) => {
    await page.setInputFiles('#file', { name, mimeType: '', buffer });
    await opened(name, position);
  };
  const drop = files => page.evaluate(files => {
    const dataTransfer = new DataTransfer();
    for (const [name, text] of files) dataTransfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
    dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
  }, files.map(([name, bytes]) => [name, bytes.toString('base64')]));
  const save = async format => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-format=${format}]`)]);
    return readFileSync(await download.path());
  };
  const voxels = file => {
    const bytes = gunzipSync(file);
    assert.deepEqual([bytes.readInt16LE(42), bytes.readInt16LE(44), bytes.readInt16LE(46)], [width, height, depth]);
    return bytes.subarray(bytes.readFloatLE(108));
  };
  /** What the command finds of the same box: the only file that it writes. */
  const segment = (input, ...more) => {
    const out = mkdtempSync(join(folder, 'out-'));
    execFileSync(program, ['segment', input, ...more, '--out', out], { stdio: ['ignore', 'ignore', 'inherit'] });
    const [name, ...others] = readdirSync(out);
    assert.deepEqual(others, []);
    return readFileSync(join(out, name));
  };
  const { width, height, depth } = SHAPE;
  const middle = [width / 4, height / 4, width * 3 / 4, height * 3 / 4].join(',');
  const compared = [];
  const agree = (name, ...masks) => compared.push([name, dice(...masks, 1)]);
  /** A box in the middle of the slice that is shown, and the object of it in all slices. */
  const follow = async () => {
    await page.focus('#canvas');
    await page.keyboard.press('b');
    await page.waitForFunction(() => document.querySelector('#objects .size')?.textContent.includes('score'));
    await page.keyboard.press('f');
    await page.waitForFunction(() => document.getElementById('work').hidden === false);
    let steps = 0;
    for (; await page.isVisible('#work'); await page.waitForTimeout(20)) steps += await page.evaluate(() => document.getElementById('progress').value > 0);
    assert.ok(steps > 0);
    await status('voxels in slices');
  };

  // NIfTI: slices, planes, a window, an object through the slices, its file.
  writeFileSync(join(folder, 'blob.nii.gz'), nifti());
  await open('blob.nii.gz', nifti(), '5 / 9');
  await page.focus('#canvas');
  await page.keyboard.press('PageDown');
  await page.waitForFunction(() => document.getElementById('position').textContent === '6 / 9');
  await page.keyboard.press('x');
  await page.waitForFunction(() => document.getElementById('position').textContent === '41 / 80');
  for (const plane of [2, 0]) await page.keyboard.press('x', { delay: plane });
  await page.waitForFunction(() => document.getElementById('position').textContent === '6 / 9');
  await page.selectOption('#window', 'bone');
  await page.waitForFunction(() => document.getElementById('levels').textContent === 'level 400, width 1800');
  const levels = await page.textContent('#levels');
  await page.selectOption('#window', 'auto');
  await page.waitForFunction(levels => document.getElementById('levels').textContent !== levels, levels);
  const began = performance.now();
  await follow();
  console.log(`an object through ${depth} slices: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const followed = voxels(await save('nifti'));
  agree('NIfTI, followed', followed, voxels(segment(join(folder, 'blob.nii.gz'), '--slice', '5', '--box', middle)));

  // Cancelled after the first report, and the page goes on.
  const before3d = await page.textContent('#objects .size');
  await page.click('#follow');
  await page.waitForFunction(() => document.getElementById('progress').value > 0);
  await page.click('#cancel');
  await status('Cancelled');
  assert.equal(await page.textContent('#objects .size'), before3d);
  await page.keyboard.press('PageUp');

  // A DICOM series: files that are dropped together, the same as an archive, and one of them.
  const series = Array.from({ length: depth }, (_, z) => [`${z}.dcm`, dicom(z)]);
  mkdirSync(join(folder, 'series'));
  for (const [name, bytes] of series) writeFileSync(join(folder, 'series', name), bytes);
  await drop(series);
  await opened('0.dcm', '5 / 9');
  await page.waitForFunction(() => document.getElementById('notes').textContent.includes('MR'));
  await follow();
  const dropped = voxels(await save('nifti'));
  agree('DICOM, followed', dropped, voxels(segment(join(folder, 'series'), '--slice', '4', '--box', middle, '--format', 'nifti')));
  const seg = await save('seg');
  assert.equal(seg.toString('latin1', 128, 132), 'DICM');
  writeFileSync(join(folder, 'page.seg.dcm'), seg);
  writeFileSync(join(folder, 'command.seg.dcm'), segment(join(folder, 'series'), '--slice', '4', '--box', middle));
  const scores = execFileSync(program, ['eval', 'command.seg.dcm', 'page.seg.dcm', '--json'], { cwd: folder });
  compared.push(['DICOM segmentation', JSON.parse(scores).cases[0].dsc]);
  execFileSync('python3', ['-m', 'zipfile', '-c', 'series.zip', 'series'], { cwd: folder });
  await open('series.zip', readFileSync(join(folder, 'series.zip')), '5 / 9');
  await drop(series.slice(3, 4));
  await opened('3.dcm', '');

  // A picture of 16 bits, and the pages of a TIFF.
  writeFileSync(join(folder, 'deep.png'), png());
  await open('deep.png', png(), '');
  await page.focus('#canvas');
  await page.keyboard.press('b');
  await page.waitForFunction(() => document.querySelector('#objects .size')?.textContent.includes('score'));
  agree('PNG of 16 bits', await saved(), gray(segment(join(folder, 'deep.png'), '--box', middle)));
  await open('pages.tiff', tiff(), '');

  // A case of a volume, with its boxes.
  for (const name of ['images', 'labels', 'cases']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'images/blob.nii.gz'), nifti());
  writeFileSync(join(folder, 'labels/blob.nii.gz'), await (async () => segment(join(folder, 'blob.nii.gz'), '--slice', '5', '--box', middle))());
  execFileSync(program, ['convert', 'images', 'labels', '--out', 'cases'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  const [kase] = readdirSync(join(folder, 'cases'));
  await page.setInputFiles('#file', join(folder, 'cases', kase));
  await page.waitForFunction(kase => document.getElementById('offers').options[0].textContent === kase && document.querySelectorAll('#objects li').length === 1, kase);

  // What cannot be read is refused in the readers' words: no image, too much memory, too large a file.
  await page.setInputFiles('#file', { name: 'x.nii', mimeType: '', buffer: Buffer.from('no picture') });
  await status('x.nii: ');
  await page.setInputFiles('#file', { name: 'large.nii.gz', mimeType: '', buffer: nifti([2000, 2000, 500], false) });
  await status('bytes of memory to read, beyond the limit of 1073741824');
  // Of two files with one name none is dropped in silence, and the next image opens.
  await drop([['IM1', Buffer.from('one')], ['IM1', Buffer.from('another')]]);
  await status('two files are named IM1');
  await open('again.nii.gz', nifti(), '5 / 9');
  const refusal = await page.evaluate(async () => {
    const { Session } = await import(new URL('page/api.js', location.href));
    const part = new Blob([new Uint8Array(1 << 26)]);
    const large = new File(Array(17).fill(part), 'large.zip');
    return (await Session.open()).send([large], large.name).then(() => 'opened', error => error.message);
  });
  assert.equal(refusal, 'large.zip: takes 1140850688 bytes of memory to read, beyond the limit of 1073741824');

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
      const image = session.image(await session.send([await canvas.convertToBlob()], 'x.png'));
      times.push(await image.ahead(0, [0]));
    }
    return times.sort((a, b) => a - b);
  });
  assert.ok(times.every(ms => ms > 0));
  console.log(`an encode in WebAssembly, ${most} threads: least ${times[0].toFixed(0)} ms, median ${times[2].toFixed(0)} ms`);
  if (picture) {
    await page.selectOption('#offers', '0');
    await found('retina.jpg');
    await page.screenshot({ path: picture });
  }
  assert.deepEqual(wrong, []);

  execFileSync(program, [], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  const command = name => gray(readFileSync(join(folder, 'out', name)));
  agree('a disc', web, command('retina.mask.png'));
  compared.push(['a macula', dice(web, command('retina.mask.png'), 2)]);
  agree('a cell', cell, command('cell.mask.png'));
  // 8 bits round by the machine.
  console.log(`DSC to the command's masks: ${compared.map(([name, v]) => `${name} ${v.toFixed(4)}`).join(', ')}`);
  assert.ok(compared.every(([, v]) => v > 0.98));
} finally {
  await browser.close();
  server.close();
  plain.close();
  rmSync(folder, { recursive: true, force: true });
}
