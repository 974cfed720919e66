// Prints the raw, gzip and brotli size in bytes of the files given as arguments. With --check it fails when a program
// has grown by more than a twentieth over what sizes.json, beside this file, says of it.
import fs from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const GROWTH = 1.05;
/** Gzipped bytes of each program's files, whose names begin with its name. */
const budget = JSON.parse(fs.readFileSync(new URL('sizes.json', import.meta.url)));

const files = process.argv.slice(2).filter((file) => file !== '--check');
const rows = files.map((file) => {
  const bytes = fs.readFileSync(file);
  // The strongest settings of both, which is what a host that compresses once uses.
  return [file, bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
});
const sum = (rows, column) => rows.reduce((sum, row) => sum + row[column], 0);
const total = [1, 2, 3].map((column) => sum(rows, column));
for (const [file, ...sizes] of [['file', 'raw', 'gzip', 'brotli'], ...rows, ['total', ...total]]) {
  const cells = sizes.map((size) => size.toLocaleString('en').padStart(12));
  console.log(file.padEnd(60) + cells.join(''));
}
/** The longest of the names that the file's begins with. */
const programOf = (file) => Object.keys(budget).filter((program) => file.startsWith(program)).sort((a, b) => b.length - a.length)[0];
const checked = process.argv.includes('--check') ? Object.entries(budget) : [];
for (const [program, allowed] of checked) {
  const size = sum(rows.filter(([file]) => programOf(path.basename(file)) === program), 2);
  if (size > allowed * GROWTH) {
    console.error(`${program} has ${size} bytes gzipped, and xtask/sizes.json allows ${allowed} and a twentieth more: make it smaller, or change that number and say why it is worth it`);
    process.exitCode = 1;
  }
}
