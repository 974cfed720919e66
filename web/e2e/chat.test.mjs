// A model of 135 M parameters in the built page: on the CPU, then on WebGPU.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble } from './page.mjs';

const MODEL = 'model=smollm2-135m-instruct';
const QUESTION = 'What is the capital of France?';
let site, browser;
before(async () => {
  // From a sub-path, as on GitHub Pages.
  site = await serve(dist, { prefix: '/some/where/' });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

/** The CPU's greedy answer, for comparison. */
let cpuText;

test('CPU: load, ask, stream, stop, ask again, new chat', async (t) => {
  const thimble = await Thimble.open(browser, `${site.url}?backend=cpu&${MODEL}`, {
    settings: { sampling: GREEDY, max_tokens: 400 },
  });
  await thimble.loadButton.waitFor();
  await thimble.load();
  assert.match(await thimble.ready.innerText(), /CPU/);
  await thimble.shoot('3-ready');

  await thimble.ask(QUESTION);
  await thimble.watchGrow(0);
  cpuText = await thimble.untilAnswered();
  t.diagnostic(`${QUESTION} → ${JSON.stringify(cpuText)}`);
  assert.match(cpuText, /Paris/);
  t.diagnostic(`status: ${await thimble.status.innerText()}`);
  assert.match(await thimble.status.innerText(), /tokens\/s[^]*first token[^]*context \d+ \/ 2,048/);

  await thimble.newChat();
  assert.equal(await thimble.answers.count(), 0);
  await thimble.ask('Write a long story about a tailor and her thimble.');
  await thimble.watchGrow(0);
  await thimble.startWatch();
  // Some seconds, on the fastest of machines as well: the page shows pieces as often as screens are drawn, and no oftener.
  const lengths = await thimble.watchGrow(500);
  const watched = await thimble.endWatch();
  t.diagnostic(`UI thread while streaming: longest task ${watched.longest} ms, longest pause between frames ${watched.gap} ms, ${watched.frames} frames`);
  assert.ok(watched.longest <= 100, `the UI thread was blocked for ${watched.longest} ms`);
  assert.ok(lengths.length >= 8, `the text came in many pieces, not in ${lengths.length}`);
  await thimble.shoot('4-streaming');
  await thimble.stop();
  const stopped = await thimble.lastText();
  assert.ok(stopped.length > 150, 'the text stays');
  assert.match(await thimble.answers.last().innerText(), /Stopped/);

  await thimble.ask('Give it a title.');
  await thimble.watchGrow(0);
  await thimble.untilAnswered();
  assert.equal(await thimble.answers.count(), 2);
  assert.ok((await thimble.answerTexts.first().innerText()).trim().startsWith(stopped.slice(0, 100)));
  await thimble.shoot('5-answered');
  await thimble.newChat();
  assert.equal(await thimble.answers.count(), 0);
  await thimble.close();
});

test('WebGPU: load, ask, stream, stop, ask again, new chat; the same text as the CPU', async (t) => {
  // A software adapter writes a few tokens per second.
  const thimble = await Thimble.open(browser, `${site.url}?backend=gpu&${MODEL}`, {
    settings: { sampling: GREEDY, max_tokens: 7 },
  });
  await thimble.load();
  assert.match(await thimble.ready.innerText(), /WebGPU/);

  await thimble.ask(QUESTION);
  await thimble.watchGrow(0);
  const text = await thimble.untilAnswered();
  t.diagnostic(`${QUESTION} → ${JSON.stringify(text)}; status: ${await thimble.status.innerText()}`);
  assert.ok(text.length > 10 && cpuText.startsWith(text), `${text} begins ${cpuText}`);

  const settings = await thimble.openSettings();
  await settings.getByLabel('Longest answer').fill('60');
  await thimble.closeSettings();
  await thimble.ask('And of Italy?');
  await thimble.watchGrow(1);
  await thimble.stop();
  assert.equal(await thimble.answers.count(), 2);
  assert.ok((await thimble.lastText()).length > 1, 'the text stays');

  await thimble.newChat();
  assert.equal(await thimble.answers.count(), 0);
  await thimble.ask('Hi');
  await thimble.watchGrow(1);
  await thimble.stop();
  await thimble.close();
});
