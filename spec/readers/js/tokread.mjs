#!/usr/bin/env node
// Print what a reader must find in a .tok file or a store, as sorted JSON, after a check of all of it:
//
//     node tokread.mjs FILE_OR_FOLDER_OR_URL [VERSION]
//
// spec/vectors/README.md says what the JSON is. An error is one line on stderr and exit status 1.

import { ReadError, open } from "./node.mjs";
import { describe, toJson } from "./src/printing.mjs";
import { verify } from "./src/verify.mjs";

async function main([place, version, ...more]) {
  if (place === undefined || more.length > 0 || (version !== undefined && !/^[0-9]{1,15}$/.test(version))) {
    console.error("usage: node tokread.mjs FILE_OR_FOLDER_OR_URL [VERSION]");
    return 2;
  }
  try {
    const reader = await open(place, version === undefined ? {} : { version: Number(version) });
    process.stdout.write(`${toJson(describe(await verify(reader)))}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof ReadError)) throw error;
    console.error(error.message);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
