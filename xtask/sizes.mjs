// Prints the raw, gzip and brotli size in bytes of the files given as arguments.
import fs from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const rows = process.argv.slice(2).map((file) => {
  const bytes = fs.readFileSync(file);
  // The strongest settings of both, which is what a host that compresses once uses.
  return [file, bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
});
const total = [1, 2, 3].map((column) => rows.reduce((sum, row) => sum + row[column], 0));
for (const [file, ...sizes] of [['file', 'raw', 'gzip', 'brotli'], ...rows, ['total', ...total]]) {
  const cells = sizes.map((size) => size.toLocaleString('en').padStart(12));
  console.log(file.padEnd(60) + cells.join(''));
}
