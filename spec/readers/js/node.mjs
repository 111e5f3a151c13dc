// The reader in Node: stores and data files by path or URL.

import { open as openHandle, readFile, readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

import * as core from "./src/index.mjs";
import { missing } from "./src/source.mjs";

export * from "./src/index.mjs";

const require = createRequire(import.meta.url);
let loading;

/** Load the decoder of zstd, once. */
export function loadZstd() {
  loading ??= (async () => {
    const folder = path.dirname(require.resolve("@bokuweb/zstd-wasm"));
    return core.startZstd(require(path.join(folder, "zstd.js")).Module, await readFile(path.join(folder, "zstd.wasm")));
  })();
  return loading;
}

function isAbsent(error) {
  return error.code === "ENOENT" || error.code === "ENOTDIR";
}

/** A file, opened for each range, so that nothing has to be closed. */
export class FileSource {
  constructor(file) {
    this.file = file;
  }

  async size() {
    return this.#with((handle) => handle.stat().then((found) => found.size));
  }

  async read(offset, length) {
    return this.#with(async (handle) => {
      const { size } = await handle.stat();
      const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
        if (bytesRead === 0) return bytes.subarray(0, filled);
        filled += bytesRead;
      }
      return bytes;
    });
  }

  async #with(work) {
    let handle;
    try {
      handle = await openHandle(this.file);
    } catch (error) {
      throw isAbsent(error) ? missing(this.file) : error;
    }
    try {
      return await work(handle);
    } finally {
      await handle.close();
    }
  }
}

/** A store in a local folder. */
export class FileFolder {
  constructor(folder) {
    this.folder = folder;
  }

  async source(name) {
    return new FileSource(path.join(this.folder, name));
  }

  /** The paths of the files below a folder such as "manifests/". */
  async list(prefix) {
    let items;
    try {
      items = await readdir(path.join(this.folder, prefix), { withFileTypes: true });
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
    const found = [];
    for (const item of items) {
      if (item.isDirectory()) found.push(...await this.list(`${prefix}${item.name}/`));
      else found.push(`${prefix}${item.name}`);
    }
    return found.sort();
  }
}

/** Open a data file behind a source. */
export async function openFile(source, options = {}) {
  return core.openFile(source, { ...options, zstd: options.zstd ?? await loadZstd() });
}

/** Open a store in a folder. */
export async function openStore(folder, options = {}) {
  return core.openStore(folder, { ...options, zstd: options.zstd ?? await loadZstd() });
}

/**
 * Open a store or a .tok file.
 * @param {string | URL} place a path, or an http or https URL
 * @param {object} [options] `version`; for URLs also `headers` and `fetch`
 */
export async function open(place, options = {}) {
  if (/^https?:/.test(String(place))) return core.openUrl(place, { ...options, zstd: options.zstd ?? await loadZstd() });
  let found;
  try {
    found = await stat(place);
  } catch (error) {
    throw isAbsent(error) ? missing(String(place)) : error;
  }
  return found.isDirectory()
    ? openStore(new FileFolder(String(place)), options)
    : openFile(new FileSource(place), { path: String(place), ...options });
}
