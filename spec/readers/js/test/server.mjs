// A loopback server that answers ranges, and counts what it is asked for.

import { createServer } from "node:http";

const TYPES = { html: "text/html", mjs: "text/javascript", js: "text/javascript", wasm: "application/wasm" };

/**
 * Start a server.
 * @param {(path: string) => Promise<Uint8Array | undefined> | Uint8Array | undefined} find gives the bytes of a path
 */
export async function startServer(find) {
  const counts = { requests: 0, bytes: 0, paths: [] };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://loopback").pathname).slice(1);
    const bytes = await find(path);
    counts.requests++;
    counts.paths.push(path);
    if (bytes === undefined) {
      response.writeHead(404).end();
      return;
    }
    const headers = { "Accept-Ranges": "bytes", "Content-Type": TYPES[path.split(".").pop()] ?? "application/octet-stream" };
    const range = /^bytes=([0-9]*)-([0-9]*)$/.exec(request.headers.range ?? "");
    if (range === null) {
      response.writeHead(200, { ...headers, "Content-Length": bytes.length });
      if (request.method !== "HEAD") counts.bytes += bytes.length;
      response.end(request.method === "HEAD" ? undefined : bytes);
      return;
    }
    const first = range[1] === "" ? Math.max(0, bytes.length - Number(range[2])) : Number(range[1]);
    const last = range[1] === "" || range[2] === "" ? bytes.length - 1 : Math.min(bytes.length - 1, Number(range[2]));
    if (first >= bytes.length) {
      response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
      return;
    }
    const part = bytes.subarray(first, last + 1);
    counts.bytes += part.length;
    response.writeHead(206, {
      ...headers, "Content-Length": part.length, "Content-Range": `bytes ${first}-${last}/${bytes.length}`,
    });
    response.end(part);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    counts,
    reset: () => Object.assign(counts, { requests: 0, bytes: 0, paths: [] }),
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
