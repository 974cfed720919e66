// What needs no real model: composer, settings, scrolling, themes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble, serving, tiny } from './page.mjs';

let site, browser;
before(async () => {
  site = await serve(dist, { intercept: serving({ 'tiny.gguf': tiny() }) });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const open = (options = {}) => Thimble.open(browser, `${site.url}?backend=cpu&model=tiny.gguf&autoload`, options);

test('Enter sends, Shift+Enter breaks the line, an unsent draft waits for the model', async () => {
  const thimble = await Thimble.open(browser, `${site.url}?autoload=0`);
  await thimble.question.fill('One');
  await thimble.question.press('Shift+Enter');
  await thimble.question.pressSequentially('two');
  assert.equal(await thimble.question.inputValue(), 'One\ntwo');
  assert.match(await thimble.status.innerText(), /Load a model/);
  assert.ok(await thimble.send.isDisabled());
  await thimble.question.press('Enter');
  assert.equal(await thimble.question.inputValue(), 'One\ntwo');

  await thimble.openFiles({ name: 'tiny.gguf', buffer: tiny() });
  await thimble.untilReady();
  await thimble.question.press('Enter');
  assert.equal(await thimble.question.inputValue(), '');
  assert.equal(await thimble.page.getByTestId('question').locator('p').innerText(), 'One\ntwo');
  await thimble.untilAnswered();
  await thimble.close();
});

test('the same seed gives the same answer, and a question can be edited', async () => {
  const sampling = { ...GREEDY, temperature: 1, seed: 7 };
  const thimble = await open({ settings: { sampling, max_tokens: 20 } });
  await thimble.untilReady();
  await thimble.ask('Hi');
  const first = await thimble.untilAnswered();
  await thimble.page.getByRole('button', { name: 'Answer again' }).click();
  await thimble.stopButton.or(thimble.send).first().waitFor();
  assert.equal(await thimble.untilAnswered(), first);
  await thimble.page.getByTestId('question').hover();
  await thimble.page.getByRole('button', { name: 'Edit this message' }).click();
  assert.equal(await thimble.question.inputValue(), 'Hi');
  assert.equal(await thimble.answers.count(), 0);
  await thimble.close();
});

test('settings are kept, and can be reset', async () => {
  const thimble = await open();
  await thimble.untilReady();
  let settings = await thimble.openSettings();
  await settings.getByLabel('System prompt').fill('Be brief.');
  await settings.getByLabel('Longest answer').fill('99');
  await settings.getByLabel('Temperature').fill('1.5');
  await settings.getByLabel('Seed').fill('42');
  await thimble.shoot('8-settings');
  await thimble.closeSettings();
  await thimble.page.reload();
  await thimble.untilReady();
  settings = await thimble.openSettings();
  assert.equal(await settings.getByLabel('System prompt').inputValue(), 'Be brief.');
  assert.equal(await settings.getByLabel('Longest answer').inputValue(), '99');
  assert.equal(await settings.getByLabel('Temperature').inputValue(), '1.5');
  assert.equal(await settings.getByLabel('Seed').inputValue(), '42');
  await settings.getByRole('button', { name: 'Reset settings' }).click();
  assert.equal(await settings.getByLabel('Longest answer').inputValue(), '512');
  assert.equal(await settings.getByLabel('Seed').inputValue(), '');
  await thimble.closeSettings();
  await thimble.close();
});

test('the theme follows the system until it is chosen, and is kept', async () => {
  const thimble = await open();
  const background = () => thimble.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await thimble.page.emulateMedia({ colorScheme: 'light' });
  const light = await background();
  await thimble.page.emulateMedia({ colorScheme: 'dark' });
  const dark = await background();
  assert.notEqual(light, dark);
  await thimble.page.getByRole('button', { name: /colours$/ }).click();
  assert.equal(await background(), light);
  await thimble.page.reload();
  assert.equal(await background(), light);
  await thimble.close();
});

test('the transcript follows its end unless the reader scrolls away', async () => {
  const thimble = await open({ settings: { sampling: { ...GREEDY, temperature: 1 }, max_tokens: 60 }, height: 480 });
  await thimble.untilReady();
  const main = thimble.page.locator('main');
  const below = () => main.evaluate((m) => m.scrollHeight - m.scrollTop - m.clientHeight);
  await thimble.ask(`Write much.${'\n!'.repeat(30)}`);
  await thimble.untilAnswered();
  assert.ok((await main.evaluate((m) => m.scrollHeight - m.clientHeight)) > 200, 'there is something to scroll');
  assert.ok((await below()) < 40, 'the end is in view');
  await main.evaluate((m) => m.scrollTo(0, 0));
  await thimble.page.getByRole('button', { name: 'Go to the end' }).waitFor();
  await thimble.page.getByRole('button', { name: 'Answer again' }).dispatchEvent('click');
  await thimble.stopButton.or(thimble.send).first().waitFor();
  await thimble.untilAnswered();
  assert.equal(await main.evaluate((m) => m.scrollTop), 0, 'the reader stays where they are');
  await thimble.page.getByRole('button', { name: 'Go to the end' }).click();
  assert.ok((await below()) < 40);
  await thimble.close();
});
