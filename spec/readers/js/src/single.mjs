// A data file that is opened alone (format.md 3, 4.9, 7.2).

import { DataFile } from "./datafile.mjs";
import { within } from "./failure.mjs";
import { Reader } from "./reader.mjs";
import { KeptRows, PlacedInFile } from "./shard.mjs";

export class SingleFile extends Reader {
  static async open(source, { zstd, path = "the file" }) {
    const file = await within(path, () => DataFile.open(source, { path, zstd }));
    return new SingleFile(file, path);
  }

  constructor(file, path) {
    super(file.index.columns);
    this.file = file;
    this.path = path;
    this.length = file.index.rows;
    this.metadata = file.index.metadata;
    this.shard = {
      kept: new KeptRows(this.length, []),
      place: async (column) => new PlacedInFile(file.columns.get(column.id), 0),
      sampleId: (row) => row,
    };
  }

  get attachments() {
    return [...this.file.index.attachments.keys()];
  }

  /** The bytes of an attachment. */
  async attachment(name) {
    const number = this.file.index.attachments.get(name);
    if (number === undefined) throw new RangeError(`there is no attachment ${name}`);
    return within(this.path, async () => (await this.file.object(number)).content.slice());
  }

  async locate(position) {
    return { shard: this.shard, row: position };
  }

  async *shards() {
    yield this.shard;
  }
}
