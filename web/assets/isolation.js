// Threads share memory, which browsers allow only to a page that is isolated from others. The page says so by two
// headers, and static hosts let nobody set headers: this service worker adds them to what they send.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const isOurs = new URL(request.url).origin === self.location.origin;
  // Only these have the headers' rights; models and all else need not pass through here.
  if (!isOurs || !['document', 'worker'].includes(request.destination)) return;
  event.respondWith(fetch(request).then(isolated));
});

function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set('cross-origin-opener-policy', 'same-origin');
  headers.set('cross-origin-embedder-policy', 'require-corp');
  const { body, status, statusText } = response;
  return new Response(body, { status, statusText, headers });
}
