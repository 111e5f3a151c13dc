// One column of one data file: its table, its rows section and its blocks (format.md 4.3 to 4.5).

import { Cursor, lastNotAbove, sum, sums, viewOf } from "./bytes.mjs";
import { Cache } from "./cache.mjs";
import { unpackBits } from "./bits.mjs";
import { StoredBlock, decodeBlock } from "./codecs.mjs";
import { DTYPES } from "./dtypes.mjs";
import { HEADER_BYTES, ROWS_SECTION, TABLE, seedOf } from "./entries.mjs";
import { ReadError, need, within } from "./failure.mjs";
import { kindOf, modelOf } from "./models.mjs";
import { CATEGORY_LIST } from "./objects.mjs";
import { Ranges, rangeKind } from "./ranges.mjs";
import { CATEGORY, CODEC_NAMES, codecFits } from "./schema.mjs";
import { checkValues, interleave } from "./values.mjs";
import { xxh64 } from "./xxh64.mjs";

const TABLE_RULE = "format.md 4.5";
const MOST_VALUES = 2 ** 20;
const MOST_AT_ONCE = 2 ** 28; // values of one array: a larger one cannot be had everywhere
const READ_AHEAD = 1 << 20;
const GAP = 1 << 16;

export class ColumnFile {
  /**
   * @param {import("./datafile.mjs").DataFile} file
   * @param {import("./schema.mjs").Column} column as the schema has it
   * @param {object} entry of the index
   */
  constructor(file, column, entry) {
    this.file = file;
    this.column = column;
    this.entry = entry;
    this.once = new Cache();
    this.refusal = this.#refusal();
    this.isReadable = this.refusal === null;
    if (entry.required === 0 && column.meaning !== null) this.#checkEntry();
  }

  /** Why the values cannot be read, or null (6.1). */
  #refusal() {
    const { entry, column } = this;
    if (entry.required !== 0) return `it needs the features ${entry.required.toString(16)}`;
    if (column.meaning === null) return `its type ${column.type} is not known`;
    if (!codecFits(entry.codec, column)) return `its codec ${entry.codec} is not known for type ${column.typeName}`;
    const kind = entry.hasObject ? this.file.index.objects[entry.object].kind : 0;
    return kind > CATEGORY_LIST ? `its object is of the unknown kind ${kind}` : null;
  }

  /** Throw `unsupported` where the values cannot be read. */
  needReadable() {
    if (!this.isReadable) {
      throw new ReadError("unsupported", `column ${this.column.name} cannot be read: ${this.refusal}`, "format.md 6.1");
    }
  }

  /** Compare the entry with what the type says (4.7). */
  #checkEntry() {
    const { entry, column } = this;
    const { meaning } = column;
    const rule = "format.md 4.7";
    need(entry.isRagged === meaning.isRagged, `${column.name} has the flag ragged and a type that differ`, rule);
    need(entry.hasGroups === meaning.groups.length > 1, `${column.name} has the flag of groups and a type that differ`, rule);
    need(!entry.isOptional || column.optional, `${column.name} has validity bits and is not optional`, rule);
    need(entry.dtype === meaning.dtype, `${column.name} has the dtype ${entry.dtype}, not ${meaning.dtype}`, rule);
    need(!entry.hasRanges || rangeKind(column) !== null, `${column.name} has ranges`, TABLE_RULE);
    if (!entry.isRagged) {
      need(entry.values === entry.rows * meaning.width, `${entry.values} values of ${entry.rows} rows`, "format.md 4.4");
    }
  }

  /** Read and parse table and rows section; once. */
  load() {
    return this.once.get("load", () => within(this.file.path, () => this.#load()));
  }

  async #load() {
    const { entry } = this;
    const [table, rows] = await Promise.all([
      this.#section(entry.table, entry.isTableZstd, TABLE, "the table"),
      entry.isRagged || entry.isOptional ? this.#section(entry.rowsSection, entry.isRowsZstd, ROWS_SECTION, "the rows section") : null,
    ]);
    this.#parseTable(table);
    if (this.column.meaning === null) return this;
    this.#parseRows(rows);
    this.#checkShape();
    return this;
  }

  /** Read the content of a table or rows section. */
  async #section(part, isZstd, number, what) {
    const stored = await this.file.range(part.offset, part.bytes);
    this.#checkSum(stored, number, part.checksum, what, part.offset, "format.md 4.7");
    return isZstd ? this.file.zstd.decode(stored, part.contentBytes, part.contentBytes) : stored;
  }

  #checkSum(bytes, number, said, what, offset, rule) {
    if (xxh64(bytes, seedOf(this.file.nonce, this.entry.columnId, number)) !== said) {
      throw new ReadError("checksum", `the checksum of ${what} of column ${this.column.name} differs`, rule, offset);
    }
  }

  /** Parse the table (4.5). */
  #parseTable(bytes) {
    const { entry, column } = this;
    const B = entry.blocks;
    need(8 * B <= bytes.length && B <= this.file.footer.copyOffset, `a table of ${bytes.length} bytes for ${B} blocks`, TABLE_RULE);
    const end = this.file.footer.copyOffset;
    const cursor = new Cursor(bytes, TABLE_RULE);
    this.offset = cursor.packed(B, "offset");
    this.storedBytes = cursor.packed(B, "stored_bytes");
    this.values = cursor.packed(B, "values", 1, MOST_VALUES);
    this.firstRow = cursor.packed(B, "first_row");
    this.form = cursor.packed(B, "form", 0, 255);
    this.checksums = viewOf(cursor.take(8 * B, "checksums"));
    this.missing = entry.isOptional ? cursor.packed(B, "missing") : null;
    this.nan = DTYPES[entry.dtype]?.isFloat ? cursor.packed(B, "nan") : null;
    this.ranges = null;
    if (column.meaning !== null) {
      if (entry.hasRanges) this.ranges = new Ranges(cursor, B, rangeKind(column));
      cursor.end();
    }
    for (let b = 0; b < B; b++) {
      const offset = this.offset[b];
      need(offset >= HEADER_BYTES && offset + this.storedBytes[b] <= end, `block ${b} lies outside the file`, "format.md 11", offset);
      need(b === 0 || offset >= this.offset[b - 1] + this.storedBytes[b - 1],
        "the blocks of a column are not in the order of their values", "format.md 4.3", offset);
    }
    need(sum(this.storedBytes) === entry.storedBytes, "the stored bytes of the blocks are not those of the column", "format.md 4.7");
    need(sum(this.values) === entry.values, "the values of the blocks are not those of the column", TABLE_RULE);
  }

  /** Parse the rows section (4.4). */
  #parseRows(bytes) {
    const rule = "format.md 4.4";
    const { entry, column } = this;
    const { width } = column.meaning;
    this.starts = null; // for ragged columns: the first value of every row, and the end
    this.valid = null; // for columns with validity bits: 1 where a row is present
    if (bytes === null) return;
    const cursor = new Cursor(bytes, rule);
    if (entry.isRagged) {
      const lengths = cursor.packed(entry.rows, "lengths");
      this.starts = sums(lengths);
      need(this.starts[entry.rows] === entry.values, `lengths add up to ${this.starts[entry.rows]} of ${entry.values}`, rule);
      for (const length of lengths) if (length % width !== 0) need(false, `a row of ${length} values, of items of ${width}`, rule);
    }
    if (entry.isOptional) {
      this.valid = unpackBits(cursor.take(Math.ceil(entry.rows / 8), "validity"), entry.rows, rule);
      if (this.starts !== null) {
        for (let row = 0; row < entry.rows; row++) {
          need(this.valid[row] === 1 || this.starts[row] === this.starts[row + 1], `row ${row} is missing and has a length`, rule);
        }
      }
    }
    cursor.end();
  }

  /** Check that blocks and runs hold whole rows or items (4.3), and find where runs begin. */
  #checkShape() {
    const rule = "format.md 4.3";
    const { meaning } = this.column;
    const { groups } = meaning;
    const G = groups.length;
    const B = this.entry.blocks;
    need(B % G === 0, `${B} blocks in runs of ${G}`, rule);
    this.widths = groups.map((end, g) => end - (g === 0 ? 0 : groups[g - 1]));
    const counts = new Float64Array(B / G);
    for (let b = 0; b < B; b++) {
      const g = b % G;
      need(this.values[b] % this.widths[g] === 0, `block ${b} ends inside a row or item`, rule);
      counts[(b - g) / G] += this.values[b];
      const rows = this.values[b] / this.widths[g];
      need(g === 0 || rows === this.values[b - g] / this.widths[0], "the blocks of a run hold different rows", rule);
    }
    need(counts.every((count) => count <= MOST_VALUES), "the blocks of a run have too many values", "format.md 11");
    this.runStarts = sums(counts); // the first value of every run, and the end
    this.runs = B / G;
  }

  /** The first value of a row. */
  start(row) {
    return this.starts === null ? row * this.column.meaning.width : this.starts[row];
  }

  isMissing(row) {
    return this.valid !== null && this.valid[row] === 0;
  }

  /** What decoding needs beside the bytes: the object of the column, parsed for it. */
  context() {
    return this.once.get("context", () => within(this.file.path, () => this.#context()));
  }

  async #context() {
    const { entry, column } = this;
    const { meaning } = column;
    const context = { codec: entry.codec, dtype: meaning.dtype, meaning, zstd: this.file.zstd };
    const kind = kindOf(column, entry.codec);
    if (!entry.hasObject) {
      need(entry.blocks === 0 || (entry.codec !== 5 && column.type !== CATEGORY),
        `column ${column.name} of codec ${CODEC_NAMES[entry.codec]} has no object`, "format.md 4.7");
      return context;
    }
    const found = this.file.index.objects[entry.object].kind;
    need(found === kind, `column ${column.name} has an object of kind ${found}`, "format.md 4.8");
    const { content } = await this.file.object(entry.object);
    return { ...context, ...modelOf(kind, content, column) };
  }

  /** Read the stored bytes of blocks `from` to `to`, neighbours in one range, with their checksums verified. */
  async blockBytes(from, to) {
    const result = [];
    const waiting = [];
    for (let b = from; b < to; ) {
      const begin = this.offset[b];
      let end = begin + this.storedBytes[b];
      let last = b + 1;
      while (last < to && this.offset[last] - end <= GAP && this.offset[last] + this.storedBytes[last] - begin <= READ_AHEAD) {
        end = this.offset[last] + this.storedBytes[last];
        last++;
      }
      const first = b;
      waiting.push(this.file.range(begin, end - begin).then((bytes) => {
        for (let i = first; i < last; i++) {
          const at = this.offset[i] - begin;
          result[i - from] = bytes.subarray(at, at + this.storedBytes[i]);
        }
      }));
      b = last;
    }
    await Promise.all(waiting);
    for (let b = from; b < to; b++) {
      this.#checkSum(result[b - from], b, this.checksums.getBigUint64(8 * b, true), `block ${b}`, this.offset[b], TABLE_RULE);
    }
    return result;
  }

  /** The last run of blocks that begins at or before a value. */
  runAt(value) {
    return lastNotAbove(this.runStarts, value, this.runs);
  }

  /** Decode the stored blocks of one run to its values, row by row. */
  decodeRun(run, stored, context) {
    const G = this.widths.length;
    const parts = stored.map((bytes, g) => {
      const b = run * G + g;
      const block = new StoredBlock(bytes, this.form[b], this.values[b], this.widths[g], context);
      block.firstDimension = g === 0 ? 0 : this.column.meaning.groups[g - 1];
      return decodeBlock(block);
    });
    const values = G === 1 ? parts[0] : interleave(parts, this.widths);
    checkValues(this, values, run, context);
    return { values, parts };
  }

  /** Read values `from` to `to`, which are ends of rows or items. */
  async readValues(from, to) {
    this.needReadable();
    return within(this.file.path, () => this.#readValues(from, to));
  }

  async #readValues(from, to) {
    if (to - from > MOST_AT_ONCE) {
      throw new ReadError("unsupported", `${to - from} values at once are too many for this reader`, "format.md 11");
    }
    const context = await this.context();
    const Stored = context.codec === 5 ? Int32Array : DTYPES[context.dtype].Array;
    if (from === to) return new Stored(0);
    const first = this.runAt(from);
    const last = this.runAt(to - 1);
    if (first === last) {
      const values = await this.#cachedRun(first, context);
      const at = this.runStarts[first];
      return values.slice(from - at, to - at);
    }
    const result = new Stored(to - from);
    const G = this.widths.length;
    const stored = await this.blockBytes(first * G, (last + 1) * G);
    for (let run = first; run <= last; run++) {
      const { values } = this.decodeRun(run, stored.slice((run - first) * G, (run - first + 1) * G), context);
      const at = this.runStarts[run];
      const begin = Math.max(from, at);
      const end = Math.min(to, at + values.length);
      result.set(values.subarray(begin - at, end - at), begin - from);
    }
    return result;
  }

  /** The values of one run; the last one that was asked for is kept. */
  #cachedRun(run, context) {
    if (this.kept?.run !== run) {
      const G = this.widths.length;
      const kept = {
        run,
        values: this.blockBytes(run * G, (run + 1) * G).then((stored) => this.decodeRun(run, stored, context).values),
      };
      kept.values.catch(() => {
        if (this.kept === kept) this.kept = undefined;
      });
      this.kept = kept;
    }
    return this.kept.values;
  }

  /** Read rows `from` to `to`: their stored values, and where each begins in them. */
  async readRows(from, to) {
    const first = this.start(from);
    const values = await this.readValues(first, this.start(to));
    const begins = new Float64Array(to - from + 1);
    for (let row = from; row <= to; row++) begins[row - from] = this.start(row) - first;
    return { from, to, values, begins };
  }

  /** Read rows `from` to `to` in pieces of whole rows, of about `target` values. */
  async *pieces(from, to, target = 1 << 18) {
    let ahead = null; // the piece after the one that is handed out is read meanwhile
    for (let row = from; row < to; ) {
      const piece = await (ahead ?? this.readRows(row, this.#pieceEnd(row, to, target)));
      row = piece.to;
      ahead = row < to ? this.readRows(row, this.#pieceEnd(row, to, target)) : null;
      ahead?.catch(() => {}); // its error is thrown when its turn comes
      yield piece;
    }
  }

  #pieceEnd(row, to, target) {
    if (this.starts === null) return Math.min(to, row + Math.max(1, Math.floor(target / this.column.meaning.width)));
    return Math.min(to, Math.max(row + 1, lastNotAbove(this.starts, this.starts[row] + target)));
  }

  /** The run in which a row begins (4.5); -1 where there are no blocks. */
  runOfRow(row) {
    return Math.min(this.runs - 1, this.runAt(this.start(row)));
  }
}
