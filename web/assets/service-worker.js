// What a static host cannot do for the page: open it without a network, and isolate it from others.
//
// It keeps the page's own files; models are kept by the page (web/src/storage.rs). `cargo xtask` writes the next two
// lines: a name for the build, and its files by the addresses that the page asks for. A new build is thus a new program,
// which browsers look for at each visit; once it has all its files, it takes the place of this one, and they of these.
const BUILD = 'dev';
const FILES = ['./'];

const { scope } = self.registration;
/** Pages at other paths of the same host have theirs. */
const OURS = `thimble ${scope} `;
const KEPT = OURS + BUILD;
/** Of the two workers the page has one (index.html), and says which as it registers this. */
const WORKER = new URL(self.location).searchParams.get('worker') ?? 'worker';
const files = FILES.filter((name) => !name.startsWith('worker') || name.startsWith(`${WORKER}.`) || name.startsWith(`${WORKER}_`));
const addresses = new Set(files.map((name) => new URL(name, scope).href));
const CATALOG = new URL('models/catalog.json', scope).href;
/** So long the network may take, before what is kept is shown. */
const PATIENCE_MS = 3000;

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(files)));
});

self.addEventListener('activate', (event) => event.waitUntil(Promise.all([self.clients.claim(), forgetOthers()])));

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { url, destination } = request;
  // Only these two have the headers' rights.
  if (destination === 'document') event.respondWith(newest(request).then(isolated));
  else if (destination === 'worker') event.respondWith(file(request).then(isolated));
  else if (url === CATALOG) event.respondWith(newest(request));
  else if (addresses.has(url)) event.respondWith(file(request));
});

/** What has one address in all builds. What comes after its question mark is for the page itself. */
async function newest(request) {
  const kept = await find(request, { ignoreSearch: true });
  if (!kept) return fetch(request);
  // A request that hung on would keep later ones for the same address waiting.
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  return fetch(request, { signal: patience.signal })
    .catch(() => kept)
    .finally(() => clearTimeout(timer));
}

/** What has another address in each build. */
async function file(request) {
  return (await find(request, {})) ?? fetch(request);
}

async function find(request, options) {
  const cache = await caches.open(KEPT);
  return cache.match(request, { ignoreVary: true, ...options });
}

async function forgetOthers() {
  const names = await caches.keys();
  const others = names.filter((name) => name.startsWith(OURS) && name !== KEPT);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/** Threads share memory, which browsers allow only to a page that says by two headers that it is isolated. */
function isolated(response) {
  // A redirect cannot be copied, and needs no headers.
  if (response.type === 'opaqueredirect') return response;
  const headers = new Headers(response.headers);
  headers.set('cross-origin-opener-policy', 'same-origin');
  headers.set('cross-origin-embedder-policy', 'require-corp');
  const { body, status, statusText } = response;
  return new Response(body, { status, statusText, headers });
}
