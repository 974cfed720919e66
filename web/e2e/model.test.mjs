// Getting a model: progress, cancel, resume, storage, files, and everything that can be wrong with it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dist, launch, serve } from './lib.mjs';
import { GREEDY, Thimble, folder, mistold, patched, serving, tiny } from './page.mjs';

const DRAFT = 'A question that must not get lost';
const settings = { sampling: GREEDY, max_tokens: 12, backend: 'cpu' };
let browser;
before(async () => {
  browser = await launch();
});
after(async () => {
  await browser?.close();
});

/** Runs `body(thimble, site)` on a page of its own, which loads nothing unasked; `files` are served beside it. */
async function withPage({ files = {}, query = '?autoload=0', in: where = browser, ...options }, body) {
  const site = await serve(dist, { intercept: serving(files) });
  const thimble = await Thimble.open(where, `${site.url}${query}`, { settings, ...options });
  try {
    await body(thimble, site);
    await thimble.close();
  } finally {
    await site.close();
  }
}

/** The banner says `sentence`, the draft is there, and the page still answers with a good model. */
async function staysUsable(thimble, sentence) {
  await thimble.banner.waitFor();
  assert.match(await thimble.banner.innerText(), sentence);
  assert.equal(await thimble.question.inputValue(), DRAFT);
  await thimble.openFiles({ name: 'tiny.gguf', buffer: tiny() });
  await thimble.ready.waitFor();
  assert.equal(await thimble.banner.count(), 0);
  await thimble.question.press('Enter');
  await thimble.untilAnswered();
  assert.equal(await thimble.answers.count(), 1);
}

test('a download shows bytes, share and speed, and can be cancelled', async () => {
  const size = 4_000_000;
  const slowly = (request, response) => {
    response.writeHead(200, { 'content-length': size });
    const timer = setInterval(() => response.write(Buffer.alloc(20_000)), 100);
    response.on('close', () => clearInterval(timer));
  };
  await withPage({ files: { 'slow.gguf': slowly }, query: '?model=slow.gguf&autoload' }, async (thimble) => {
    const figures = thimble.page.getByTestId('progress-figures');
    await figures.getByText(/\/s$/).waitFor();
    assert.match(await figures.innerText(), /^[\d.]+( [kM]B)? of 4\.0 MB · \d+ % · [\d.]+ [kM]B\/s$/);
    await thimble.shoot('2-loading');
    await thimble.page.getByRole('button', { name: 'Cancel' }).click();
    await thimble.loadButton.waitFor();
    // Nothing went wrong, and nothing comes late.
    await thimble.page.waitForTimeout(300);
    assert.deepEqual(await thimble.banner.allInnerTexts(), []);
  });
});

test('a lost network: what came is kept, and "try again" goes on from there', async () => {
  const model = tiny();
  const half = model.length >> 1;
  const ranges = [];
  const torn = (request, response) => {
    ranges.push(request.headers.range);
    if (ranges.length === 1) {
      response.writeHead(200, { 'content-length': model.length });
      response.write(model.subarray(0, half), () => setTimeout(() => response.destroy(), 300));
    } else {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range)[1]);
      const headers = { 'content-length': model.length - from, 'content-range': `bytes ${from}-${model.length - 1}/${model.length}` };
      response.writeHead(206, headers).end(model.subarray(from));
    }
  };
  await withPage({ files: { 'torn.gguf': torn }, query: '?model=torn.gguf' }, async (thimble) => {
    await thimble.question.fill(DRAFT);
    await thimble.loadButton.click();
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), /connection was lost after .* is kept/);
    await thimble.shoot('7-torn');
    await thimble.page.getByRole('button', { name: 'Try again' }).click();
    await thimble.untilReady();
    assert.deepEqual(ranges, [undefined, `bytes=${half}-`]);
    assert.equal(await thimble.question.inputValue(), DRAFT);
  });
});

test('a model that was loaded once opens without the network', async () => {
  let requests = 0;
  const counted = (request, response) => {
    requests += 1;
    const body = tiny();
    response.writeHead(200, { 'content-length': body.length }).end(body);
  };
  await withPage({ files: { 'kept.gguf': counted }, query: '?model=kept.gguf&autoload' }, async (thimble) => {
    await thimble.untilReady();
    await thimble.question.fill(DRAFT);
    await thimble.page.reload();
    await thimble.untilReady();
    assert.equal(requests, 1);
    assert.equal(await thimble.question.inputValue(), DRAFT, 'the draft outlives the page');
  });
});

// One of each family, and PyTorch's container; an author's folder as it is.
const folders = ['llama-gqa-tied', 'llama-bin', 'mixtral-v5', 'neo3', 'metis', 'ssmoelm-5l', 'mtlm1', 'moa-maha'];
for (const name of folders) {
  test(`files: the folder tiny-${name}`, async () => {
    await withPage({}, async (thimble) => {
      await thimble.openFiles(...folder(`tiny-${name}`));
      await thimble.untilReady();
      await thimble.ask('Hi');
      await thimble.untilAnswered();
      assert.equal(await thimble.answers.count(), 1);
    });
  });
}

test('files: what a file leaves open is found out, said, and kept', async () => {
  const files = folder('trained-mtlm1');
  await withPage({}, async (thimble) => {
    await thimble.openFiles(...files);
    await thimble.untilReady();
    const found = thimble.page.getByTestId('found');
    assert.match(await found.innerText(), /fits best: rope_interleaved = true \(\d\.\d\d nats per token\)/);
    await thimble.shoot('10-found');
    await thimble.page.getByRole('button', { name: 'Choose another model' }).click();
    await thimble.openFiles(...files);
    await thimble.untilReady();
    assert.equal(await found.count(), 0, 'known from the last time');
  });
});

test('settings: weights that come unpacked are packed as the visitor wants', () =>
  withPage({}, async (thimble) => {
    const sizes = [];
    const facts = thimble.page.getByTestId('ready');
    await thimble.openFiles(...folder('trained-mtlm1'));
    for (const choice of ['8 bits', '4 bits', 'As is']) {
      const settings = await thimble.openSettings();
      await settings.getByText(choice, { exact: true }).click();
      if (choice === '4 bits') await thimble.shoot('8-precision');
      await thimble.closeSettings();
      await thimble.untilReady();
      sizes.push(Number(/([\d.]+) [kM]B/.exec(await facts.innerText())[1]));
    }
    const [q8, q4, stored] = sizes;
    assert.ok(q4 < q8, `${sizes}`);
    assert.match(await facts.innerText(), /1\.\d MB/, `as is: ${stored}`);
    await thimble.ask('Once');
    await thimble.untilAnswered();
  }));

test('bad input: weights by other names are listed, what is missing and what is left over', () =>
  withPage({}, async (thimble) => {
    await thimble.question.fill(DRAFT);
    const rename = (name, buffer) => (name.endsWith('.safetensors') ? Buffer.from(buffer.toString('latin1').replaceAll('.mlp.', '.mpl.'), 'latin1') : buffer);
    await thimble.openFiles(...folder('tiny-llama-gqa-tied', rename));
    await thimble.banner.waitFor();
    await thimble.shoot('11-misfit');
    await staysUsable(thimble, /missing: model\.layers\.\*\.mlp\.up_proj\.weight \[\d+, \d+\], \d of them\n.*left over: model\.layers\.\*\.mpl\.down_proj/s);
  }));

const broken = {
  'a file that is no model': [Buffer.from('Dear diary, this is no model at all.'.repeat(9)), /broken\.gguf.*(magic|GGUF)/],
  'a truncated file': [tiny().subarray(0, 20_000), /broken\.gguf.*(end|short|trunc|outside|beyond|bytes)/],
  'an empty file': [Buffer.alloc(0), /broken\.gguf/],
  'an unknown architecture': [patched(tiny(), 'general.architecture', 'llama', 'camel'), /architecture is 'camel'.*knows: .*llama/],
  'an unknown quantisation': [mistold(tiny(), 'blk.0.attn_q.weight', { type: 99 }), /blk\.0\.attn_q\.weight.*99.*cannot read.*reads F32.*another quantisation/],
  'a tensor of the wrong shape': [mistold(tiny(), 'blk.0.attn_q.weight', { rows: 16 }), /blk\.0\.attn_q\.weight.*shape \[16, 32\].*\[32, 32\]/],
  'an offset that points outside the file': [mistold(tiny(), 'blk.0.attn_q.weight', { offset: 1 << 30 }), /ends at byte 43392.*blk\.0\.attn_q\.weight.*needs bytes up to/],
  'a broken template': [patched(tiny(), 'chat_template', 'endfor', 'endfro'), /chat template cannot be used.*endfro/],
};
for (const [what, [buffer, sentence]] of Object.entries(broken)) {
  test(`bad input: ${what}`, () =>
    withPage({}, async (thimble) => {
      await thimble.question.fill(DRAFT);
      await thimble.openFiles({ name: 'broken.gguf', buffer });
      await staysUsable(thimble, sentence);
    }));
}

test('bad input: a missing model', () =>
  withPage({ query: '?model=models/nowhere.gguf' }, async (thimble) => {
    await thimble.question.fill(DRAFT);
    await thimble.loadButton.click();
    await staysUsable(thimble, /nowhere\.gguf could not be downloaded.*404/);
  }));

test('bad input: a page instead of a model is not kept', async () => {
  let requests = 0;
  const page = (request, response) => {
    requests += 1;
    response.writeHead(200).end('<!doctype html><title>Welcome</title>');
  };
  await withPage({ files: { 'page.gguf': page }, query: '?model=page.gguf' }, async (thimble) => {
    await thimble.question.fill(DRAFT);
    await thimble.loadButton.click();
    await thimble.banner.waitFor();
    await thimble.page.getByRole('button', { name: 'Try again' }).click();
    await thimble.banner.waitFor();
    await staysUsable(thimble, /page\.gguf/);
    assert.equal(requests, 2);
  });
});

test('a full disk: the model is held in memory, and the page says so', async () => {
  const model = tiny();
  let goOn;
  const told = new Promise((resolve) => {
    goOn = resolve;
  });
  // The last bytes come when the page has said its sentence.
  const inTwo = (request, response) => {
    response.writeHead(200, { 'content-length': model.length });
    response.write(model.subarray(0, model.length - 100));
    told.then(() => response.end(model.subarray(model.length - 100)));
  };
  // Without the service worker: what it keeps would already be more than there is room for.
  const bare = { newContext: (options) => browser.newContext({ ...options, serviceWorkers: 'block' }) };
  await withPage({ files: { 'big.gguf': inTwo }, query: '?model=big.gguf', in: bare }, async (thimble) => {
    const devtools = await thimble.page.context().newCDPSession(thimble.page);
    const { origin } = new URL(thimble.page.url());
    await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 10_000 });
    await thimble.question.fill(DRAFT);
    await thimble.loadButton.click();
    await thimble.page.getByText('no room left on this device').waitFor();
    await thimble.shoot('8-no-room');
    goOn();
    await thimble.untilReady();
    await thimble.question.press('Enter');
    await thimble.untilAnswered();
    assert.equal(await thimble.answers.count(), 1);
  });
});

test('the GPU is lost in the middle of an answer: the text stays, and the CPU goes on', async () => {
  // A browser of its own: all its tabs share the process that dies here.
  const doomed = await launch();
  try {
    const files = { 'tiny.gguf': tiny() };
    const options = { settings: { sampling: GREEDY, max_tokens: 2000 }, in: doomed };
    await withPage({ files, query: '?backend=gpu&model=tiny.gguf&autoload', ...options }, async (thimble) => {
      await thimble.untilReady();
      await thimble.ask('Hi');
      await thimble.watchGrow(20);
      await thimble.question.fill(DRAFT);
      const devtools = await doomed.newBrowserCDPSession();
      await devtools.send('Browser.crashGpuProcess');
      await thimble.banner.waitFor();
      assert.match(await thimble.banner.innerText(), /The GPU stopped working/);
      assert.ok((await thimble.lastText()).length > 20, 'the text stays');
      assert.match(await thimble.answers.last().innerText(), /Broken off by an error/);
      assert.equal(await thimble.question.inputValue(), DRAFT);
      await thimble.shoot('9-gpu-lost');
      await thimble.page.getByRole('button', { name: 'Use the CPU' }).click();
      await thimble.untilReady();
      assert.match(await thimble.ready.innerText(), /CPU/);
    });
  } finally {
    await doomed.close();
  }
});

test('bad input: a catalog that is not there, or no catalog', async () => {
  const gone = (request, response) => response.writeHead(500).end();
  for (const file of [gone, Buffer.from('{"no":"list"}')]) {
    await withPage({ files: { 'catalog.json': file } }, async (thimble) => {
      const sentence = await thimble.page.getByTestId('no-catalog').innerText();
      assert.match(sentence, /list of models.*catalog\.json.*model file of your own/);
      await thimble.openFiles({ name: 'tiny.gguf', buffer: tiny() });
      await thimble.untilReady();
    });
  }
});

test('bad input: no WebGPU where it is asked for; the CPU is one click away', async () => {
  const bare = await launch({ webgpu: false });
  try {
    const files = { 'tiny.gguf': tiny() };
    await withPage({ files, query: '?backend=gpu&model=tiny.gguf', in: bare }, async (thimble) => {
      await thimble.question.fill(DRAFT);
      await thimble.loadButton.click();
      await thimble.banner.waitFor();
      assert.match(await thimble.banner.innerText(), /no usable GPU/i);
      await thimble.shoot('6-no-gpu');
      await thimble.page.getByRole('button', { name: 'Use the CPU' }).click();
      await thimble.untilReady();
      assert.match(await thimble.ready.innerText(), /CPU/);
      assert.equal(await thimble.question.inputValue(), DRAFT);
    });
    // Without being forced, the page takes the CPU by itself.
    await withPage({ files, query: '?backend=auto&model=tiny.gguf&autoload', in: bare }, async (thimble) => {
      await thimble.untilReady();
      assert.match(await thimble.ready.innerText(), /CPU/);
    });
  } finally {
    await bare.close();
  }
});

test('bad input: a worker that cannot be loaded', async () => {
  const gone = (request, response) => response.writeHead(404).end();
  await withPage({ files: { 'worker_loader.js': gone, 'worker-relaxed_loader.js': gone } }, async (thimble) => {
    await thimble.banner.waitFor();
    assert.match(await thimble.banner.innerText(), /engine stopped.*could not be loaded/);
    await thimble.question.fill(DRAFT);
    await thimble.page.getByRole('button', { name: 'Load the page again' }).click();
    await thimble.question.waitFor();
    assert.equal(await thimble.question.inputValue(), DRAFT);
  });
});
