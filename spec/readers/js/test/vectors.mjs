// The vectors of spec/vectors, unpacked to memory as its README says.

import { readFileSync, readdirSync } from "node:fs";

import { BytesSource, MemoryFolder, openFile, openStore } from "../node.mjs";

export const FOLDER = new URL("../../../vectors/", import.meta.url);

export function names(kind) {
  const files = readdirSync(new URL(`${kind}/`, FOLDER)).filter((file) => file.endsWith(".vec"));
  return files.map((file) => `${kind}/${file.slice(0, -4)}`).sort();
}

/** What is in a vector: what a reader must do, and the bytes of a file, or of the files of a store by path. */
export function unpack(name) {
  const data = readFileSync(new URL(`${name}.vec`, FOLDER));
  const blank = data.indexOf("\n\n");
  const lines = data.subarray(0, blank).toString().split("\n").map((line) => /^([a-z]+): (.*)$/.exec(line).slice(1));
  const header = Object.fromEntries(lines.filter(([key]) => key !== "file"));
  let body = new Uint8Array(data.subarray(blank + 2));
  if (header.repeat !== undefined) {
    const [at, count, byte] = header.repeat.split(" ");
    body = Buffer.concat([body.subarray(0, at), Buffer.alloc(Number(count), parseInt(byte, 16)), body.subarray(at)]);
  }
  const files = [];
  let at = 0;
  for (const [key, value] of lines) {
    if (key !== "file") continue;
    const [, path, size] = /^(.*) ([0-9]+)$/.exec(value);
    files.push([path, body.subarray(at, at + Number(size))]);
    at += Number(size);
  }
  return {
    name, expect: header.expect, version: header.version === undefined ? undefined : Number(header.version),
    body, files: files.length > 0 ? files : null,
    json: header.expect === "ok" ? readFileSync(new URL(`${name}.json`, FOLDER), "utf8") : null,
  };
}

/** Open an unpacked vector from memory. */
export async function openVector({ body, files, version }) {
  return files === null ? openFile(new BytesSource(body)) : openStore(new MemoryFolder(files), { version });
}
