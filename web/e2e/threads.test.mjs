// Threads of the CPU backend: with them and without, on a host that isolates the page and on one that does not.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble, tiny } from './page.mjs';

let browser;
before(async () => {
  browser = await launch({ webgpu: false });
});
after(() => browser?.close());

/** What the page's own model writes on the page at `url`, and what the page says of its threads. */
async function answer(url, { where = browser, until } = {}) {
  const thimble = await Thimble.open(where, url, { settings: { sampling: GREEDY, max_tokens: 40 } });
  if (until) await thimble.page.waitForFunction(until);
  await thimble.untilReady();
  await thimble.ask('Hello');
  const text = await thimble.untilAnswered();
  const status = await thimble.status.innerText();
  const isIsolated = await thimble.page.evaluate(() => crossOriginIsolated);
  await thimble.close();
  const isRelaxed = status.includes('relaxed');
  return { text, isIsolated, isRelaxed, threads: Number(/(\d+) threads/.exec(status)?.[1] ?? 1) };
}

test('any number of threads and either worker write the same', async () => {
  const site = await serve(dist);
  try {
    const alone = await answer(`${site.url}?backend=cpu&threads=1&relaxed=no`);
    assert.deepEqual([alone.threads, alone.isRelaxed], [1, false]);
    assert.ok(alone.text.length > 0);
    for (const [relaxed, threads] of [['no', 2], ['no', 3], ['yes', 1], ['yes', 2]]) {
      const other = await answer(`${site.url}?backend=cpu&threads=${threads}&relaxed=${relaxed}`);
      assert.deepEqual(other, { ...alone, isIsolated: true, isRelaxed: relaxed === 'yes', threads });
    }
  } finally {
    await site.close();
  }
});

test('unasked, a model that gains from threads has half of the cores, and the small one that comes with the page has one', async () => {
  const cores = "Object.defineProperty(navigator, 'hardwareConcurrency', { value: 4 });";
  const site = await serve(dist, {
    intercept(request, response) {
      const [, loader] = /^\/(worker.*_loader\.js)/.exec(request.url) ?? [];
      if (!loader) return false;
      response.writeHead(200, { 'content-type': 'text/javascript' });
      response.end(cores + fs.readFileSync(path.join(dist, loader), 'utf8'));
      return true;
    },
  });
  try {
    assert.equal((await answer(`${site.url}?backend=cpu`)).threads, 1);
    const large = await answer(`${site.url}?backend=cpu&model=smollm2-135m-instruct&autoload`);
    assert.equal(large.threads, 2);
  } finally {
    await site.close();
  }
});

test('a host that sets no headers: a service worker isolates the page; without one there is one thread', async () => {
  const site = await serve(dist, { prefix: '/some/where/', headers: {} });
  try {
    const url = `${site.url}?backend=cpu&threads=2`;
    const isolated = await answer(url, { until: 'self.crossOriginIsolated' });
    assert.deepEqual([isolated.isIsolated, isolated.threads], [true, 2]);
    const blocking = { newContext: (options) => browser.newContext({ ...options, serviceWorkers: 'block' }) };
    const alone = await answer(url, { where: blocking });
    assert.deepEqual(alone, { ...isolated, isIsolated: false, threads: 1 });
  } finally {
    await site.close();
  }
});

test('the next model is multiplied by the same threads', async () => {
  const site = await serve(dist);
  try {
    const thimble = await Thimble.open(browser, `${site.url}?threads=2&autoload=0`, { settings: { sampling: GREEDY, max_tokens: 20 } });
    const texts = [];
    for (const format of ['q8_0', 'q4_0', 'q8_0']) {
      await thimble.openFiles({ name: `tiny-${format}.gguf`, buffer: tiny(format) });
      await thimble.untilReady();
      await thimble.ask('Hello');
      texts.push(await thimble.untilAnswered());
      assert.match(await thimble.status.innerText(), /2 threads/);
      await thimble.newChat();
      await thimble.page.getByRole('button', { name: 'Choose another model' }).click();
    }
    assert.equal(texts[0], texts[2]);
    await thimble.close();
  } finally {
    await site.close();
  }
});
