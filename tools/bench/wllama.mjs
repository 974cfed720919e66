// Thimble's page and wllama's in turn, in one Chromium: one line of JSON per answer, for
// `cargo xtask bench --peer wllama`. Arguments: rounds, new tokens, threads…
//
// Both are timed alike, on the page's thread: from sending the question to the first piece of text, and from there
// to the last. Every answer is the first of a page that was just opened.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { dist, launch, serve } from '../../web/e2e/lib.mjs';
import { GREEDY, Thimble } from '../../web/e2e/page.mjs';

const [rounds, n, ...threads] = process.argv.slice(2).map(Number);
const here = fileURLToPath(new URL('.', import.meta.url));
const prompt = fs.readFileSync(path.join(here, 'prompt.txt'), 'utf8').trim();
const id = 'smollm2-135m-instruct';
const catalog = JSON.parse(fs.readFileSync(path.join(dist, 'models/catalog.json'), 'utf8'));
const [{ url: model }] = catalog.find((model) => model.id === id).files;

const file = path.join(dist, model);
const ours = await serve(dist);
const theirs = await serve(here, {
  intercept(request, response) {
    if (request.url !== '/model.gguf') return false;
    response.writeHead(200, { 'content-length': fs.statSync(file).size });
    fs.createReadStream(file).pipe(response);
    return true;
  },
});
const browser = await launch({ webgpu: false });
try {
  for (let round = 0; round < rounds; round += 1) {
    for (const count of threads) {
      tell('thimble', await thimble(count));
      tell('peer', await wllama(count));
    }
  }
} finally {
  await browser.close();
  await ours.close();
  await theirs.close();
}

function tell(side, answer) {
  console.log(JSON.stringify({ side, ...answer }));
}

async function thimble(count) {
  const page = await Thimble.open(browser, `${ours.url}?backend=cpu&model=${id}&autoload&threads=${count}`, {
    settings: { sampling: GREEDY, max_tokens: n },
    script: hear,
  });
  await page.untilReady();
  await page.ask(prompt);
  await page.untilAnswered();
  const { sent, first, last, stats } = await page.page.evaluate(() => window.heard);
  const text = await page.lastText();
  await page.close();
  return { threads: count, n_prompt: stats.n_prompt, n_new: stats.n_generated, first_ms: first - sent, decode_ms: last - first, text };
}

/** Runs in the page before its own scripts: notes when the worker is asked, and when it tells of text. */
function hear() {
  const heard = (window.heard = {});
  const Native = window.Worker;
  window.Worker = class extends Native {
    constructor(...options) {
      super(...options);
      this.addEventListener('message', ({ data }) => {
        const event = JSON.parse(data);
        if (event.Text) {
          heard.last = performance.now();
          heard.first ??= heard.last;
        }
        if (event.Done) heard.stats = event.Done.stats;
      });
    }

    postMessage(message, ...rest) {
      if (JSON.parse(message[0]).Generate) heard.sent = performance.now();
      super.postMessage(message, ...rest);
    }
  };
}

async function wllama(count) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${theirs.url}wllama.html`);
  const answer = await page.evaluate((options) => window.answer(options), { model: '/model.gguf', threads: count, prompt, n });
  await context.close();
  if (answer.threads !== count) throw new Error(`wllama took ${answer.threads} threads, not ${count}`);
  return answer;
}
