// The main script of the executable: runs the program that the executable's name names, with V8's code
// cache, so that V8 compiles less at start. The executable has one file name for each program.
"use strict";
const { basename } = require("node:path");
const { getAsset, getRawAsset } = require("node:sea");
const { Script } = require("node:vm");

const filename = basename(process.execPath);
const cachedData = Buffer.from(getRawAsset(`${filename}.cache`));
const script = new Script(getAsset(`${filename}.js`, "latin1"), { filename, cachedData });
script.runInThisContext()(require);
