// The page as a visitor uses it: every selector of the end-to-end tests is here.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { out } from './lib.mjs';

/** Random models of a few kB, which write nonsense at once. */
const TINY = fileURLToPath(new URL('../../models/tiny-llama-gguf', import.meta.url));

/** Always the likeliest token, so that texts can be compared. */
export const GREEDY = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 1 };

/** Bytes of a tiny model: 'q8_0', 'f16', … */
export function tiny(format = 'q8_0') {
  return fs.readFileSync(path.join(TINY, `tiny-${format}.gguf`));
}

/** A copy of a GGUF in which the text `from`, after `key`, is `to`; both of one length. */
export function patched(file, key, from, to) {
  const copy = Buffer.from(file);
  const at = copy.indexOf(from, copy.indexOf(key) + key.length);
  copy.write(to, at);
  return copy;
}

/** A copy of a GGUF in which fields of a matrix's entry are other numbers: `rows`, `type`, `offset`. */
export function mistold(file, name, { rows, type, offset }) {
  const copy = Buffer.from(file);
  // Behind the name: the number of dimensions (4 bytes), columns (8), rows (8), type (4), offset (8).
  const at = copy.indexOf(name) + name.length;
  if (rows !== undefined) copy.writeBigUInt64LE(BigInt(rows), at + 12);
  if (type !== undefined) copy.writeUInt32LE(type, at + 20);
  if (offset !== undefined) copy.writeBigUInt64LE(BigInt(offset), at + 24);
  return copy;
}

/** The files of a folder of models/, as a visitor picks them; `change(name, buffer)` may give other bytes. */
export function folder(name, change = (_, buffer) => buffer) {
  const place = fileURLToPath(new URL(`../../models/${name}`, import.meta.url));
  const names = fs.readdirSync(place).filter((file) => !file.endsWith('.md'));
  return names.map((file) => ({ name: file, buffer: change(file, fs.readFileSync(path.join(place, file))) }));
}

/** For `serve`: answers `/…/NAME` with `files[NAME]`, a Buffer or a function of request and response. */
export function serving(files) {
  return (request, response) => {
    const file = files[path.posix.basename(request.url.split('?')[0])];
    if (file === undefined) return false;
    if (typeof file === 'function') file(request, response);
    else response.writeHead(200, { 'content-length': file.length }).end(file);
    return true;
  };
}

export class Thimble {
  constructor(page) {
    this.page = page;
    this.problems = [];
    page.on('pageerror', (error) => this.problems.push(`error: ${error.message}`));
    page.on('console', (m) => {
      if (/panicked/.test(m.text())) this.problems.push(m.text());
    });
    this.question = page.getByRole('textbox', { name: 'Your message' });
    this.send = page.getByRole('button', { name: 'Send' });
    this.stopButton = page.getByRole('button', { name: 'Stop' });
    this.banner = page.getByTestId('banner');
    this.status = page.getByTestId('status');
    this.answers = page.getByTestId('answer');
    this.answerTexts = page.getByTestId('answer-text');
    this.loadButton = page.getByTestId('load').first();
    this.progress = page.getByTestId('progress');
    this.ready = page.getByTestId('backend');
  }

  /**
   * Opens the page in a tab of its own with empty storage. `settings` are laid over the defaults; `script` runs
   * before the page's own.
   */
  static async open(browser, url, { settings, script, width = 1024, height = 768 } = {}) {
    const context = await browser.newContext({ viewport: { width, height } });
    // A busy machine takes its time; a test that waits in vain still ends.
    context.setDefaultTimeout(120_000);
    const page = await context.newPage();
    if (settings) {
      await page.addInitScript((json) => localStorage.getItem('thimble.settings') ?? localStorage.setItem('thimble.settings', json), JSON.stringify(settings));
    }
    if (script) await page.addInitScript(script);
    const thimble = new Thimble(page);
    await page.goto(url);
    await thimble.question.waitFor();
    return thimble;
  }

  async close() {
    await this.page.context().close();
    assert.deepEqual(this.problems, [], 'no error and no panic reaches the page');
  }

  async load() {
    await this.loadButton.click();
    await this.untilReady();
  }

  /** Waits for a model; fails at once when a banner says why there will be none. */
  async untilReady(timeout = 300_000) {
    await this.ready.or(this.banner).first().waitFor({ timeout });
    if (await this.banner.isVisible()) assert.fail(await this.banner.innerText());
  }

  async openFiles(...files) {
    await this.page.getByTestId('files').setInputFiles(files.map((f) => ({ mimeType: 'application/octet-stream', ...f })));
  }

  async ask(text) {
    await this.question.fill(text);
    await this.question.press('Enter');
  }

  /** Waits for the end of the answer; resolves to its text. */
  async untilAnswered(timeout = 300_000) {
    await this.send.waitFor({ timeout });
    return this.lastText();
  }

  async lastText() {
    return (await this.answerTexts.last().innerText()).trim();
  }

  /** The lengths that the growing answer has, frame by frame, until it is longer than `length`. */
  async watchGrow(length, timeout = 120_000) {
    const seen = this.page.evaluate(
      ({ length, timeout }) =>
        new Promise((resolve, reject) => {
          const lengths = [];
          const end = performance.now() + timeout;
          const look = () => {
            const all = document.querySelectorAll('[data-testid=answer-text]');
            const n = all[all.length - 1]?.textContent.length ?? 0;
            if (n !== (lengths.at(-1) ?? 0)) lengths.push(n);
            if (n > length) resolve(lengths);
            else if (performance.now() > end) reject(new Error(`the answer grew only so far: ${lengths}`));
            else requestAnimationFrame(look);
          };
          look();
        }),
      { length, timeout },
    );
    return seen;
  }

  async stop() {
    await this.stopButton.click();
    await this.send.waitFor();
  }

  /** Measures the model's speed, on a page with `?bench`; resolves to the figures. */
  async measure(timeout = 300_000) {
    await this.page.getByRole('button', { name: 'Run' }).click();
    const report = this.page.getByTestId('bench-report');
    await report.or(this.banner).first().waitFor({ timeout });
    if (await this.banner.isVisible()) assert.fail(await this.banner.innerText());
    return JSON.parse(await report.getAttribute('data-report'));
  }

  async newChat() {
    await this.page.getByRole('button', { name: 'New chat' }).click();
  }

  async openSettings() {
    await this.page.getByRole('button', { name: 'Settings' }).click();
    return this.page.getByTestId('settings');
  }

  async closeSettings() {
    await this.page.keyboard.press('Escape');
    await this.page.getByTestId('settings').waitFor({ state: 'hidden' });
  }

  /** From now on the UI thread is watched. Not before: it draws every frame then, which takes a processor's time. */
  async startWatch() {
    await this.page.evaluate(watchTheThread);
  }

  /** `{ longest, gap, frames }` in ms since `startWatch`: the longest task and pause between frames. */
  async endWatch() {
    return this.page.evaluate(() => window.thread.report());
  }

  /** Screenshots at 360 px and 1,600 px, light and dark, into web/e2e/out. */
  async shoot(name) {
    fs.mkdirSync(out, { recursive: true });
    const before = this.page.viewportSize();
    for (const [width, height] of [[360, 740], [1600, 1000]]) {
      await this.page.setViewportSize({ width, height });
      for (const colorScheme of ['light', 'dark']) {
        await this.page.emulateMedia({ colorScheme });
        const wide = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} at ${width} px: nothing sticks out sideways (${wide} px)`);
        await this.page.screenshot({ path: path.join(out, `${name}-${width}-${colorScheme}.png`) });
      }
    }
    await this.page.emulateMedia({ colorScheme: null });
    await this.page.setViewportSize(before);
  }
}

/** Runs in the page: records tasks of over 50 ms, and the pauses between frames. */
function watchTheThread() {
  const tasks = [];
  let gap = 0;
  let frames = 0;
  let last = performance.now();
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)));
  observer.observe({ type: 'longtask' });
  const frame = (now) => {
    gap = Math.max(gap, now - last);
    last = now;
    frames += 1;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.thread = {
    report() {
      tasks.push(...observer.takeRecords().map((e) => e.duration));
      return { longest: Math.max(0, ...tasks), gap: Math.round(gap), frames };
    },
  };
}
