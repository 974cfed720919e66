import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileOf, parseRange, serve } from './server.mjs';

test('range headers', () => {
  const cases = [
    // [header, size, answer]
    [undefined, 10, undefined],
    ['bytes=0-3', 10, { start: 0, end: 3 }],
    ['bytes=4-', 10, { start: 4, end: 9 }],
    ['bytes=-4', 10, { start: 6, end: 9 }],
    ['bytes=-40', 10, { start: 0, end: 9 }],
    ['bytes=9-99', 10, { start: 9, end: 9 }],
    ['bytes=10-', 10, null],
    ['bytes=-0', 10, null],
    ['bytes=0-', 0, null],
    ['bytes=-5', 0, null],
    ['bytes=3-2', 10, undefined],
    ['bytes=-', 10, undefined],
    ['bytes=0-1,4-5', 10, undefined],
    ['items=0-1', 10, undefined],
  ];
  for (const [header, size, answer] of cases) {
    assert.deepEqual(parseRange(header, size), answer, `${header} of ${size}`);
  }
});

test('URLs and files', () => {
  const file = (url, prefix = '/') => fileOf('/site', prefix, url);
  assert.equal(file('/'), '/site/index.html');
  assert.equal(file('/a/'), '/site/a/index.html');
  assert.equal(file('/worker.js?v=1'), '/site/worker.js');
  assert.equal(file('/a%20b.txt'), '/site/a b.txt');
  assert.equal(file('/x/a.js', '/x/'), '/site/a.js');
  assert.equal(file('/x/', '/x/'), '/site/index.html');
  assert.equal(file('/a.js', '/x/'), null);
  assert.equal(file('/../secret'), null);
  assert.equal(file('/%2e%2e/secret'), null);
  assert.equal(file('/..%2fsite2/a'), null);
  assert.equal(file('/%zz'), null);
  assert.equal(file('/a%00'), null);
});

let root;
let server;
before(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'thimble-server-'));
  fs.writeFileSync(path.join(root, 'index.html'), '<p>page</p>');
  fs.writeFileSync(path.join(root, 'a.wasm'), '0123456789');
  fs.writeFileSync(path.join(root, 'empty.json'), '');
  const intercept = (request, response) => {
    if (request.url !== '/x/lost') return false;
    response.destroy();
    return true;
  };
  server = await serve(root, { prefix: '/x/', headers: { 'x-test': 'yes' }, intercept });
});
after(async () => {
  await server.close();
  fs.rmSync(root, { recursive: true });
});

test('whole files', async () => {
  const page = await fetch(server.url);
  assert.equal(page.status, 200);
  assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(page.headers.get('x-test'), 'yes');
  assert.equal(await page.text(), '<p>page</p>');
  const empty = await fetch(`${server.url}empty.json`);
  assert.equal(empty.status, 200);
  assert.equal(await empty.text(), '');
});

test('parts of files', async () => {
  const part = await fetch(`${server.url}a.wasm`, { headers: { range: 'bytes=2-4' } });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), 'bytes 2-4/10');
  assert.equal(part.headers.get('content-type'), 'application/wasm');
  assert.equal(await part.text(), '234');
  const beyond = await fetch(`${server.url}a.wasm`, { headers: { range: 'bytes=10-' } });
  assert.equal(beyond.status, 416);
  assert.equal(beyond.headers.get('content-range'), 'bytes */10');
});

test('what a browser has already is not sent again, until it changes', async () => {
  const url = `${server.url}changing.txt`;
  const file = path.join(root, 'changing.txt');
  fs.writeFileSync(file, 'one');
  const { headers } = await fetch(url);
  const again = () => fetch(url, { headers: { 'if-none-match': headers.get('etag') } });
  const same = await again();
  assert.deepEqual([same.status, await same.text()], [304, '']);
  fs.writeFileSync(file, 'three');
  const changed = await again();
  assert.deepEqual([changed.status, await changed.text()], [200, 'three']);
});

test('a HEAD request tells the size', async () => {
  const head = await fetch(`${server.url}a.wasm`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), '10');
  assert.equal(head.headers.get('accept-ranges'), 'bytes');
  assert.equal(await head.text(), '');
});

test('what is not there', async () => {
  assert.equal((await fetch(`${server.url}b.wasm`)).status, 404);
  assert.equal((await fetch(new URL('/a.wasm', server.url))).status, 404);
  assert.equal((await fetch(server.url, { method: 'POST' })).status, 405);
  await assert.rejects(fetch(`${server.url}lost`));
  // fetch() itself would tidy this path up.
  const status = await new Promise((resolve, reject) => {
    const { port } = new URL(server.url);
    const request = http.get({ port, host: '127.0.0.1', path: '/x/../../etc/hostname' });
    request.on('error', reject).on('response', (r) => resolve(r.resume().statusCode));
  });
  assert.equal(status, 404);
});
