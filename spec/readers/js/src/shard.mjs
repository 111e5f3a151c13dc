// A shard as a reader sees it: rows that are not deleted, and where each of its columns is (format.md 7, 8.3, 8.5).

import { lastNotAbove } from "./bytes.mjs";
import { deliver } from "./deliver.mjs";
import { ReadError } from "./failure.mjs";

/** The rows of a shard that are left when runs of rows are deleted. */
export class KeptRows {
  /** @param {[number, number][]} deleted first row and end of every run, ascending */
  constructor(samples, deleted) {
    this.first = []; // row at which a run of kept rows begins
    this.starts = []; // kept rows before that run
    this.count = 0;
    let row = 0;
    for (const [first, end] of [...deleted, [samples, samples]]) {
      if (first > row) {
        this.first.push(row);
        this.starts.push(this.count);
        this.count += first - row;
      }
      row = end;
    }
  }

  row(index) {
    const run = lastNotAbove(this.starts, index);
    return this.first[run] + index - this.starts[run];
  }

  /** Runs of rows from `first` up to but not including `end`. */
  *runs() {
    for (let i = 0; i < this.first.length; i++) {
      const count = (i + 1 < this.starts.length ? this.starts[i + 1] : this.count) - this.starts[i];
      yield [this.first[i], this.first[i] + count];
    }
  }
}

/** A column of a shard that lies in a data file, from some row of that on. */
export class PlacedInFile {
  constructor(part, first) {
    this.part = part;
    this.first = first;
  }

  async value(row) {
    const { part } = this;
    part.needReadable();
    await part.load();
    const at = this.first + row;
    if (part.isMissing(at)) return null;
    const { values } = await part.readRows(at, at + 1);
    return deliver(part.column, await part.context(), values);
  }

  /** Give the values of rows `from` to `to` in pieces of whole rows. */
  async *pieces(from, to) {
    const { part } = this;
    part.needReadable();
    await part.load();
    const context = await part.context();
    for await (const piece of part.pieces(this.first + from, this.first + to)) {
      const values = [];
      for (let row = piece.from; row < piece.to; row++) {
        const at = row - piece.from;
        const stored = piece.values.subarray(piece.begins[at], piece.begins[at + 1]);
        values.push(part.isMissing(row) ? null : deliver(part.column, context, stored));
      }
      yield values;
    }
  }
}

/** A column that is missing, or the same, in all samples of a shard. */
export class PlacedAlike {
  /** @param {unknown} stored an array of the one stored value, or null where the column is absent */
  constructor(column, stored) {
    this.column = column;
    this.stored = stored;
    this.given = stored === null ? null : deliver(column, { codec: 2 }, stored);
  }

  async value() {
    return this.given;
  }

  async *pieces(from, to) {
    for (let row = from; row < to; row += 65536) yield new Array(Math.min(65536, to - row)).fill(this.given);
  }
}

/** A column whose type this reader does not know. */
export function unknownColumn(column) {
  return new ReadError("unsupported", `column ${column.name} has the unknown type ${column.type}`, "format.md 6.1");
}
