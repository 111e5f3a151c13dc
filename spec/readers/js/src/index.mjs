// The reader without a place to read from: what node.mjs and browser.mjs are made of.

import { SingleFile } from "./single.mjs";
import { HttpFolder, HttpSource } from "./source.mjs";
import { Store } from "./store.mjs";
import { Zstd } from "./zstd.mjs";

export { ReadError } from "./failure.mjs";
export { BytesSource, HttpFolder, HttpSource, MemoryFolder } from "./source.mjs";
export { SingleFile, Store };

/** Make a decoder from an Emscripten module of zstd that is ready, such as that of @bokuweb/zstd-wasm. */
export function makeZstd(module) {
  return new Zstd(module);
}

/** Start the module of @bokuweb/zstd-wasm with the bytes of its zstd.wasm, and make a decoder of it. */
export function startZstd(module, wasm) {
  return new Promise((resolve, reject) => {
    module.onRuntimeInitialized = () => resolve(makeZstd(module));
    module.onAbort = (reason) => reject(new Error(`zstd does not start: ${reason}`));
    WebAssembly.compile(wasm).catch(reject);
    module.init(wasm);
  });
}

/** Open a data file behind a source. */
export function openFile(source, options) {
  return SingleFile.open(source, options);
}

/** Open a store in a folder. */
export function openStore(folder, options) {
  return Store.open(folder, options);
}

/** Open a store, or a data file whose path ends in .tok, behind an http or https URL. */
export function openUrl(url, options) {
  return new URL(url).pathname.endsWith(".tok")
    ? openFile(new HttpSource(url, options), { path: String(url), ...options })
    : openStore(new HttpFolder(url, options), options);
}
