// Compiles programs ahead of time: code-cache.cjs FILE... writes V8's code cache of each FILE.js to
// FILE.cache, and fails if V8 would not accept it. It runs with the Node.js of the release and a fixed
// --hash-seed, on which the order in the cache depends.
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");
const { setFlagsFromString } = require("node:v8");
const { Script } = require("node:vm");

// V8 accepts a cache only with the flags that it was made with: those of a start without options.
setFlagsFromString("--hash-seed=0");
for (const file of process.argv.slice(2)) {
  const source = readFileSync(`${file}.js`, "latin1");
  // Functions too, which the agent and its child call when somebody waits. Most runs of ssh-add call few.
  if (file !== "ssh-add") setFlagsFromString("--no-lazy");
  const script = new Script(source);
  setFlagsFromString("--lazy");
  const cachedData = script.createCachedData();
  writeFileSync(`${file}.cache`, cachedData);
  if (new Script(source, { cachedData }).cachedDataRejected)
    throw new Error(`${file}.cache is bad`);
}
