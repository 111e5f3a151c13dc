// Where bytes come from: a Source is one file, a Folder gives the Source of a path in it.

import { ReadError } from "./failure.mjs";

const RULE = "format.md 2.7";

/** The error of a file that something names and that is not there. */
export function missing(path, rule = "format.md 3") {
  return new ReadError("missing", "the file is not there", rule).in(path);
}

/** Read all bytes of a source, which may have `most` of them. */
export async function readWhole(source, most) {
  const size = await source.size();
  if (size > most) throw new ReadError("corrupt", `the file has ${size} bytes, more than ${most}`, "format.md 11");
  return source.read(0, size);
}

/** Read a range, and throw `truncated` where the source ends before it does. */
export async function readRange(source, offset, length) {
  if (length === 0) return new Uint8Array(0);
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) {
    throw new ReadError("truncated", `${length} bytes asked for, ${bytes.length} read`, RULE, offset);
  }
  return bytes;
}

/** Bytes in memory. */
export class BytesSource {
  constructor(bytes) {
    this.bytes = bytes;
  }

  async size() {
    return this.bytes.length;
  }

  async read(offset, length) {
    return this.bytes.subarray(offset, offset + length);
  }
}

/** A store in memory: paths and their bytes. */
export class MemoryFolder {
  constructor(files) {
    this.files = new Map(files);
  }

  async source(path) {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw missing(path);
    return new BytesSource(bytes);
  }

  async list(prefix) {
    return [...this.files.keys()].filter((path) => path.startsWith(prefix));
  }
}

/** One file behind a URL, read by ranges with `fetch`. */
export class HttpSource {
  #size;

  /**
   * @param {string | URL} url
   * @param {{fetch?: typeof fetch, headers?: Record<string, string>}} [options]
   */
  constructor(url, options = {}) {
    this.url = String(url);
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.headers = options.headers ?? {};
  }

  /** The length of the file; learned from the first range where one was read before. */
  async size() {
    if (this.#size === undefined) {
      const answer = await this.fetch(this.url, { method: "HEAD", headers: this.headers });
      this.#check(answer);
      const length = answer.headers.get("content-length");
      if (length === null || !/^[0-9]+$/.test(length)) throw new Error(`${this.url}: the server tells no length`);
      this.#size = Number(length);
    }
    return this.#size;
  }

  async read(offset, length) {
    if (length === 0) return new Uint8Array(0);
    return this.#range(`bytes=${offset}-${offset + length - 1}`, offset, length);
  }

  /** Read the last bytes of the file, all of them where it is shorter, and learn its length. */
  async readLast(length) {
    const bytes = await this.#range(`bytes=-${length}`, undefined, length);
    return { bytes, size: this.#size };
  }

  async #range(range, offset, length) {
    const answer = await this.fetch(this.url, { headers: { ...this.headers, Range: range } });
    if (answer.status === 416) {
      await answer.body?.cancel();
      return new Uint8Array(0);
    }
    this.#check(answer);
    const refuse = async (why) => {
      await answer.body?.cancel();
      throw new Error(`${this.url}: ${why}`);
    };
    if (answer.status !== 206) await refuse(`a range is answered with status ${answer.status}; the server has to support ranges`);
    const place = /^bytes ([0-9]+)-([0-9]+)\/([0-9]+)$/.exec(answer.headers.get("content-range") ?? "");
    if (place !== null) {
      this.#size ??= Number(place[3]);
      if (offset !== undefined && Number(place[1]) !== offset) await refuse(`the answer to ${range} begins at ${place[1]}`);
    } else if (offset === undefined) {
      // A page of another origin sees this header only where Access-Control-Expose-Headers names it.
      await refuse("the answer to a range has no Content-Range that can be seen");
    }
    if (Number(answer.headers.get("content-length") ?? 0) > length) await refuse(`the answer to ${range} is longer than that`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  #check(answer) {
    if (answer.status === 404 || answer.status === 410) throw missing(this.url);
    if (!answer.ok) throw new Error(`${this.url}: status ${answer.status}`);
  }
}

/** A store behind a URL. It cannot be listed, so the newest version is found by its number (format.md 3). */
export class HttpFolder {
  constructor(url, options = {}) {
    this.url = String(url).replace(/\/*$/, "/");
    this.options = options;
  }

  async source(path) {
    return new HttpSource(new URL(path, this.url), this.options);
  }
}
