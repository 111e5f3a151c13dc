// The reader in a browser: stores and data files by URL.

import * as core from "./src/index.mjs";

export * from "./src/index.mjs";

const PACKAGE = new URL("./node_modules/@bokuweb/zstd-wasm/dist/esm/", import.meta.url);
let loading;

/**
 * Load the decoder of zstd, once.
 * @param {string | URL} [base] the folder `dist/esm/` of @bokuweb/zstd-wasm, where it does not lie beside this file
 */
export function loadZstd(base = PACKAGE) {
  loading ??= load(new URL(base, globalThis.location?.href));
  loading.catch(() => (loading = undefined));
  return loading;
}

async function load(base) {
  const [{ Module }, answer] = await Promise.all([import(new URL("zstd.js", base)), fetch(new URL("zstd.wasm", base))]);
  if (!answer.ok) throw new Error(`${answer.url}: status ${answer.status}`);
  return core.startZstd(Module, new Uint8Array(await answer.arrayBuffer()));
}

/** Open a data file behind a source. */
export async function openFile(source, options = {}) {
  return core.openFile(source, { ...options, zstd: options.zstd ?? await loadZstd(options.zstdUrl) });
}

/** Open a store in a folder. */
export async function openStore(folder, options = {}) {
  return core.openStore(folder, { ...options, zstd: options.zstd ?? await loadZstd(options.zstdUrl) });
}

/**
 * Open a store or a .tok file by its URL.
 * @param {string | URL} url relative to the page
 * @param {object} [options] `version`, `headers` and `fetch` for requests, `zstdUrl` as for loadZstd
 */
export async function open(url, options = {}) {
  const zstd = options.zstd ?? await loadZstd(options.zstdUrl);
  return core.openUrl(new URL(url, globalThis.location?.href), { ...options, zstd });
}
