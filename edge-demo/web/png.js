// A gray PNG of 8 bits, which a canvas cannot write.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ n >>> 1 : n >>> 1;
  return n;
});

function chunk(type, body) {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  let crc = ~0;
  for (let i = 4; i < 8 + body.length; i++) crc = TABLE[(crc ^ bytes[i]) & 255] ^ crc >>> 8;
  view.setUint32(8 + body.length, ~crc);
  return bytes;
}

export async function png(pixels, width, height) {
  // Each row begins with its filter: none.
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8;
  const deflated = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const body = new Uint8Array(await new Response(deflated).arrayBuffer());
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk('IHDR', head), chunk('IDAT', body), chunk('IEND', new Uint8Array(0))];
  return new Blob(parts, { type: 'image/png' });
}
