import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { listProcesses, signal } from "../../fixtures/processes.ts";
import { keysOf, makeToken } from "../../fixtures/softhsm.ts";
import { ykcs11Library } from "../../fixtures/system-programs.ts";
import { makeYubiKey, startCardReader } from "../../fixtures/virtual-yubikey/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { AgentRefusal } from "../../protocol/client.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { readProc } from "../pkcs11/test-hostile.ts";
import { startAgent, type TestAgentOptions } from "../test-agent.ts";

/** The child processes of this file's agents, until Node.js has noticed their end. */
function children(): number[] {
  const children = listProcesses().filter(({ parent }) => parent === process.pid);
  return children
    .map(({ pid }) => pid)
    .filter((pid) => {
      // Empty while a process starts, and for a zombie.
      const command = readProc(pid, "cmdline");
      return command === "" || command.includes("pkcs11-child");
    });
}

const noneIsLeft = () => eventually(() => children().length === 0);

async function withCard(t: Parameters<typeof startAgent>[0], options: TestAgentOptions = {}) {
  const token = await makeToken(makeWorkspace(t), { keys: keysOf(["p256"]) });
  const agent = await startAgent(t, { ...options, cardEnvironment: token.env });
  const client = await agent.connect();
  const load = () => client.addSmartcardKey(token.library, Buffer.from(token.pin));
  const prepare = () => client.prepareProvider(token.library);
  return { agent, client, load, prepare };
}

// Serial, because the tests count this process's children.
test.serial("the prepared process loads the provider", async (t) => {
  const { agent, client, load, prepare } = await withCard(t);
  await prepare();
  await prepare();
  const prepared = children();
  t.is(prepared.length, 1);
  await load();
  t.deepEqual(children(), prepared);
  const [identity] = await client.identities();
  t.truthy(identity && (await client.sign(identity.keyBlob, Buffer.from("data"))));
  client.close();
  t.is((await (await agent.connect()).identities()).length, 1);
  await agent.agent.removeEverything();
  t.true(await noneIsLeft());
});

test.serial("a prepared process is used once, and the next provider has its own", async (t) => {
  const { agent, load, prepare } = await withCard(t);
  await prepare();
  await load();
  const first = children();
  await load();
  t.true(await eventually(() => children().length === 1));
  t.notDeepEqual(children(), first);
  await agent.agent.removeEverything();
  t.true(await noneIsLeft());
});

test.serial("an unused prepared process ends with its connection", async (t) => {
  const { client, prepare } = await withCard(t);
  await prepare();
  t.is(children().length, 1);
  client.close();
  t.true(await noneIsLeft());
});

test.serial("a prepared process stays when another path is refused", async (t) => {
  const { agent, client, load, prepare } = await withCard(t);
  await prepare();
  const prepared = children();
  await t.throwsAsync(client.addSmartcardKey("/nowhere.so", Buffer.alloc(0)));
  await load();
  t.deepEqual(children(), prepared);
  await agent.agent.removeEverything();
  t.true(await noneIsLeft());
});

test.serial("a killed prepared process is replaced", async (t) => {
  const { agent, load, prepare } = await withCard(t);
  await prepare();
  for (const pid of children()) signal(pid, "SIGKILL");
  t.true(await noneIsLeft());
  await load();
  t.is(children().length, 1);
  await agent.agent.removeEverything();
  t.true(await noneIsLeft());
});

test.serial(
  "nothing is prepared by a locked agent, or for a request with trailing bytes",
  async (t) => {
    const { client, prepare } = await withCard(t);
    const refusal = { instanceOf: AgentRefusal };
    const { prepareProvider } = extensionNames;
    await t.throwsAsync(client.extension(prepareProvider, Buffer.of(0)), refusal);
    t.is((await client.failureReason())?.code, "malformed");
    await client.lock(Buffer.from("secret"));
    await t.throwsAsync(prepare(), refusal);
    t.is((await client.failureReason())?.code, "locked");
    t.deepEqual(children(), []);
  },
);

test.serial("nothing is prepared for a library that is missing or may not be loaded", async (t) => {
  const { client } = await withCard(t);
  const refusal = { instanceOf: AgentRefusal };
  for (const [provider, code] of [
    ["/nowhere.so", "no-such-file"],
    ["pkcs11:?pin-value=1234", "malformed"],
  ] as const) {
    await t.throwsAsync(client.prepareProvider(provider), refusal);
    t.is((await client.failureReason())?.code, code);
  }
  t.deepEqual(children(), []);
});

test.serial("adding a library that crashed while it was prepared reports the crash", async (t) => {
  const module = await makeHostileModule(makeWorkspace(t), "crash-slots");
  const { agent, client } = await withCard(t);
  await client.prepareProvider(module.path);
  t.true(await noneIsLeft());
  await t.throwsAsync(client.addSmartcardKey(module.path, Buffer.alloc(0)));
  t.is((await client.failureReason())?.code, "module-crashed");
  module.behave("absent");
  await client.prepareProvider(module.path);
  module.behave(); // the card is inserted while somebody looks for the PIN
  await client.addSmartcardKey(module.path, Buffer.alloc(0));
  t.is((await client.identities()).length, 1);
  t.is(module.calls().filter((call) => call === "initialize").length, 3);
  await agent.agent.removeEverything();
  t.true(await noneIsLeft());
});

test.serial("a prepared library reads the card before the PIN is known", async (t) => {
  const workspace = makeWorkspace(t);
  const card = await makeYubiKey({ keys: [{ slot: "9a", type: "p256" }] });
  const reader = await startCardReader(workspace, { cards: [card] });
  const agent = await startAgent(t, { cardEnvironment: reader.env });
  const client = await agent.connect();
  await client.prepareProvider(ykcs11Library());
  t.true(await eventually(() => card.commands.filter((name) => name === "GET DATA").length > 20));
  t.is(card.verifications.given, 0);
  await client.addSmartcardKey(ykcs11Library(), Buffer.from("123456"));
  t.is((await client.identities()).length, 1);
  t.is(card.verifications.given, 1);
});
