/**
 * Keeps environment variables that control Node.js away from processes that hold secrets: they open
 * debuggers, load modules, write files, or triple the start-up time.
 *
 * The programs that the agent runs should still see the user's variables. So our own processes are
 * started without them but with their values in one other variable, and restore them once Node.js has
 * started. The shebang of the installed program does the same for the two most powerful ones; see
 * scripts/build.mjs.
 */

/** Holds the saved variables, as JSON. */
const savedVariables = "CARDAGENT_ENVIRONMENT";

/** Holds variables that a release's shell script could not pass on, as in /proc/PID/environ, in hexadecimal. */
const variablesOfScript = "CARDAGENT_VARIABLES";

/** The names under which the shebang saves two variables. */
const savedByShebang = { _OPTIONS: "NODE_OPTIONS", _CERTS: "NODE_EXTRA_CA_CERTS" } as const;

/** Variables that are for one process only, such as a channel to its parent, and are not saved. */
const perProcess = /^NODE_(CHANNEL_|UNIQUE_ID$)/;

/** Whether a variable controls Node.js, or has its OpenSSL load a configuration. */
function affectsNode(name: string): boolean {
  return /^(NODE_(?!(ENV|HOME|VERSION)$)|OPENSSL_CONF$)/.test(name);
}

/** The environment for a process of our own: variables that control Node.js are saved, then removed. */
export function cleanNodeEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = Object.keys(environment).filter(affectsNode);
  if (names.length === 0) return environment;
  const saved = names.filter((name) => !perProcess.test(name));
  const entries = saved.map((name) => [name, environment[name]]);
  // NODE_V8_COVERAGE is always listed: `spawn` passes it on unless the environment has it as undefined.
  const removed = Object.fromEntries(
    ["NODE_V8_COVERAGE", ...names].map((name) => [name, undefined]),
  );
  return {
    ...environment,
    ...removed,
    [savedVariables]: JSON.stringify(Object.fromEntries(entries)),
  };
}

/**
 * Restores the variables that were saved for this process.
 * @returns whether the process was started with variables that control Node.js
 */
export function restoreNodeEnvironment(environment: NodeJS.ProcessEnv): boolean {
  const hadNodeVariables = Object.keys(environment).some(affectsNode);
  for (const [name, original] of Object.entries(savedByShebang)) {
    const value = environment[name];
    delete environment[name];
    if (value) environment[original] = value;
  }
  const ofScript = environment[variablesOfScript] ?? "";
  delete environment[variablesOfScript];
  Object.assign(environment, parseEntries(Buffer.from(ofScript, "hex").toString()));
  const text = environment[savedVariables];
  delete environment[savedVariables];
  if (text !== undefined) Object.assign(environment, parseSaved(text));
  return hadNodeVariables;
}

/** The variables of entries `NAME=VALUE`, each of which ends with zero. */
function parseEntries(text: string): Record<string, string> {
  const entries = text.matchAll(/([^=\0]+)=([^\0]*)\0/g);
  return Object.fromEntries(Array.from(entries, ([, name = "", value = ""]) => [name, value]));
}

/** The saved variables; none if the text is invalid. */
function parseSaved(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return {};
    const entries = Object.entries(value).filter(([name, each]) => {
      return affectsNode(name) && typeof each === "string";
    });
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}
