// Measuring in the page, `?bench`: on the CPU and on WebGPU, with a tiny model.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { Thimble, serving, tiny } from './page.mjs';

let site, browser;
before(async () => {
  site = await serve(dist, { intercept: serving({ 'tiny.gguf': tiny('q4_0') }) });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const open = (backend) => Thimble.open(browser, `${site.url}?bench&backend=${backend}&model=tiny.gguf&autoload`);

for (const [backend, name] of [['cpu', /CPU/], ['gpu', /WebGPU/]]) {
  test(`?bench measures on ${backend}: progress, a table, a copy`, async (t) => {
    const thimble = await open(backend);
    await thimble.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await thimble.untilReady();
    const report = await thimble.measure();
    assert.match(report.backend, name);
    assert.ok(report.bandwidth_gb_s > 0 && report.bytes_per_token > 0);
    assert.equal(report.dispatches_per_token > 0, backend === 'gpu');
    assert.ok(report.prefill.length > 0 && report.decode.length > 0 && report.ops.length > 0, JSON.stringify(report));

    const card = thimble.page.getByTestId('bench');
    for (const { op } of report.ops) assert.ok((await card.getByRole('rowheader', { name: op, exact: true }).count()) > 0, op);
    assert.equal(await card.getByRole('listitem').count(), report.left_out.length);
    await card.getByRole('table').last().scrollIntoViewIfNeeded();
    await thimble.shoot(`9-bench-${backend}`);
    await card.getByRole('button', { name: 'Copy' }).click();
    await card.getByRole('button', { name: 'Copied' }).waitFor();
    const copied = await thimble.page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.includes(report.backend) && copied.includes(report.ops[0].op), copied);
    t.diagnostic(copied);
    await thimble.ask('Hi');
    await thimble.untilAnswered();
    await thimble.close();
  });
}

test('measuring keeps questions out, and can be stopped', async () => {
  const thimble = await open('cpu');
  await thimble.untilReady();
  await thimble.question.fill('Hi');
  await thimble.page.getByRole('button', { name: 'Run' }).click();
  await thimble.page.getByTestId('bench-step').getByText(/memory|prompt|answer|linear/).waitFor();
  assert.ok(await thimble.send.isDisabled());
  await thimble.page.getByTestId('bench').getByRole('button', { name: 'Stop' }).click();
  await thimble.page.getByRole('button', { name: 'Run' }).waitFor();
  await thimble.question.press('Enter');
  await thimble.untilAnswered();
  await thimble.close();
});

test('without ?bench there are examples instead', async () => {
  const thimble = await Thimble.open(browser, `${site.url}?backend=cpu&model=tiny.gguf`);
  await thimble.page.getByRole('button', { name: 'Why is the sky blue?' }).waitFor();
  assert.equal(await thimble.page.getByTestId('bench').count(), 0);
  await thimble.close();
});
