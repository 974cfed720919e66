// A hub of models with Hugging Face's URL scheme: lists of files by its API, and files that small ones come from
// itself and large ones, by a redirect, from a store on another origin.
import { createHash } from 'node:crypto';
import http from 'node:http';
import { parseRange } from './server.mjs';

/** Files of this kind lie in the store. */
const LARGE = /\.(safetensors|gguf|bin)$/;

/** What the public hub lets a page of another site see and do. */
const CORS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'X-Repo-Commit,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,Content-Range',
};

/**
 * Serves `repositories`: `{ 'owner/name': { files: { NAME: Buffer }, status, gated } }`. With `status`, such as 401,
 * a repository gives nothing but that. `intercept(request, response)` may answer requests to the store itself, by
 * returning true. Resolves to `{ url, requests, close }`; `requests` grows by `{ host: 'hub' | 'store', url, range }`.
 */
export async function serveHub(repositories, { cors = true, intercept } = {}) {
  const requests = [];
  const headers = cors ? CORS : {};
  const hub = await listen((request, response) => {
    requests.push({ host: 'hub', url: request.url, range: request.headers.range });
    answerHub(repositories, headers, store.url, request, response);
  });
  const store = await listen((request, response) => {
    requests.push({ host: 'store', url: request.url, range: request.headers.range });
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (intercept?.(request, response)) return;
    const [, repository, file] = /^\/([^/]+\/[^/]+)\/(.+)\?signature=/.exec(decodeURIComponent(request.url)) ?? [];
    sendFile(repositories[repository]?.files[file], request, response);
  });
  const close = () => Promise.all([hub.close(), store.close()]);
  return { url: hub.url, requests, close };
}

/** A commit that changes with the files, as a Git commit does. */
function commitOf(files) {
  const hash = createHash('sha1');
  for (const [name, bytes] of Object.entries(files)) hash.update(name).update(bytes);
  return hash.digest('hex');
}

function answerHub(repositories, headers, store, request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://hub');
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/([^/]+)$/.exec(pathname);
  const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
  const [, name, revision, path] = api ?? resolve ?? [];
  const repository = repositories[name];
  // The public hub does not say whether a repository is private or not there.
  if (!repository) return refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
  if (repository.status) return refuse(response, repository.status, 'Error', 'As the test wants it.');
  const commit = commitOf(repository.files);
  if (!['main', commit].includes(revision)) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  if (api) return sendList(name, repository, commit, searchParams.get('blobs') === 'true', response);
  if (repository.gated) return refuse(response, 401, 'GatedRepo', `Access to model ${name} is restricted.`);
  const file = decodeURIComponent(path);
  if (!(file in repository.files)) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
  response.setHeader('x-repo-commit', commit);
  if (!LARGE.test(file)) return sendFile(repository.files[file], request, response);
  response.writeHead(302, { location: `${store}/${name}/${encodeURIComponent(file)}?signature=0` }).end();
}

function sendList(id, { files, gated = false }, sha, blobs, response) {
  const siblings = Object.entries(files).map(([rfilename, bytes]) => {
    if (!blobs) return { rfilename };
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const lfs = LARGE.test(rfilename) ? { lfs: { sha256, size: bytes.length, pointerSize: 134 } } : {};
    return { rfilename, size: bytes.length, ...lfs };
  });
  const body = JSON.stringify({ id, modelId: id, sha, private: false, gated, tags: [], siblings });
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(body);
}

function sendFile(bytes, request, response) {
  if (!bytes) return response.writeHead(404).end();
  const range = parseRange(request.headers.range, bytes.length);
  if (range === null) return response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
  const { start, end } = range ?? { start: 0, end: bytes.length - 1 };
  const headers = { 'content-length': end - start + 1, 'accept-ranges': 'bytes' };
  if (range) headers['content-range'] = `bytes ${start}-${end}/${bytes.length}`;
  response.writeHead(range ? 206 : 200, headers).end(bytes.subarray(start, end + 1));
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json', 'x-error-code': code, 'x-error-message': message });
  response.end(JSON.stringify({ error: message }));
}

async function listen(answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}
