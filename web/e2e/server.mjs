// A static web server as plain as GitHub Pages: files, MIME types, byte ranges, any sub-path.
// `cargo xtask serve` runs it as a program; the end-to-end tests call serve().
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';

const ISOLATED = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
};

/**
 * Serves the folder `root` on 127.0.0.1 and resolves to `{ url, close }`.
 *
 * - `port`: 0 takes a free one.
 * - `prefix`: the path of the page, such as `/thimble/`; everything outside it is 404.
 * - `headers`: added to every answer; those that isolate the page, so that it may have threads, unless said otherwise.
 * - `intercept(request, response)`: may answer a request itself, by returning true: that is how a
 *   test loses the network or cuts a file short.
 */
export async function serve(root, { port = 0, prefix = '/', headers = ISOLATED, intercept } = {}) {
  const server = http.createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (intercept?.(request, response)) return;
    answer(root, prefix, request, response);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}${prefix}`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

function answer(root, prefix, request, response) {
  const { method } = request;
  if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405, `no ${method} here`);
  const file = fileOf(root, prefix, request.url);
  const stat = file && fs.statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) return refuse(response, 404, `there is no ${request.url}`);

  const headers = {
    'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream',
    'accept-ranges': 'bytes',
    // Asked for again at every visit: the page may have been built anew. What is still the same is not sent again, and
    // a browser that keeps a program's compiled code keeps it with the answer.
    'cache-control': 'no-cache',
    etag: `"${stat.size}-${stat.mtimeMs}"`,
  };
  if (request.headers['if-none-match'] === headers.etag) return response.writeHead(304, headers).end();
  const range = parseRange(request.headers.range, stat.size);
  if (range === null) {
    return refuse(response, 416, 'no such bytes', { 'content-range': `bytes */${stat.size}` });
  }
  const { start, end } = range ?? { start: 0, end: stat.size - 1 };
  headers['content-length'] = end - start + 1;
  if (range) headers['content-range'] = `bytes ${start}-${end}/${stat.size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (method === 'HEAD' || end < start) return response.end();
  // A visitor who goes away in the middle is no error.
  pipeline(fs.createReadStream(file, { start, end }), response, () => {});
}

function refuse(response, status, text, headers = {}) {
  response.writeHead(status, { 'content-type': TYPES['.txt'], ...headers }).end(`${text}\n`);
}

/** The file behind a request's URL, or null if the URL leaves the prefix or the root. */
export function fileOf(root, prefix, url) {
  let pathname;
  try {
    pathname = decodeURIComponent(url.split(/[?#]/, 1)[0]);
  } catch {
    return null;
  }
  if (!pathname.startsWith(prefix) || pathname.includes('\0')) return null;
  const inside = pathname.slice(prefix.length);
  const file = path.resolve(root, inside === '' || inside.endsWith('/') ? `${inside}index.html` : inside);
  return file.startsWith(path.resolve(root) + path.sep) ? file : null;
}

/**
 * The bytes `{ start, end }`, both included, that a Range header asks for; undefined if the whole
 * file is the answer (no header, several ranges, another unit); null if there are no such bytes.
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const last = Math.min(Number(match[2]), size);
    return last === 0 ? null : { start: size - last, end: size - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === '' ? size - 1 : Number(match[2]);
  if (end < start && match[2] !== '') return undefined;
  return start >= size ? null : { start, end: Math.min(end, size - 1) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [root, port] = process.argv.slice(2);
  serve(root, { port: Number(port) }).then(
    ({ url }) => console.log(`\nThimble is at ${url} (Ctrl-C ends it)`),
    (error) => {
      console.error(`error: ${error.message}`);
      process.exitCode = 1;
      process.stdin.destroy();
    },
  );
  // The starter holds the other end of standard input, and this server must not outlive it.
  process.stdin.resume().on('end', () => process.exit());
}
