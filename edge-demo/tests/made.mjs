// Files of one volume, a bright object in noise, made for the page's tests.

import { crc32, deflateSync, gzipSync } from 'node:zlib';

export const SHAPE = { width: 96, height: 80, depth: 9 };
const { width, height, depth } = SHAPE;
const SPACING = [0.9, 0.9, 2.5];

/** The values, slice by slice. */
export const values = (() => {
  const values = new Int16Array(width * height * depth);
  let noise = 1;
  for (let z = 0, i = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        noise = Math.imul(noise, 1664525) + 1013904223 >>> 0;
        const inside = ((x - 50) / 22) ** 2 + ((y - 40) / 18) ** 2 + ((z - 4) / 3.3) ** 2 < 1;
        values[i++] = (inside ? 900 : 200) + (noise >>> 25);
      }
    }
  }
  return values;
})();

/** NIfTI of these sides, gzipped; without the values if it is not to be whole. */
export function nifti(sides = [width, height, depth], whole = true) {
  const head = Buffer.alloc(352);
  head.writeInt32LE(348, 0);
  [3, ...sides, 1, 1, 1, 1].forEach((v, i) => head.writeInt16LE(v, 40 + 2 * i));
  head.writeInt16LE(4, 70);
  head.writeInt16LE(16, 72);
  [1, ...SPACING].forEach((v, i) => head.writeFloatLE(v, 76 + 4 * i));
  // To the patient's right, front and head.
  head.writeInt16LE(1, 254);
  SPACING.forEach((v, i) => head.writeFloatLE(v, 280 + 20 * i));
  head.writeFloatLE(352, 108);
  head.writeFloatLE(1, 112);
  head.writeUInt8(2, 123);
  head.write('n+1\0', 344, 'latin1');
  // Packed, so many bytes could unfold to all that is missing.
  return whole ? gzipSync(Buffer.concat([head, Buffer.from(values.buffer)])) : gzipSync(Buffer.concat([head, Buffer.alloc(4 << 20)]), { level: 0 });
}

/** A slice as a DICOM file: MR, explicit values, little endian. */
export function dicom(z) {
  const element = (group, number, kind, value) => {
    let body = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
    if (typeof value === 'number') (body = Buffer.alloc(2)).writeUInt16LE(value);
    if (body.length % 2) body = Buffer.concat([body, Buffer.from(kind === 'UI' ? '\0' : ' ')]);
    const long = kind === 'OW';
    const head = Buffer.alloc(long ? 12 : 8);
    head.writeUInt16LE(group, 0);
    head.writeUInt16LE(number, 2);
    head.write(kind, 4, 'latin1');
    if (long) head.writeUInt32LE(body.length, 8);
    else head.writeUInt16LE(body.length, 6);
    return Buffer.concat([head, body]);
  };
  const [mr, uid] = ['1.2.840.10008.5.1.4.1.1.4', `1.2.3.4.${z + 1}`];
  const meta = [[2, 2, 'UI', mr], [2, 3, 'UI', uid], [2, 16, 'UI', '1.2.840.10008.1.2.1']];
  const slice = Buffer.from(values.buffer, 2 * z * width * height, 2 * width * height);
  const data = [
    [8, 0x16, 'UI', mr], [8, 0x18, 'UI', uid], [8, 0x60, 'CS', 'MR'], [0x10, 0x10, 'PN', 'Made^Up'], [0x10, 0x20, 'LO', '1'],
    [0x18, 0x50, 'DS', `${SPACING[2]}`], [0x20, 0xd, 'UI', '1.2.3'], [0x20, 0xe, 'UI', '1.2.3.4'], [0x20, 0x13, 'IS', `${z + 1}`],
    [0x20, 0x32, 'DS', `0\\0\\${SPACING[2] * z}`], [0x20, 0x37, 'DS', '1\\0\\0\\0\\1\\0'], [0x20, 0x52, 'UI', '1.2.3.5'],
    [0x28, 2, 'US', 1], [0x28, 4, 'CS', 'MONOCHROME2'], [0x28, 0x10, 'US', height], [0x28, 0x11, 'US', width],
    [0x28, 0x30, 'DS', `${SPACING[1]}\\${SPACING[0]}`], [0x28, 0x100, 'US', 16], [0x28, 0x101, 'US', 16], [0x28, 0x102, 'US', 15],
    [0x28, 0x103, 'US', 1], [0x7fe0, 0x10, 'OW', slice],
  ];
  const written = list => Buffer.concat(list.map(all => element(...all)));
  const length = Buffer.alloc(12);
  length.writeUInt16LE(2, 0);
  length.write('UL', 4, 'latin1');
  length.writeUInt16LE(4, 6);
  length.writeUInt32LE(written(meta).length, 8);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), length, written(meta), written(data)]);
}

/** The slice in the middle, 16 bits a pixel: PNG. */
export function png() {
  const chunk = (type, body) => {
    const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), body, Buffer.alloc(4)]);
    bytes.writeUInt32BE(body.length, 0);
    bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
    return bytes;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head[8] = 16;
  const rows = Buffer.alloc((2 * width + 1) * height);
  const slice = values.subarray((depth >> 1) * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    at++;
    for (let x = 0; x < width; x++) at = rows.writeUInt16BE(slice[y * width + x], at);
  }
  const start = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([start, chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** The slices as the pages of a TIFF. */
export function tiff() {
  const size = 2 * width * height;
  const fields = [[256, width], [257, height], [258, 16], [259, 1], [262, 1], [273, 0], [277, 1], [278, height], [279, size]];
  const parts = [Buffer.from('49492a0008000000', 'hex')];
  const directory = 2 + 12 * fields.length + 4;
  for (let z = 0, at = 8; z < depth; z++, at += directory + size) {
    const page = Buffer.alloc(directory);
    page.writeUInt16LE(fields.length, 0);
    fields.forEach(([tag, value], i) => {
      page.writeUInt16LE(tag, 2 + 12 * i);
      page.writeUInt16LE(4, 4 + 12 * i);
      page.writeUInt32LE(1, 6 + 12 * i);
      page.writeUInt32LE(tag === 273 ? at + directory : value, 10 + 12 * i);
    });
    page.writeUInt32LE(z + 1 < depth ? at + directory + size : 0, directory - 4);
    parts.push(page, Buffer.from(values.buffer, z * size, size));
  }
  return Buffer.concat(parts);
}
