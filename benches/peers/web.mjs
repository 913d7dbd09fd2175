// An encode in the browser: the page without a server beside onnxruntime-web, on the same graph, in the same Chromium, on as
// many threads each, by turns: one, then those that the page takes. UMEDSAM_CLIENT_MODULES names a folder with the packages
// playwright-core and onnxruntime-web.
//
// node web.mjs SITE [TIMES]   SITE is what edge-demo/web/build.sh made; the graph is taken out of its model

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { serve } from '../../edge-demo/web/files.mjs';

const [site, times = '7'] = process.argv.slice(2);
const modules = createRequire(join(process.env.UMEDSAM_CLIENT_MODULES, 'x.js'));
const { chromium } = modules('playwright-core');
const runtime = dirname(modules.resolve('onnxruntime-web'));
const { version } = JSON.parse(readFileSync(join(runtime, '../package.json')));

// A model is a safetensors file, whose tensor `encoder.onnx` is the graph.
const model = readFileSync(join(site, 'page/model.umedsam'));
const head = Number(model.readBigUInt64LE(0));
const [from, to] = JSON.parse(model.toString('utf8', 8, 8 + head))['encoder.onnx'].data_offsets;
const graph = model.subarray(8 + head + from, 8 + head + to);

const place = path => path === '/encoder.onnx' ? graph : path.startsWith('/ort/') ? join(runtime, path.slice(4)) : join(site, path);

async function measure(browser, isolated) {
  const server = await serve(place, { isolated });
  const page = await browser.newPage();
  await page.goto(`${server.url}page/icon.svg`);
  const { threads, all } = await page.evaluate(async times => {
    const { Session, enter } = await import('/page/api.js');
    const { threads } = await enter();
    const ort = await import('/ort/ort.wasm.min.mjs');
    Object.assign(ort.env.wasm, { numThreads: threads, wasmPaths: '/ort/' });
    const peer = await ort.InferenceSession.create('/encoder.onnx', { executionProviders: ['wasm'] });
    const session = await Session.open();
    const [own, theirs] = [[], []];
    for (let i = 0; i <= times; i++) {
      const canvas = new OffscreenCanvas(256, 256);
      const context = canvas.getContext('2d');
      context.fillStyle = `rgb(${20 * i}, 90, 200)`;
      context.fillRect(10 * i, 40, 90, 120);
      const image = session.image(await session.send([await canvas.convertToBlob()], 'x.png'));
      own.push(await image.ahead(0, [0]));
      const input = new ort.Tensor('float32', Float32Array.from({ length: 3 * 256 * 256 }, (_, n) => (n * 7919 + i) % 256 / 255), [1, 3, 256, 256]);
      const start = performance.now();
      await peer.run({ [peer.inputNames[0]]: input });
      theirs.push(performance.now() - start);
    }
    // The first is not counted.
    return { threads, all: [own, theirs].map(all => all.slice(1).sort((a, b) => a - b)) };
  }, Number(times));
  await page.close();
  server.close();
  const [own, theirs] = all.map(all => ({ least: all[0], median: all[all.length >> 1] }));
  const row = (name, { least, median }) => console.log(`| ${name} | ${threads} | ${least.toFixed(0)} ms | ${median.toFixed(0)} ms | ${(least / theirs.least).toFixed(2)} |`);
  row('umedsam', own);
  row('onnxruntime-web', theirs);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  console.log(`${await browser.version()}, onnxruntime-web ${version}, ${times} encodes each`);
  console.log('| | threads | least | median | ratio |\n|---|---|---|---|---|');
  await measure(browser, false);
  await measure(browser, true);
} finally {
  await browser.close();
}
