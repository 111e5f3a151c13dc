// What a store and a single file have in common: columns, a length, rows, and scans over a column.

import { lastNotAbove } from "./bytes.mjs";
import { DTYPES } from "./dtypes.mjs";

/** Names of the parameters of a type (registry.md 1). */
const PARAMETERS = {
  1: { 1: "vocabSize", 2: "bosId", 3: "eosId", 4: "padId" },
  2: { 1: "size", 2: "shape" },
  3: { 1: "dtype", 2: "dim", 3: "groups", 4: "method", 5: "maxError", 6: "bytesPerVector", 7: "rotate" },
  4: { 1: "dtype", 2: "maxError" },
  5: { 1: "dtype", 2: "classes", 3: "names", 4: "shape" },
  6: { 1: "classes", 2: "top", 3: "dtype" },
  7: { 1: "of" },
  11: { 1: "dtype", 2: "shape" },
};

/** Describe a column for a caller. */
function describe(column) {
  const { meaning } = column;
  const described = {
    id: column.id,
    name: column.name,
    type: column.typeName ?? `type ${column.type}`,
    optional: column.optional,
    shape: meaning === null ? null : (meaning.shape ?? []).map((size) => (size === 0 ? null : size)),
    dtype: meaning === null ? null : DTYPES[meaning.dtype].name,
    parameters: {},
  };
  for (const [key, name] of Object.entries(PARAMETERS[column.type] ?? {})) {
    const value = column.parameters.get(Number(key));
    if (value === undefined) continue;
    if (name === "dtype") described.parameters.dtype = DTYPES[value].name;
    else if (name === "names") described.parameters.names = value.split("\n").slice(0, -1);
    else described.parameters[name] = value?.value ?? value;
  }
  return described;
}

/** Base of Store and SingleFile. Positions count samples that are not deleted, from 0. */
export class Reader {
  /** @param {import("./schema.mjs").Column[]} schema */
  constructor(schema) {
    this.schema = schema;
    this.columns = schema.map(describe);
    this.byName = new Map(schema.map((column) => [column.name, column]));
  }

  column(name) {
    const column = this.byName.get(name);
    if (column === undefined) {
      throw new RangeError(`there is no column ${name}; there are ${[...this.byName.keys()].join(", ")}`);
    }
    return column;
  }

  /**
   * Read one sample.
   * @param {number} position
   * @param {string[]} [names] of columns; without them all that this reader can read
   * @returns {Promise<Record<string, unknown>>} values by name; a missing one is null
   */
  async row(position, names) {
    if (!Number.isInteger(position) || position < 0 || position >= this.length) {
      throw new RangeError(`there is no sample at ${position}; there are ${this.length}`);
    }
    const { shard, row } = await this.locate(position);
    const chosen = names?.map((name) => this.column(name)) ?? this.schema;
    const values = await Promise.all(chosen.map(async (column) => {
      try {
        return [column.name, await (await shard.place(column)).value(row)];
      } catch (error) {
        if (names === undefined && error.kind === "unsupported") return null;
        throw error;
      }
    }));
    return Object.fromEntries(values.filter((pair) => pair !== null));
  }

  /** The sample id at a position. */
  async sampleId(position) {
    const { shard, row } = await this.locate(position);
    return shard.sampleId(row);
  }

  /**
   * Read a column from front to back, value by value.
   * @param {string} name
   */
  async *scan(name) {
    for await (const values of this.pieces(name)) yield* values;
  }

  /**
   * Read a column from front to back in arrays of values: about a quarter of a million stored values at a time.
   * @param {string} name
   */
  async *pieces(name) {
    const column = this.column(name);
    for await (const shard of this.shards()) {
      const placed = await shard.place(column);
      for (const [from, to] of shard.kept.runs()) yield* placed.pieces(from, to);
    }
  }

  /** Find the shard and row of a position among shards with so many kept rows. */
  static find(shards, starts, position) {
    const s = lastNotAbove(starts, position, shards.length);
    return { shard: shards[s], row: shards[s].kept.row(position - starts[s]) };
  }
}
