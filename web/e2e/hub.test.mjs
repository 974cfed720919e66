// A repository of the hub: by its name, by its address, from this device, and everything that can be wrong with it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { serveHub } from './hub-server.mjs';
import { dist, launch, out, serve } from './lib.mjs';
import { GREEDY, Thimble, folder, serving, tiny } from './page.mjs';

const DRAFT = 'A question that must not get lost';
const NAME = 'tiny/sharded';
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const settings = { sampling: GREEDY, max_tokens: 12, backend: 'cpu' };
let browser;
before(async () => {
  browser = await launch();
});
after(async () => {
  await browser?.close();
});

/** Two shards and what a hub has beside them. */
function sharded() {
  const folder = new URL('../../models/tiny-llama-sharded/', import.meta.url);
  const files = Object.fromEntries(fs.readdirSync(folder).map((name) => [name, fs.readFileSync(new URL(name, folder))]));
  const others = ['.gitattributes', 'README.md', 'onnx/model.onnx', 'optimizer.bin', 'tf_model.h5'];
  return { files: { ...files, ...Object.fromEntries(others.map((name) => [name, Buffer.from('not wanted')])) } };
}

/** Runs `body(thimble, hub)` on a page of its own without models of its own, whose hub has `repositories`. */
async function withHub({ repositories = { [NAME]: sharded() }, query = '', sampling = GREEDY, cors, intercept }, body) {
  const hub = await serveHub(repositories, { cors, intercept });
  const site = await serve(dist, { intercept: serving({ 'catalog.json': Buffer.from('[]') }) });
  const thimble = await Thimble.open(browser, `${site.url}?hub=${encodeURIComponent(hub.url)}${query}`, { settings: { ...settings, sampling } });
  try {
    await thimble.question.fill(DRAFT);
    await body(thimble, hub);
    assert.equal(await thimble.question.inputValue(), DRAFT, 'the draft stays');
    await thimble.close();
  } finally {
    await Promise.all([site.close(), hub.close()]);
  }
}

const field = (thimble) => thimble.page.getByLabel('From Hugging Face');

async function typeIn(thimble, text) {
  await field(thimble).fill(text);
  await field(thimble).press('Enter');
}

async function answers(thimble) {
  await thimble.ask('Hi');
  await thimble.untilAnswered();
  assert.equal(await thimble.answers.count(), 1);
  await thimble.question.fill(DRAFT);
}

test('a sharded repository opens by its name, answers, and opens again without the hub', () =>
  withHub({}, async (thimble, hub) => {
    await thimble.shoot('hub-1-start');
    await thimble.page.setViewportSize({ width: 360, height: 740 });
    await thimble.page.locator('main').evaluate((main) => main.scrollTo(0, main.scrollHeight));
    await thimble.page.screenshot({ path: path.join(out, 'hub-1-form-360.png') });
    await thimble.page.setViewportSize({ width: 1024, height: 768 });
    await typeIn(thimble, ` ${NAME} `);
    await thimble.untilReady();
    assert.equal(await thimble.page.getByTestId('model-name').innerText(), NAME);
    await thimble.shoot('hub-3-ready');
    await answers(thimble);

    const urls = hub.requests.map((r) => r.url.split('?')[0]);
    assert.equal(urls[0], `/api/models/${NAME}/revision/main`);
    const fetched = hub.requests.filter((r) => r.host === 'store').map((r) => r.url);
    assert.deepEqual(fetched, SHARDS.map((shard) => `/${NAME}/${shard}?signature=0`), 'weights come from the other origin');
    const small = urls.filter((url) => url.endsWith('.json')).map((url) => url.split('/').at(-1));
    assert.deepEqual(small.toSorted(), ['config.json', 'model.safetensors.index.json', 'tokenizer.json', 'tokenizer_config.json']);
    assert.equal(urls.length, 1 + 4 + 2 * 2, 'nothing else is fetched');

    await hub.close();
    await thimble.page.reload();
    // The model of the last visit loads by itself.
    await thimble.untilReady();
    await answers(thimble);
    await thimble.newChat();
    await thimble.page.getByRole('button', { name: 'Choose another model' }).click();
    const offer = thimble.page.locator('.offer', { hasText: NAME });
    assert.match(await offer.innerText(), /kB · stored on this device/);
    await offer.getByTestId('load').click();
    await thimble.untilReady();
    await answers(thimble);
  }));

test('a published model is talked to as its author recommends', () => {
  const files = Object.fromEntries(folder('tiny-ssmoelm').map(({ name, buffer }) => [name, buffer]));
  const repositories = { 'brulee-1/SSMoELM-it': { files }, 'brulee-1/SSMoELM-Base': { files } };
  return withHub({ repositories, sampling: {} }, async (thimble) => {
    await typeIn(thimble, 'brulee-1/SSMoELM-it');
    await thimble.untilReady();
    const card = thimble.page.getByTestId('ready');
    assert.doesNotMatch(await card.innerText(), /no chat template/);
    const settings = await thimble.openSettings();
    assert.match(await settings.innerText(), /as the model's author recommends/);
    assert.equal(await settings.getByLabel('Temperature').inputValue(), '0');
    assert.equal(await settings.getByLabel('Repetition penalty').inputValue(), '1.3');
    await thimble.shoot('8-recommended');
    await settings.getByLabel('Temperature').fill('0.5');
    await thimble.closeSettings();
    await answers(thimble);
    await thimble.newChat();
    await thimble.page.getByRole('button', { name: 'Choose another model' }).click();
    await typeIn(thimble, 'brulee-1/SSMoELM-Base');
    await thimble.untilReady();
    assert.match(await card.innerText(), /no chat template/);
    await thimble.openSettings();
    assert.equal(await settings.getByLabel('Temperature').inputValue(), '0.5', 'what the visitor wants stays');
    await thimble.closeSettings();
  });
});

test('the address names a repository; on this device it opens by itself', () =>
  withHub({ query: `&model=${NAME}&autoload` }, async (thimble, hub) => {
    await thimble.untilReady();
    await hub.close();
    const before = hub.requests.length;
    await thimble.page.goto(thimble.page.url().replace('&autoload', ''));
    await thimble.untilReady();
    assert.equal(hub.requests.length, before);
    assert.equal(await thimble.page.getByTestId('model-name').innerText(), NAME);
  }));

test('the address of a page on the hub can be pasted; another model can be chosen', () => {
  const ggufs = { files: { 'tiny-Q8_0.gguf': tiny('q8_0'), 'tiny-Q4_0.gguf': tiny('q4_0'), 'README.md': Buffer.from('#') } };
  return withHub({ repositories: { [NAME]: sharded(), 'tiny/ggufs': ggufs } }, async (thimble, hub) => {
    await typeIn(thimble, `${hub.url}/${NAME}/tree/main`);
    await thimble.untilReady();
    await thimble.page.getByRole('button', { name: 'Choose another model' }).click();
    assert.equal(await field(thimble).inputValue(), `${hub.url}/${NAME}/tree/main`);
    await typeIn(thimble, 'tiny/ggufs');
    await thimble.untilReady();
    assert.ok(hub.requests.some((r) => r.url.includes('/tiny-Q4_0.gguf')), 'the preferred format of two');
    assert.ok(!hub.requests.some((r) => r.url.includes('/tiny-Q8_0.gguf')));
  });
});

test('a torn shard: what came is kept, and "try again" goes on from there', () => {
  const repository = sharded();
  const half = repository.files[SHARDS[1]].length >> 1;
  let torn = false;
  const intercept = (request, response) => {
    if (torn || !request.url.includes(SHARDS[1])) return false;
    torn = true;
    const bytes = repository.files[SHARDS[1]];
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, half), () => setTimeout(() => response.destroy(), 300));
    return true;
  };
  return withHub({ repositories: { [NAME]: repository }, intercept }, async (thimble, hub) => {
    await typeIn(thimble, NAME);
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), /connection was lost after .* is kept/);
    assert.equal(await field(thimble).inputValue(), NAME);
    await thimble.page.getByRole('button', { name: 'Try again' }).click();
    await thimble.untilReady();
    const fetched = hub.requests.filter((r) => r.host === 'store').map((r) => [r.url.split(/[/?]/)[3], r.range]);
    assert.deepEqual(fetched, [[SHARDS[0], undefined], [SHARDS[1], undefined], [SHARDS[1], `bytes=${half}-`]]);
  });
});

test('progress counts all files together, and can be cancelled', () => {
  const repository = sharded();
  const total = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors.index.json', ...SHARDS]
    .map((name) => repository.files[name].length)
    .reduce((sum, n) => sum + n);
  const slowly = (request, response) => {
    const bytes = repository.files[SHARDS[0]];
    response.writeHead(200, { 'content-length': bytes.length });
    let at = 0;
    const timer = setInterval(() => response.write(bytes.subarray(at, (at += 500))), 100);
    response.on('close', () => clearInterval(timer));
    return true;
  };
  return withHub({ repositories: { [NAME]: repository }, intercept: slowly }, async (thimble) => {
    await typeIn(thimble, NAME);
    const figures = thimble.page.getByTestId('progress-figures');
    await figures.getByText(/\/s$/).waitFor();
    const kB = Math.round(total / 1e3);
    assert.match(await figures.innerText(), new RegExp(`^\\d+ of ${kB} kB · \\d+ % · `));
    await thimble.shoot('hub-2-loading');
    await thimble.page.getByRole('button', { name: 'Cancel' }).click();
    await field(thimble).waitFor();
    assert.equal(await field(thimble).inputValue(), NAME);
    await thimble.page.waitForTimeout(300);
    assert.deepEqual(await thimble.banner.allInnerTexts(), []);
  });
});

test('a damaged file is not kept', () => {
  let requests = 0;
  const repository = sharded();
  const damaged = (request, response) => {
    if (!request.url.includes(SHARDS[0]) || ++requests > 1) return false;
    response.writeHead(200).end(Buffer.alloc(repository.files[SHARDS[0]].length));
    return true;
  };
  return withHub({ repositories: { [NAME]: repository }, intercept: damaged }, async (thimble) => {
    await typeIn(thimble, NAME);
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), /model-00001-of-00002\.safetensors arrived damaged: its SHA-256/);
    await thimble.page.getByRole('button', { name: 'Try again' }).click();
    await thimble.untilReady();
    assert.equal(requests, 2);
  });
});

const text = (s) => Buffer.from(s);
const unclear = { files: { 'a-Q4_K_M.gguf': tiny('q8_0'), 'b-Q5_K_S.gguf': tiny('f16') } };
const wrong = {
  'gpt2': [{}, /'gpt2' is not the name of a repository; write owner\/name/],
  'https://example.org/owner/name': [{}, /is no address on 127\.0\.0\.1/],
  'no/body': [{}, /has no repository no\/body that is open to everyone \(401\).*does not log in/],
  'so/secret': [{ 'so/secret': { files: {}, status: 403 } }, /has no repository so\/secret that is open to everyone \(403\)/],
  'tiny/sharded@v9': [{ [NAME]: sharded() }, /has no repository tiny\/sharded with the revision v9 \(404\)/],
  'so/busy': [{ 'so/busy': { files: {}, status: 503 } }, /answered 503 .*try again later/],
  'so/gated': [{ 'so/gated': { ...sharded(), gated: 'manual' } }, /so\/gated is gated: .* logged in/],
  'just/onnx': [
    { 'just/onnx': { files: { 'README.md': text('#'), 'config.json': text('{}'), 'onnx/model.onnx': text('x') } } },
    /just\/onnx has no weights that Thimble reads .*it has README\.md, config\.json, onnx\/model\.onnx/,
  ],
  'two/ggufs': [{ 'two/ggufs': unclear }, /two\/ggufs has several models: a-Q4_K_M\.gguf, b-Q5_K_S\.gguf\. Name .* two\/ggufs\/a-Q4_K_M\.gguf/],
};
for (const [name, [repositories, sentence]] of Object.entries(wrong)) {
  test(`what is wrong is said: ${name}`, () =>
    withHub({ repositories }, async (thimble) => {
      await typeIn(thimble, name);
      await thimble.banner.waitFor();
      assert.match(await thimble.banner.innerText(), sentence);
      assert.equal(await field(thimble).inputValue(), name);
      if (name === 'two/ggufs') {
        await thimble.shoot('hub-4-choice');
        await typeIn(thimble, 'two/ggufs/b-Q5_K_S.gguf');
        await thimble.untilReady();
      }
    }));
}

test('a hub that does not let the page read it, or is not there', async () => {
  const sentence = /list of files of tiny\/sharded on 127\.0\.0\.1.* could not be fetched .*check the network.*\(CORS\)/;
  await withHub({ cors: false }, async (thimble) => {
    await typeIn(thimble, NAME);
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), sentence);
  });
  await withHub({}, async (thimble, hub) => {
    await hub.close();
    await typeIn(thimble, NAME);
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), sentence);
    await thimble.openFiles({ name: 'tiny.gguf', buffer: tiny() });
    await thimble.untilReady();
  });
});
