/** Searches the agent's memory for what is left of private keys. */
import { createHash } from "node:crypto";
import { on } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ml_dsa44 as noble } from "@noble/post-quantum/ml-dsa.js";
import test, { type ExecutionContext } from "ava";
import { hostilePin, makeHostileModule } from "../fixtures/hostile-module/index.ts";
import { type Secrets, secretsInMemory, testAsRoot } from "../fixtures/process-memory.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import { expandMlDsaSeed } from "../protocol/ml-dsa.ts";
import { type Coefficients, fromNtt } from "../protocol/ml-dsa-ring.ts";
import type { PrivateKey } from "../protocol/private-key.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { minusOne, modulo } from "./keys/modulo.ts";
import { bind, makeHost } from "./policy/test-hosts.ts";
import { generateKey, keyTypes } from "./test-agent.ts";
import { start } from "./test-program.ts";

const data = Buffer.from("what is signed");
const passphrase = () => Buffer.from("open sesame");

interface KeyToHide {
  readonly name: string;
  readonly key: PrivateKey;
  readonly blob: Buffer;
  readonly secrets: Secrets;
}

function makeKeys(): KeyToHide[] {
  return keyTypes.map((name) => {
    const key = generateKey(name);
    return { name, key, blob: encodePublicKey(key.publicKey), secrets: secretsOf(name, key) };
  });
}

/** Each number that is enough to recover the key. */
function secretsOf(name: string, key: PrivateKey): Secrets {
  const { secret } = key;
  switch (secret.type) {
    case "rsa": {
      const { d, iqmp, p, q } = secret;
      const [dp, dq] = [modulo(d, minusOne(p)), modulo(d, minusOne(q))];
      return Object.fromEntries(
        Object.entries({ d, dp, dq, iqmp, p, q }).map(([number, value]) => [
          `${name} ${number}`,
          Buffer.from(value),
        ]),
      );
    }
    case "ecdsa":
      return { [name]: Buffer.from(secret.d) };
    case "ed25519": {
      const expanded = createHash("sha512").update(secret.seed).digest();
      return {
        [name]: Buffer.from(secret.seed),
        [`${name} scalar`]: expanded.subarray(0, 32),
        [`${name} prefix`]: expanded.subarray(32),
      };
    }
    case "mldsa44-ed25519": {
      const { mlDsaSeed, ed25519Seed } = secret;
      const ed25519 = { ...key, secret: { type: "ed25519" as const, seed: ed25519Seed } };
      return { ...secretsOf(`${name} Ed25519`, ed25519), ...mlDsaSecrets(name, mlDsaSeed) };
    }
    default:
      throw new TypeError(secret.type);
  }
}

/** The seed, what is expanded from it (FIPS 204, algorithm 6), and the secret vectors as they sign. */
function mlDsaSecrets(name: string, seed: Buffer): Secrets {
  const expanded = createHash("shake256", { outputLength: 128 })
    .update(Buffer.concat([seed, Buffer.of(4, 4)]))
    .digest();
  const { s1, s2, signingSeed } = expandMlDsaSeed(seed).secret;
  const { secretKey } = noble.keygen(seed);
  const vectors = Object.entries({ s1, s2 }).map(([vector, { buffer }]) => [
    `${name} ${vector}`,
    // The parts that are searched begin and end within a coefficient, not with one's zeros.
    Buffer.from(buffer).subarray(0, -3),
  ]);
  const coefficients = Object.entries({ s1, s2 }).map(([vector, transformed]) => {
    const small = transformed.slice();
    fromNtt(small);
    return [`${name} coefficients of ${vector}`, recognizablePart(small)];
  });
  return {
    [`${name} seed`]: Buffer.from(seed),
    [`${name} rho'`]: expanded.subarray(32, 96),
    [`${name} K`]: signingSeed,
    [`${name} packed s1`]: secretKey.subarray(128, 512),
    [`${name} packed s2`]: secretKey.subarray(512, 896),
    ...Object.fromEntries(vectors),
    ...Object.fromEntries(coefficients),
  };
}

/** Four small coefficients in a row that are negative modulo q: three bytes each that little else has. */
function recognizablePart(small: Coefficients): Buffer {
  const at = small.findIndex((_, at) => small.subarray(at, at + 4).every((value) => value > 2));
  return Buffer.from(small.buffer, at * small.BYTES_PER_ELEMENT, 16);
}

/** An agent with a clock that the test controls and memory that it can read, and a client. */
async function startReadable(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const program = fileURLToPath(new URL("./test-memory-agent.ts", import.meta.url));
  const args = ["--import", import.meta.resolve("tsx"), program];
  const child = workspace.spawn(process.execPath, args);
  const { pid, stdin, stdout } = child;
  if (pid === undefined || !stdin || !stdout) throw new Error("The agent does not start.");
  const lines = on(createInterface(stdout), "line");
  const readLine = async () => String((await lines.next()).value);
  const path = await readLine();
  const client = await AgentClient.connect(path);
  t.teardown(() => client.close());
  return {
    client,
    path,
    async pass(milliseconds: number) {
      stdin.write(`${milliseconds}\n`);
      await readLine();
    },
    inMemory: (keys: readonly KeyToHide[]) => {
      return secretsInMemory(pid, Object.assign({}, ...keys.map(({ secrets }) => secrets)));
    },
  };
}

type Readable = Awaited<ReturnType<typeof startReadable>>;

async function addAndSign({ client }: Readable, keys: readonly KeyToHide[], lifetime?: number) {
  const constraints =
    lifetime === undefined ? [] : [{ type: "lifetime" as const, seconds: lifetime }];
  for (const { name, key } of keys) await client.addIdentity(key, name, constraints);
  await signAll(client, keys);
}

async function signAll(client: AgentClient, keys: readonly KeyToHide[]) {
  for (let again = 0; again < 3; again++) {
    for (const { blob, name } of keys) await client.sign(blob, data, name === "rsa" ? 4 : 0);
  }
}

/** Asserts that the search finds keys that are in use, so that an empty result means something. */
function assertInMemory(t: ExecutionContext, agent: Readable, keys: readonly KeyToHide[]) {
  const found = agent.inMemory(keys);
  for (const { name } of keys) {
    t.true(
      found.some((secret) => secret.startsWith(name)),
      `${name}: ${found}`,
    );
  }
}

const ends: Record<string, (agent: Readable, keys: readonly KeyToHide[]) => Promise<void>> = {
  "was removed": async ({ client }, keys) => {
    for (const { blob } of keys) await client.removeIdentity(blob);
  },
  "was removed with all others": ({ client }) => client.removeAllIdentities(),
  "has expired": ({ pass }) => pass(30_000),
};

for (const [how, end] of Object.entries(ends)) {
  test(`two seconds after a key ${how}, no part of it is in memory`, async (t) => {
    const agent = await startReadable(t);
    const keys = makeKeys();
    await addAndSign(agent, keys, 30);
    assertInMemory(t, agent, keys);
    await end(agent, keys);
    await agent.pass(2_000);
    t.deepEqual(agent.inMemory(keys), []);
    t.deepEqual(await agent.client.identities(), []);
  });
}

test("a key that is added again is cleared with its last identity", async (t) => {
  const agent = await startReadable(t);
  const keys = makeKeys();
  await addAndSign(agent, keys);
  await addAndSign(agent, keys);
  await agent.pass(2_000);
  assertInMemory(t, agent, keys);
  await agent.client.removeAllIdentities();
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
});

test("no part of a refused key is in memory", async (t) => {
  const agent = await startReadable(t);
  const [keys, others] = [makeKeys(), makeKeys()];
  for (const [at, { key }] of keys.entries()) {
    const publicKey = others[at]?.key.publicKey ?? key.publicKey;
    await t.throwsAsync(agent.client.addIdentity({ ...key, publicKey }, ""), {
      instanceOf: AgentRefusal,
    });
  }
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
});

test("a key that was not used for a minute is encrypted until it is used", async (t) => {
  const agent = await startReadable(t);
  const keys = makeKeys();
  await addAndSign(agent, keys);
  await agent.pass(30_000);
  assertInMemory(t, agent, keys);
  const used = keys.slice(0, 1);
  await signAll(agent.client, used);
  await agent.pass(30_000);
  assertInMemory(t, agent, used);
  t.deepEqual(agent.inMemory(keys.slice(1)), []);
  await agent.pass(30_000);
  t.deepEqual(agent.inMemory(keys), []);
  await signAll(agent.client, keys);
  assertInMemory(t, agent, keys);
  await agent.pass(60_000);
  t.deepEqual(agent.inMemory(keys), []);
});

test("a login's list of identities opens the key that was used last, for seconds", async (t) => {
  const agent = await startReadable(t);
  const keys = makeKeys();
  const last = keys.slice(-1);
  await addAndSign(agent, keys);
  const login = async () => {
    const client = await AgentClient.connect(agent.path);
    t.teardown(() => client.close());
    await bind(client, makeHost("server"), "session", false);
    await client.identities();
    await client.identities();
  };
  await agent.pass(60_000);
  await agent.pass(2_000);
  await agent.client.identities();
  t.deepEqual(agent.inMemory(keys), []);
  await login();
  assertInMemory(t, agent, last);
  t.deepEqual(agent.inMemory(keys.slice(0, -1)), []);
  await agent.pass(5_000);
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
  await agent.client.lock(passphrase());
  await login();
  t.deepEqual(agent.inMemory(keys), []);
});

test("a locked agent has only encrypted keys; so has an unlocked one until they are used", async (t) => {
  const agent = await startReadable(t);
  const keys = makeKeys();
  await addAndSign(agent, keys);
  await agent.client.lock(passphrase());
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
  await agent.client.unlock(passphrase());
  t.deepEqual(agent.inMemory(keys), []);
  await signAll(agent.client, keys);
  assertInMemory(t, agent, keys);
});

test("pending signatures leave nothing when the agent is locked or the key removed", async (t) => {
  const agent = await startReadable(t);
  const keys = makeKeys();
  await addAndSign(agent, keys);
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => AgentClient.connect(agent.path)),
  );
  t.teardown(() => {
    for (const client of clients) client.close();
  });
  const sign = () =>
    clients.flatMap((client) => keys.map(({ blob }) => client.sign(blob, data).catch(() => {})));
  const first = sign();
  await agent.client.lock(passphrase());
  await Promise.all(first);
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
  await agent.client.unlock(passphrase());
  const second = sign();
  await agent.client.removeAllIdentities();
  await Promise.all(second);
  await agent.pass(2_000);
  t.deepEqual(agent.inMemory(keys), []);
});

test("the agent's program clears its memory in time, and only root can read it", async (t) => {
  const { socket, pid } = await start(makeWorkspace(t));
  const client = await AgentClient.connect(socket);
  t.teardown(() => client.close());
  const keys = makeKeys();
  const secrets: Secrets = Object.assign({}, ...keys.map((key) => key.secrets));
  if (process.getuid?.() !== 0) {
    t.throws(() => secretsInMemory(pid, secrets), { code: "EACCES" });
    return;
  }
  for (const { key, name } of keys) await client.addIdentity(key, name);
  await signAll(client, keys);
  // Once for all: on a busy machine, a few searches take the minute after which keys are shielded.
  const found = secretsInMemory(pid, secrets);
  for (const { name } of keys)
    t.true(
      found.some((secret) => secret.startsWith(name)),
      name,
    );
  await client.removeAllIdentities();
  await sleep(2_000);
  t.deepEqual(secretsInMemory(pid, secrets), []);
});

testAsRoot("a PIN that was typed for a signature is not left in memory", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace, "login");
  const pin = "a wrong PIN, longer than what is read after it ".repeat(16);
  workspace.env.SSH_ASKPASS = workspace.write("askpass", `#!/bin/sh\necho '${pin}'\n`, 0o700);
  workspace.env.SSH_ASKPASS_REQUIRE = "force";
  const { socket, pid } = await start(workspace, ["-P", "*"]);
  const client = await AgentClient.connect(socket);
  t.teardown(() => client.close());
  await client.addSmartcardKey(module.path, Buffer.from(hostilePin));
  const [identity] = await client.identities();
  module.behave("login", "lose-login");
  await t.throwsAsync(client.sign(identity?.keyBlob ?? Buffer.alloc(0), data), {
    instanceOf: AgentRefusal,
  });
  t.is((await client.failureReason())?.code, "pin-incorrect");
  t.deepEqual(secretsInMemory(pid, { pin: Buffer.from(pin) }), []);
});
