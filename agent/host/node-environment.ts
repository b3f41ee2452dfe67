/**
 * The variables that steer Node.js, which are to have no power over a process that holds secrets: they
 * open debuggers, load modules, write files, or make the start take three times as long.
 *
 * They are the user's all the same, for the programs that the agent runs. So our own processes are
 * started without them, and find them in one variable, from which they put them back: by then Node.js
 * has looked. The installed program's first line does the same with the two that do most; see
 * scripts/build.mjs.
 */

/** Holds the variables that were put aside, as JSON. */
const aside = "CARDAGENT_ENVIRONMENT";

/** What the first line of the installed program calls the two that it puts aside. */
const asideByFirstLine = { _OPTIONS: "NODE_OPTIONS", _CERTS: "NODE_EXTRA_CA_CERTS" } as const;

/** Of those that belong to one process alone, nothing is kept: a channel to its parent, a number. */
const ofOneProcess = /^NODE_(CHANNEL_|UNIQUE_ID$)/;

/** Whether a variable steers Node.js, or has its OpenSSL load a configuration and what that names. */
function steers(name: string): boolean {
  return /^(NODE_(?!(ENV|HOME|VERSION)$)|OPENSSL_CONF$)/.test(name);
}

/** An environment for a process of our own: what steers Node.js is put aside. */
export function cleanNodeEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = Object.keys(environment).filter(steers);
  if (names.length === 0) return environment;
  const kept = names.filter((name) => !ofOneProcess.test(name));
  const entries = kept.map((name) => [name, environment[name]]);
  // By name, because Node.js gives this one on by itself where it is not mentioned.
  const nothing = Object.fromEntries(
    ["NODE_V8_COVERAGE", ...names].map((name) => [name, undefined]),
  );
  return { ...environment, ...nothing, [aside]: JSON.stringify(Object.fromEntries(entries)) };
}

/**
 * Puts back what was put aside when this process was started.
 * @returns whether something steered Node.js at that start
 */
export function restoreNodeEnvironment(environment: NodeJS.ProcessEnv): boolean {
  const wasSteered = Object.keys(environment).some(steers);
  for (const [name, original] of Object.entries(asideByFirstLine)) {
    const value = environment[name];
    delete environment[name];
    if (value) environment[original] = value;
  }
  const text = environment[aside];
  delete environment[aside];
  if (text !== undefined) Object.assign(environment, parse(text));
  return wasSteered;
}

/** What is no list of variables is none. */
function parse(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return {};
    const entries = Object.entries(value).filter(([name, each]) => {
      return steers(name) && typeof each === "string";
    });
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}
