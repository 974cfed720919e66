// Which backend runs a model: the faster, tried out once for each model, unless the visitor chose.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble, serving, tiny } from './page.mjs';

let browser;
let site;
before(async () => {
  browser = await launch();
  site = await serve(dist, { intercept: serving({ 'tiny.gguf': tiny() }) });
});
after(() => Promise.all([browser?.close(), site?.close()]));

const open = (query) => Thimble.open(browser, `${site.url}?model=tiny.gguf&autoload${query}`, { settings: { sampling: GREEDY, max_tokens: 12 } });

test('a software GPU loses; the page says so, and by how much, and knows it at the next visit', async () => {
  const thimble = await open('');
  await thimble.untilReady();
  const why = thimble.page.getByTestId('why');
  const sentence = await why.innerText();
  assert.match(sentence, /^Runs on CPU .*: the CPU is [\d.]+x as fast here as WebGPU.*: [\d.]+ against [\d.]+ tokens per second\.$/);
  assert.match(await thimble.ready.innerText(), /CPU/);
  await thimble.shoot('12-race');
  await thimble.ask('Hi');
  const text = await thimble.untilAnswered();
  await thimble.page.reload();
  await thimble.untilReady();
  assert.equal(await why.innerText(), sentence, 'figures of a new race would be others');
  await thimble.ask('Hi');
  assert.equal(await thimble.untilAnswered(), text);
  await thimble.close();
});

for (const [backend, name] of [['gpu', /WebGPU/], ['cpu', /CPU/]]) {
  test(`?backend=${backend}: nothing is tried out`, async () => {
    const thimble = await open(`&backend=${backend}`);
    await thimble.untilReady();
    assert.match(await thimble.ready.innerText(), name);
    assert.equal(await thimble.page.getByTestId('why').count(), 0);
    await thimble.close();
  });
}
