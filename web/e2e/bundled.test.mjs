// The model that comes with the page: there at the first visit, and from then on without a network.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble } from './page.mjs';

/** All that a first visit may fetch, uncompressed. */
const MOST_BYTES = 14e6;
const settings = { sampling: GREEDY, max_tokens: 24 };
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** A copy of the page without the models that do not come with it, to be changed at will. */
function copyOfPage() {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'thimble-page-'));
  fs.cpSync(dist, root, { recursive: true, filter: (file) => !file.endsWith('.gguf') });
  return root;
}

/** Changes a file of the page. */
function edit(root, name, change) {
  const file = path.join(root, name);
  const old = fs.readFileSync(file, 'utf8');
  const text = change(old);
  assert.notEqual(text, old, `${name} changes`);
  fs.writeFileSync(file, text);
}

/** Waits until the service worker of this build keeps the page; without a build, any. Resolves to the names of what it keeps. */
async function untilKept(thimble, build = '') {
  await thimble.page.waitForFunction(async (build) => {
    const { active } = await navigator.serviceWorker.ready;
    const names = await caches.keys();
    return active.state === 'activated' && names.length === 1 && names[0].endsWith(build);
  }, build);
  return thimble.page.evaluate(async () => {
    const cache = await caches.open((await caches.keys())[0]);
    return (await cache.keys()).map(({ url }) => new URL(url).pathname.split('/').at(-1));
  });
}

/** Another visit in the same browser. */
async function visitAgain(thimble, url) {
  const page = await thimble.page.context().newPage();
  const next = new Thimble(page);
  await page.goto(url);
  await next.untilReady();
  return next;
}

/** The names of what is stored of models. */
function stored(thimble) {
  return thimble.page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const names = [];
    for await (const name of (await root.getDirectoryHandle('thimble-models')).keys()) names.push(name);
    return names.sort();
  });
}

test('a first visit chats at once and fetches little; the next needs no network', async (t) => {
  const sockets = new Set();
  const urls = [];
  const intercept = (request) => {
    sockets.add(request.socket);
    urls.push(request.url);
    return false;
  };
  // As GitHub Pages: a sub-path, no headers.
  const site = await serve(dist, { prefix: '/some/where/', headers: {}, intercept });
  const thimble = await Thimble.open(browser, site.url, { settings });
  await thimble.untilReady();
  assert.equal(await thimble.page.getByTestId('model-name').innerText(), 'Thimble');
  assert.match(await thimble.page.getByTestId('ready').innerText(), /very small model.*often wrong/);
  assert.equal(await thimble.page.getByTestId('found').count(), 0, 'its files leave nothing open');
  await thimble.shoot('13-bundled');
  const question = 'Hello! Who are you?';
  await thimble.page.getByRole('button', { name: question }).click();
  const text = await thimble.untilAnswered();
  assert.ok(text.length > 0);
  await thimble.shoot('14-bundled-answer');

  const kept = await untilKept(thimble);
  assert.ok(kept.includes('worker_bg.wasm') && !kept.some((name) => name.endsWith('.safetensors')), `${kept}`);
  const bytes = [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  t.diagnostic(`a first visit fetches ${(bytes / 1e6).toFixed(2)} MB in ${urls.length} requests`);
  assert.ok(bytes <= MOST_BYTES, `${bytes} bytes`);
  assert.ok(!urls.some((url) => url.includes('.gguf')));

  await site.close();
  await thimble.page.context().setOffline(true);
  const offline = await visitAgain(thimble, site.url);
  await offline.ask(question);
  assert.equal(await offline.untilAnswered(), text);
  await offline.close();
});

test('the offer: the small model first, each with its size and what to expect', async () => {
  const site = await serve(dist);
  const thimble = await Thimble.open(browser, `${site.url}?backend=cpu&autoload=0`);
  await thimble.loadButton.waitFor();
  const offers = await thimble.page.locator('.offer').allInnerTexts();
  assert.match(offers[0], /^Thimble\n+[\d.]+ [kM]B · .* · comes with this page\n+A very small model.*often wrong/);
  assert.match(offers[1], /^SmolLM2.*\n+98\.4 MB · Apache-2\.0 · downloaded once/);
  await thimble.shoot('1-start');
  await thimble.load();
  assert.equal(await thimble.page.getByTestId('model-name').innerText(), 'Thimble');
  await thimble.close();
  await site.close();
});

test('a new build takes the place of the old one, also of its model, and a silent network of neither', async () => {
  const root = copyOfPage();
  let isSilent = false;
  const site = await serve(root, { intercept: () => isSilent });
  const url = `${site.url}?backend=cpu`;
  const thimble = await Thimble.open(browser, url, { settings });
  await thimble.untilReady();
  const oldFiles = await untilKept(thimble);
  const oldModel = await stored(thimble);

  edit(root, 'index.html', (html) => html.replace('<title>Thimble</title>', '<title>New</title>'));
  edit(root, 'service-worker.js', (script) => {
    const [, build] = /const BUILD = '(\w+)'/.exec(script);
    return script.replaceAll(build, 'new');
  });
  edit(root, 'models/thimble/config.json', (json) => `${json}\n`);
  edit(root, 'models/catalog.json', (json) => {
    const catalog = JSON.parse(json);
    const config = catalog[0].files.find((file) => file.url.endsWith('/config.json'));
    config.bytes += 1;
    delete config.sha256;
    return JSON.stringify(catalog);
  });
  const online = await visitAgain(thimble, url);
  assert.equal(await online.page.title(), 'New', 'at once where there is a network');
  assert.deepEqual(await untilKept(online, 'new'), oldFiles);
  const newModel = await stored(online);
  assert.equal(newModel.length, oldModel.length, 'the old file is gone');
  assert.notDeepEqual(newModel, oldModel);

  isSilent = true;
  const late = await visitAgain(online, url);
  assert.equal(await late.page.title(), 'New');
  await late.ask('Hi');
  await late.untilAnswered();
  await late.close();
  await site.close();
  fs.rmSync(root, { recursive: true });
});
