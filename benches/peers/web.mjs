// An encode in the browser: the page without a server beside onnxruntime-web, on the same graph, in the same Chromium, on one
// thread each, by turns. UMEDSAM_CLIENT_MODULES names a folder with the packages playwright-core and onnxruntime-web.
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

const server = await serve(path => path === '/encoder.onnx' ? graph : path.startsWith('/ort/') ? join(runtime, path.slice(4)) : join(site, path));

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}page/icon.svg`);
  const found = await page.evaluate(async times => {
    const ort = await import('/ort/ort.wasm.min.mjs');
    Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: '/ort/' });
    const peer = await ort.InferenceSession.create('/encoder.onnx', { executionProviders: ['wasm'] });
    const { Session, enter } = await import('/page/api.js');
    await enter();
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
    return [own, theirs].map(all => all.slice(1).sort((a, b) => a - b));
  }, Number(times));
  const [own, theirs] = found.map(all => ({ least: all[0], median: all[all.length >> 1] }));
  console.log(`${await browser.version()}, onnxruntime-web ${version}, ${times} encodes each, one thread`);
  const row = (name, { least, median }) => console.log(`| ${name} | ${least.toFixed(0)} ms | ${median.toFixed(0)} ms | ${(least / theirs.least).toFixed(2)} |`);
  console.log('| | least | median | ratio |\n|---|---|---|---|');
  row('umedsam', own);
  row('onnxruntime-web', theirs);
} finally {
  await browser.close();
  server.close();
}
