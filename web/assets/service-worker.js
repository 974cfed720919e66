// What a static host cannot do for the page: open it without a network, and isolate it from others.
//
// It keeps the page's own files; models are kept by the page (web/src/storage.rs). A page that comes from the network
// gets its files from there too, past this program, so that a browser uses the code that it has compiled before. A kept
// page gets kept files. Either way all are of one build.
//
// `cargo xtask` writes these two: a name for the build, and all files of the page with the addresses that it asks for
// them by. A new build is thus a new program, which browsers look for at each visit; it takes the place of this one, and
// its files of these, once it has all of them.
const BUILD = 'dev';
const FILES = ['./'];

/** Pages at other paths of the same host have theirs. */
const OURS = `thimble ${self.registration.scope} `;
const KEPT = OURS + BUILD;
/** So long the network may take to bring the page, before the kept one is shown. */
const PATIENCE_MS = 4000;

/** Whether the page that was opened last is the kept one. */
let isKept = false;

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(FILES)));
});

self.addEventListener('activate', (event) => event.waitUntil(Promise.all([self.clients.claim(), forgetOthers()])));

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (new URL(request.url).origin !== self.location.origin) return;
  // Only these two have the headers' rights.
  if (request.destination === 'document') event.respondWith(page(request).then(isolated));
  else if (request.destination === 'worker') event.respondWith(file(request).then(isolated));
  else if (isKept) event.respondWith(file(request));
});

async function page(request) {
  const kept = await find(request);
  isKept = false;
  if (!kept) return fetch(request);
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  const fetched = await Promise.race([fetch(request).catch(() => {}), late]);
  isKept = !fetched;
  return fetched ?? kept;
}

async function file(request) {
  const kept = await find(request);
  if (isKept && kept) return kept;
  return fetch(request).catch((error) => {
    if (!kept) throw error;
    // The network went after the page had come, or this program was ended in between and does not know.
    isKept = true;
    return kept;
  });
}

/** What comes after the question mark is a version, or for the page's own program. */
async function find(request) {
  const cache = await caches.open(KEPT);
  return cache.match(request, { ignoreSearch: true, ignoreVary: true });
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
