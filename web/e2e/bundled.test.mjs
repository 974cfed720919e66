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

/** Waits until this build of the page is kept, and no other; without a build, any. Resolves to the names of its files. */
function untilKept(thimble, build = '') {
  return thimble.page.evaluate(async (build) => {
    const end = performance.now() + 120_000;
    for (;;) {
      const { active } = await navigator.serviceWorker.ready;
      const names = await caches.keys();
      if (active.state === 'activated' && names.length === 1 && names[0].endsWith(build)) {
        const files = await (await caches.open(names[0])).keys();
        return files.map(({ url }) => new URL(url).pathname.split('/').at(-1));
      }
      if (performance.now() > end) throw new Error(`kept is ${names}, by a service worker that is ${active.state}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }, build);
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
  assert.equal(await thimble.page.getByTestId('ready').getByRole('heading').innerText(), 'Thimble');
  assert.match(await thimble.page.getByTestId('ready').innerText(), /very small model.*often wrong/);
  assert.equal(await thimble.page.getByTestId('found').count(), 0, 'its files leave nothing open');
  await thimble.shoot('13-bundled');
  const question = 'Hello! Who are you?';
  await thimble.page.getByRole('button', { name: question }).click();
  const text = await thimble.untilAnswered();
  assert.ok(text.length > 0);
  await thimble.shoot('14-bundled-answer');

  const kept = await untilKept(thimble);
  // One of the two, whichever this machine is fast with.
  assert.equal(kept.filter((name) => /^worker(-relaxed)?_bg\.wasm$/.test(name)).length, 1, `${kept}`);
  assert.ok(!kept.some((name) => name.endsWith('.safetensors')), `${kept}`);
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
  assert.equal(await thimble.page.getByTestId('ready').getByRole('heading').innerText(), 'Thimble');
  await thimble.close();
  await site.close();
});

test('a new build takes the place of the old one with its model, and a silent network of neither', async () => {
  const root = copyOfPage();
  let brings = 'all';
  const intercept = (request, response) => {
    if (brings === 'all') return false;
    const isProgram = request.url.includes('/service-worker.js');
    // Asked for in the background, where one that hangs keeps later ones waiting.
    if (isProgram) response.destroy();
    return isProgram || brings === 'nothing';
  };
  const site = await serve(root, { intercept });
  const url = `${site.url}?backend=cpu`;
  const thimble = await Thimble.open(browser, url, { settings });
  await thimble.untilReady();
  const oldFiles = await untilKept(thimble);
  const oldModel = await stored(thimble);
  const answers = async (title) => {
    const next = await visitAgain(thimble, url);
    assert.equal(await next.page.title(), title);
    await next.ask('Hi');
    await next.untilAnswered();
    return next;
  };

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
  // At once where there is a network, also for a visitor who leaves before the new build is kept.
  brings = 'no service worker';
  await answers('New');
  brings = 'nothing';
  await answers('Thimble');

  brings = 'all';
  const online = await answers('New');
  assert.deepEqual(await untilKept(online, 'new'), oldFiles);
  await answers('New');
  const newModel = await stored(online);
  assert.equal(newModel.length, oldModel.length, 'the old file is gone');
  assert.notDeepEqual(newModel, oldModel);
  brings = 'nothing';
  await answers('New');
  await thimble.close();
  await site.close();
  fs.rmSync(root, { recursive: true });
});
