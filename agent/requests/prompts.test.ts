/** The prompts of the agent while several clients sign: one at a time. */
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { makeDisplay } from "../../fixtures/askpass.ts";
import { eventually } from "../../fixtures/eventually.ts";
import { hostilePin, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { isRunning } from "../../fixtures/processes.ts";
import { skDummy, sshKeygen, systemSshAdd } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { findSkHelper } from "../../openssh/sk-helper.ts";
import { AgentClient } from "../../protocol/client.ts";
import { frame } from "../../protocol/framing.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { encodeRequest } from "../../protocol/requests.ts";
import { makeSkKey, standIn } from "../fido/test-authenticator.ts";
import { makePrompter } from "../policy/prompter.ts";
import { generateKey, refused, startAgent, type TestAgentOptions } from "../test-agent.ts";
import { start } from "../test-program.ts";
import { blobs, data, noPin } from "./test-cards.ts";

/** An agent with a display, and keys with these comments that need confirmation. */
async function prepare(
  t: ExecutionContext,
  names: readonly string[],
  options: TestAgentOptions = {},
) {
  const workspace = makeWorkspace(t);
  const display = makeDisplay(workspace, hostilePin);
  const environment = { ...process.env, ...display.env };
  const parts = { prompter: makePrompter(environment) };
  const agent = await startAgent(t, { ...parts, ...options });
  const client = await agent.connect();
  const keys: Buffer[] = [];
  for (const name of names) {
    const key = generateKey("ed25519");
    await client.addIdentity(key, name, [{ type: "confirm" }]);
    keys.push(encodePublicKey(key.publicKey));
  }
  /** Asks for a signature on a connection of its own. */
  const sign = async (blob: Buffer = noPin) => {
    const socket = await agent.connectRaw();
    const signing = new AgentClient(socket).sign(blob, data);
    signing.catch(() => {});
    return { socket, signing };
  };
  /** As `sign`, with all the keys, in their order. */
  const signAll = async () => {
    const all: Awaited<ReturnType<typeof sign>>[] = [];
    for (const blob of keys) {
      all.push(await sign(blob));
      await client.identities();
    }
    return all;
  };
  /** Waits until so many signatures wait for a PIN of one kind. */
  const waitForPin = (kind: string, count: number) =>
    eventually(() => {
      const line = `a signature waits for the PIN of ${kind}`;
      return agent.log.filter((logged) => logged === line).length === count;
    });
  return { workspace, display, agent, client, keys, sign, signAll, waitForPin };
}

const confirm = (name: string) => `confirm: Allow use of key ${name}?`;

/** The events of an answered prompt. */
const answered = (name: string) => [`shown ${name}`, `answered ${name}`];

test("prompts of four concurrent clients are shown in the order of arrival", async (t) => {
  const names = ["one", "two", "three", "four"];
  const { display, client, signAll } = await prepare(t, names);
  display.hold();
  const all = await signAll();
  t.true(await eventually(() => display.events().length > 0));
  t.is((await client.identities()).length, 4); // nothing else waits meanwhile
  display.release();
  for (const { signing } of all) t.truthy(await signing);
  t.deepEqual(
    display.events(),
    names.flatMap((name) => answered(confirm(name))),
  );
});

for (const [how, leave] of [
  ["closes", "destroy"],
  ["sends no more", "end"],
] as const) {
  test(`the prompt of a client that ${how} is withdrawn, or never shown`, async (t) => {
    const { agent, display, signAll } = await prepare(t, ["shown", "waiting", "patient"]);
    display.hold();
    const [first, second, third] = await signAll();
    t.true(await eventually(() => display.events().length > 0));
    second?.socket[leave]();
    first?.socket[leave]();
    t.true(await eventually(() => display.events().length === 3));
    display.release();
    t.truthy(await third?.signing);
    t.deepEqual(display.events(), [
      `shown ${confirm("shown")}`,
      `taken back ${confirm("shown")}`,
      ...answered(confirm("patient")),
    ]);
    const reasons = agent.log.filter((line) => line.startsWith("refused request 13"));
    t.deepEqual(new Set(reasons), new Set([reasons[0]]));
    t.regex(reasons[0] ?? "", /The client disconnected/);
  });
}

test("the agent notices that a client has gone while it does not read from it", async (t) => {
  const { agent, display, keys } = await prepare(t, ["key"]);
  display.hold();
  const socket = await agent.connectRaw();
  const signing = { type: "sign", keyBlob: keys[0] ?? noPin, data, flags: 0 } as const;
  for (let at = 0; at < 5000; at++) socket.write(frame(encodeRequest(signing)));
  t.true(await eventually(() => display.events().length === 1));
  socket.destroy();
  t.true(await eventually(() => display.events().length === 2));
  t.deepEqual(display.events(), [`shown ${confirm("key")}`, `taken back ${confirm("key")}`]);
});

test("there are no prompts for a locked agent or for removed keys", async (t) => {
  const { display, client, keys, sign, signAll } = await prepare(t, ["one", "two", "three"]);
  display.hold();
  const locked = await signAll();
  t.true(await eventually(() => display.events().length === 1));
  await client.lock(Buffer.from("x"));
  for (const { signing } of locked) await t.throwsAsync(signing, refused);
  await client.unlock(Buffer.from("x"));
  t.true(await eventually(() => display.events().length === 2));
  const [one, two, three] = await signAll();
  t.true(await eventually(() => display.events().length === 3));
  await client.removeIdentity(keys[1] ?? noPin);
  await t.throwsAsync(async () => two?.signing, refused);
  t.is(display.events().length, 3);
  await client.removeIdentity(keys[0] ?? noPin);
  await t.throwsAsync(async () => one?.signing, refused);
  t.true(await eventually(() => display.events().length === 5));
  await client.removeAllIdentities();
  await t.throwsAsync(async () => three?.signing, refused);
  await t.throwsAsync((await sign(keys[2])).signing, refused);
  t.true(await eventually(() => display.events().length === 6));
  t.deepEqual(display.events(), [
    ...["one", "one", "three"].flatMap((name) => [
      `shown ${confirm(name)}`,
      `taken back ${confirm(name)}`,
    ]),
  ]);
});

/** A card whose PIN is asked for at each signature, or once. */
async function loadCard(workspace: Workspace, client: AgentClient, ...words: string[]) {
  const before = (await blobs(client)).length;
  const module = await makeHostileModule(workspace, "login", ...words);
  await client.addSmartcardKey(module.path, Buffer.from(hostilePin));
  module.behave("login", "lose-login", ...words);
  return (await blobs(client))[before] ?? noPin;
}

/** A stand-in for ssh-sk-helper that asks for a PIN first, and then signs. */
async function wantingPin(t: ExecutionContext, workspace: Workspace) {
  const asked = workspace.path("asked");
  const helper = await findSkHelper({}, "");
  const wrongPin = "\\0\\0\\0\\11\\5\\0\\0\\0\\0\\0\\0\\0\\53";
  return standIn(
    t,
    `if [ -e ${asked} ]; then exec ${helper}; fi; : >${asked}; cat >/dev/null; printf '${wrongPin}'`,
  );
}

test("confirmations and PIN prompts of cards and authenticators share one queue", async (t) => {
  const helperPlace = makeWorkspace(t);
  const { workspace, display, client, keys, sign, waitForPin } = await prepare(
    t,
    ["first", "last"],
    {
      authenticators: { askHelper: await wantingPin(t, helperPlace) },
    },
  );
  const card = await loadCard(workspace, client);
  const skKey = await makeSkKey(t, "ed25519-sk");
  await client.addIdentity(skKey, "sk", [{ type: "sk-provider", provider: skDummy() }]);
  display.hold();
  const all = [await sign(keys[0])];
  t.true(await eventually(() => display.events().length === 1));
  all.push(await sign(card));
  t.true(await waitForPin('"hostile"', 1));
  all.push(await sign(encodePublicKey(skKey.publicKey)));
  t.true(await waitForPin("an authenticator", 1));
  all.push(await sign(keys[1]));
  await client.identities();
  display.release();
  for (const { signing } of all) t.truthy(await signing);
  const kinds = display.events().filter((event) => event.startsWith("shown "));
  t.deepEqual(
    kinds.map((kind) => kind.replace(/ \(?SHA256.*/, "")).filter((kind) => !/none/.test(kind)),
    [
      `shown ${confirm("first")}`,
      `shown pin: Enter PIN for token hostile to use key one`,
      `shown pin: Enter PIN and confirm user presence for ED25519-SK`,
      `shown ${confirm("last")}`,
    ],
  );
  t.deepEqual(
    display.events().filter((event) => event.startsWith("lost")),
    [],
  );
});

test("a shared PIN prompt stays until its last client has gone", async (t) => {
  const { workspace, display, client, keys, sign, waitForPin } = await prepare(t, ["other"]);
  const card = await loadCard(workspace, client);
  display.hold();
  const waiting = [await sign(card)];
  t.true(await eventually(() => display.events().length === 1));
  for (let at = 0; at < 2; at++) waiting.push(await sign(card));
  const other = await sign(keys[0]);
  t.true(await waitForPin('"hostile"', 3));
  for (const { socket } of waiting.slice(0, 2)) socket.destroy();
  await client.identities();
  await sleep(200);
  t.is(display.events().length, 1);
  waiting[2]?.socket.destroy();
  t.true(await eventually(() => display.events().length === 3));
  const late = await sign(card);
  display.release();
  t.truthy(await other.signing);
  t.truthy(await late.signing);
  const [pin = ""] = display.events();
  const prompt = pin.replace(/^shown /, "");
  t.deepEqual(display.events(), [
    `shown ${prompt}`,
    `taken back ${prompt}`,
    ...answered(confirm("other")),
    ...answered(prompt),
  ]);
});

test("clients share a PIN even if the first of them has gone", async (t) => {
  const { workspace, display, client, sign, waitForPin } = await prepare(t, []);
  const card = await loadCard(workspace, client);
  display.hold();
  const first = await sign(card);
  t.true(await eventually(() => display.events().length === 1));
  const second = await sign(card);
  t.true(await waitForPin('"hostile"', 2));
  first.socket.destroy();
  await client.identities();
  display.release();
  t.truthy(await second.signing);
  t.is(display.events().length, 2);
});

test("a PIN prompt for a single signature is not shown for a client that has gone", async (t) => {
  const { workspace, display, client, sign } = await prepare(t, []);
  const card = await loadCard(workspace, client, "always-authenticate");
  display.hold();
  const first = await sign(card);
  t.true(await eventually(() => display.events().length === 1));
  const second = await sign(card);
  const third = await sign(card);
  second.socket.destroy();
  first.socket.destroy();
  t.true(await eventually(() => display.events().length === 3));
  display.release();
  t.truthy(await third.signing);
  t.is(display.events().filter((event) => event.startsWith("shown")).length, 2);
});

/** A stand-in for ssh-sk-helper that signs when it is touched, and logs its PID. */
async function touchable(t: ExecutionContext, workspace: Workspace) {
  const [touched, pids] = [workspace.path("touched"), workspace.path("pids")];
  const helper = await findSkHelper({}, "");
  const script = `echo $$ >>${pids}; while [ ! -e ${touched} ]; do sleep 0.02; done; exec ${helper}`;
  return {
    askHelper: standIn(t, script, 60_000),
    touch: () => workspace.write("touched", ""),
    pids: () => (existsSync(pids) ? readFileSync(pids, "latin1").split("\n").slice(0, -1) : []),
  };
}

async function prepareTouch(t: ExecutionContext, names: readonly string[]) {
  const { askHelper, touch, pids } = await touchable(t, makeWorkspace(t));
  const prepared = await prepare(t, names, { authenticators: { askHelper } });
  const key = await makeSkKey(t, "ed25519-sk");
  await prepared.client.addIdentity(key, "sk", [{ type: "sk-provider", provider: skDummy() }]);
  return { ...prepared, touch, pids, skBlob: encodePublicKey(key.publicKey) };
}

const isNotice = (event: string) => event.includes(" none: Confirm user presence");

test("a notice waits in the queue, and the signature does not wait for it", async (t) => {
  const { display, keys, sign, touch, pids, skBlob } = await prepareTouch(t, ["first", "second"]);
  display.hold();
  const question = await sign(keys[0]);
  t.true(await eventually(() => display.events().length === 1));
  const touching = await sign(skBlob);
  t.true(await eventually(() => pids().length === 1));
  const next = await sign(keys[1]);
  display.release();
  t.truthy(await question.signing);
  t.true(await eventually(() => display.events().some(isNotice)));
  t.false(display.events().includes(`shown ${confirm("second")}`));
  touch();
  t.truthy(await touching.signing);
  t.truthy(await next.signing);
  const [, , shown = "", taken = ""] = display.events();
  t.regex(shown, /^shown none/);
  t.is(taken, shown.replace("shown", "taken back"));
  t.deepEqual(display.events().slice(4), answered(confirm("second")));
});

test("a notice whose signature is done before its turn is not shown", async (t) => {
  const { display, keys, sign, touch, skBlob } = await prepareTouch(t, ["first"]);
  display.hold();
  const question = await sign(keys[0]);
  t.true(await eventually(() => display.events().length === 1));
  touch();
  t.truthy(await (await sign(skBlob)).signing);
  display.release();
  t.truthy(await question.signing);
  t.deepEqual(display.events(), answered(confirm("first")));
});

test("a touch is not waited for when the client has gone", async (t) => {
  const { display, keys, sign, pids, skBlob } = await prepareTouch(t, ["first"]);
  const touching = await sign(skBlob);
  const waiting = await sign(skBlob);
  t.true(await eventually(() => pids().length === 1 && display.events().some(isNotice)));
  waiting.socket.destroy();
  touching.socket.destroy();
  t.true(await eventually(() => !isRunning(Number(pids()[0]))));
  t.truthy(await (await sign(keys[0])).signing);
  t.is(display.events().filter(isNotice).length, 2);
  t.is(pids().length, 1);
});

/** The program ssh-agent with a display, and a key that needs confirmation. */
async function startProgram(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const display = makeDisplay(workspace);
  Object.assign(workspace.env, display.env);
  const agent = await start(workspace);
  const env = { SSH_AUTH_SOCK: agent.socket };
  const key = workspace.path("key");
  await workspace.expect(sshKeygen(), ["-q", "-t", "ed25519", "-N", "", "-C", "it", "-f", key]);
  await workspace.expect(systemSshAdd(), ["-q", "-c", key], { env });
  display.hold();
  const client = workspace.spawn(systemSshAdd(), ["-T", `${key}.pub`], { env });
  t.true(await eventually(() => display.events().length === 1));
  return { workspace, display, agent, client, env, key };
}

const takenBack = [`shown ${confirm("it")}`, `taken back ${confirm("it")}`];

test("a killed askpass makes way for the next prompt", async (t) => {
  const { workspace, display, client, env, key } = await startProgram(t);
  const next = workspace.run(systemSshAdd(), ["-T", `${key}.pub`], { env });
  t.is((await workspace.run(systemSshAdd(), ["-l"], { env })).status, 0);
  client.kill("SIGKILL");
  t.true(await eventually(() => display.events().length === 3));
  display.release();
  t.is((await next).status, 0);
  t.deepEqual(display.events(), [...takenBack, ...answered(confirm("it"))]);
});

for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR1"] as const) {
  test(`${signal} withdraws the prompt that the agent shows`, async (t) => {
    const { display, agent } = await startProgram(t);
    process.kill(agent.pid, signal);
    t.true(await eventually(() => display.events().length === 2));
    t.deepEqual(display.events(), takenBack);
    t.true(await eventually(() => isRunning(agent.pid) === (signal === "SIGUSR1")));
  });
}
