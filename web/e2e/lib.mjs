// What every end-to-end test needs: the built page, a web server for it, and a browser.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export { serve } from './server.mjs';

/** The page that `cargo xtask dist` has built. */
export const dist = fileURLToPath(new URL('../../dist', import.meta.url));

/** Where tests write screenshots and the like; git ignores it. */
export const out = fileURLToPath(new URL('./out', import.meta.url));

const BASE = [
  // Chromium's sandbox does not start as root or in most containers, and the page is our own.
  '--no-sandbox',
  // Containers have little shared memory.
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const WEBGPU = ['--enable-unsafe-webgpu', '--enable-features=Vulkan'];
// On every machine, with or without a GPU, so that results are the same.
const SOFTWARE = '--use-webgpu-adapter=swiftshader';

/**
 * Starts Chromium without a window. Without `webgpu` the page finds no adapter; with `adapter: 'any'` it finds the
 * machine's own, where there is one. `args` are more command-line switches. The caller closes the browser.
 */
export function launch({ webgpu = true, adapter = 'software', args = [] } = {}) {
  const gpu = adapter === 'software' ? [...WEBGPU, SOFTWARE] : WEBGPU;
  return chromium.launch({
    executablePath: executable(),
    headless: true,
    args: [...BASE, ...(webgpu ? gpu : ['--disable-features=WebGPU']), ...args],
  });
}

/** Chromium as `cargo xtask` found it, or the one on PATH. */
function executable() {
  if (process.env.THIMBLE_CHROMIUM) return process.env.THIMBLE_CHROMIUM;
  const dirs = (process.env.PATH ?? '').split(path.delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const found = names.flatMap((name) => dirs.map((dir) => path.join(dir, name))).find((file) => fs.existsSync(file));
  if (!found) throw new Error('no Chromium on PATH: run `cargo xtask setup` or set THIMBLE_CHROMIUM');
  return found;
}
