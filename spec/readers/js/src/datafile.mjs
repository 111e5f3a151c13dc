// A data file, opened by its last bytes and read by ranges (format.md 4).

import { Cache } from "./cache.mjs";
import { ColumnFile } from "./columnfile.mjs";
import { FOOTER_BYTES, HEADER_BYTES, nonceOf, parseFooter, parseHeader, parseIndex } from "./entries.mjs";
import { ReadError, need } from "./failure.mjs";
import { parseObject } from "./objects.mjs";
import { readRange } from "./source.mjs";

const LAST_BYTES = 1 << 16; // what is read at once from the end of a file

export class DataFile {
  constructor(source, path, zstd, fetchObject) {
    this.source = source;
    this.path = path;
    this.zstd = zstd;
    this.fetchObject = fetchObject;
    this.columns = new Map();
    this.objects = new Cache();
  }

  /**
   * Open a file: read its header, footer and index.
   * @param {object} source
   * @param {object} options
   * @param {string} options.path for errors
   * @param {import("./zstd.mjs").Zstd} options.zstd
   * @param {(entry: object) => Promise<object>} [options.fetchObject] gives an object that is not in the file
   * @param {Map<number, object>} [options.schema] the columns of the store; without it those in the file serve
   * @param {object} [options.line] what a page says of the file: fileId, fileBytes, tailOffset, indexOffset, indexChecksum
   */
  static async open(source, { path, zstd, fetchObject, schema, line }) {
    const file = new DataFile(source, path, zstd, fetchObject);
    if (line === undefined) await file.#readEnds();
    else await file.#readEndsOf(line);
    const { footer } = file;
    file.nonce = nonceOf(file.fileId);
    file.index = parseIndex(await file.range(footer.indexOffset, footer.indexBytes), footer, file.nonce);
    for (const [i, entry] of file.index.entries.entries()) {
      const column = schema?.get(entry.columnId) ?? file.index.columns[i];
      need(column.type === entry.type, `column ${column.name} has another type in the schema`, "format.md 4.7");
      file.columns.set(entry.columnId, new ColumnFile(file, column, entry));
    }
    return file;
  }

  /** Read header and footer of a file that is opened alone. */
  async #readEnds() {
    const { bytes, size } = await readLast(this.source, LAST_BYTES);
    this.size = size;
    this.last = { offset: size - bytes.length, bytes };
    this.fileId = parseHeader(size === bytes.length ? bytes : await this.source.read(0, HEADER_BYTES));
    this.footer = parseFooter(bytes.subarray(Math.max(0, bytes.length - FOOTER_BYTES)), size);
  }

  /** Read header and footer of a file whose length and index a page tells. */
  async #readEndsOf(line) {
    const size = line.fileBytes;
    need(size >= HEADER_BYTES + FOOTER_BYTES, `a file of ${size} bytes`, "format.md 8.3");
    this.size = size;
    const tail = Math.max(HEADER_BYTES, Math.min(line.tailOffset, size - FOOTER_BYTES));
    const offset = Math.max(tail, size - LAST_BYTES);
    const [head, bytes] = await Promise.all([
      this.source.read(0, HEADER_BYTES), this.source.read(offset, size - offset),
    ]);
    if (offset + bytes.length < size) {
      throw new ReadError("truncated", `the file has ${offset + bytes.length} bytes or fewer, its page says ${size}`, "format.md 8.3");
    }
    this.last = { offset, bytes };
    this.fileId = parseHeader(head);
    need(this.fileId === line.fileId, `the file has the id ${this.fileId}`, "format.md 4.2", 24);
    this.footer = parseFooter(bytes.subarray(bytes.length - FOOTER_BYTES), size);
    const rule = "format.md 8.3";
    if (this.footer.indexChecksum !== line.indexChecksum) {
      throw new ReadError("checksum", "the page has another checksum of the index", rule);
    }
    need(this.footer.tailOffset === line.tailOffset, "the page has another tail offset", rule);
    need(this.footer.indexOffset === line.indexOffset, "the page has another index offset", rule);
  }

  /** Read bytes of the file; its last ones are kept from opening. */
  async range(offset, length) {
    if (offset >= this.last.offset) return this.last.bytes.subarray(offset - this.last.offset, offset - this.last.offset + length);
    return readRange(this.source, offset, length);
  }

  /** An object that the index names, parsed. */
  object(number) {
    return this.objects.get(number, () => this.#object(this.index.objects[number]));
  }

  async #object(entry) {
    if (entry.isEmbedded) return parseObject(await this.range(entry.offset, entry.storedBytes), entry, this.zstd);
    if (this.fetchObject === undefined) {
      throw new ReadError("missing", `object ${entry.digest} is not in this file`, "format.md 4.8");
    }
    return this.fetchObject(entry);
  }
}

/** Read the last bytes of a source, all where there are fewer, and its length. */
async function readLast(source, count) {
  if (source.readLast !== undefined) return source.readLast(count);
  const size = await source.size();
  const offset = Math.max(0, size - count);
  return { bytes: await readRange(source, offset, size - offset), size };
}
