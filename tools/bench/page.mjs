// The figures of the page itself, `?bench`: one line of JSON per run, for `cargo xtask bench`.
import { dist, launch, serve } from '../../web/e2e/lib.mjs';
import { Thimble } from '../../web/e2e/page.mjs';

const RUNS = [
  ['wasm, 1 thread', 'backend=cpu&threads=1'],
  ['wasm, 2 threads', 'backend=cpu&threads=2'],
  ['WebGPU', 'backend=gpu'],
];

// Threads need the two headers.
const headers = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const site = await serve(dist, { headers });
const browser = await launch({ adapter: 'any' });
try {
  for (const [name, query] of RUNS) {
    const thimble = await Thimble.open(browser, `${site.url}?bench&model=smollm2-135m-instruct&autoload&${query}`);
    await thimble.untilReady();
    const report = await thimble.measure(600_000);
    console.log(JSON.stringify({ name, report }));
    await thimble.close();
  }
} finally {
  await browser.close();
  await site.close();
}
