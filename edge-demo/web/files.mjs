// A server of files on loopback, for tests and benches of the page without one.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.wasm': 'application/wasm' };

/** What lets a page's threads share memory. */
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** Serves the file that `place` names for a path, or the bytes that it gives; `{ url, close }`. */
export async function serve(place, { isolated = true } = {}) {
  const server = createServer((request, answer) => {
    const path = normalize(request.url === '/' ? '/index.html' : request.url);
    try {
      const found = place(path);
      const bytes = typeof found === 'string' ? readFileSync(found) : found;
      const type = TYPES[extname(path)] ?? 'application/octet-stream';
      answer.writeHead(200, { 'Content-Type': type, ...isolated ? ISOLATED : {} }).end(bytes);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise(ready => server.listen(0, '127.0.0.1', ready));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
