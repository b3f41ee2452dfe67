/** Certificates that the agent renews by itself: when, for which keys, and within which limits. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning } from "../../fixtures/processes.ts";
import { keysOf, makeToken } from "../../fixtures/softhsm.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { type Certificate, forever } from "../../protocol/certificate.ts";
import type { AgentClient } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { decodePublicKey, encodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { bind, makeHost } from "../policy/test-hosts.ts";
import { generateKey, makeCa, reasonOf, refused, startAgent, TestTime } from "../test-agent.ts";
import { lineOf, prepareRenewal } from "./test-program.ts";

const data = Buffer.from("data");
const ca = makeCa();
const { start } = TestTime;
/** Of certificates: from the start, for 900 seconds. Two thirds are over after 600. */
const hour = { validAfter: start, validBefore: start + 900n };
const next = { validAfter: start, validBefore: start + 1800n, serial: 2n };

function attach(client: AgentClient, certificate: Buffer, constraints: Constraint[] = []) {
  return client.addCertificate({ certificate, comment: "", replace: true, constraints });
}

/** An agent with a key, its certificate, and a program that renews it. */
async function prepare(
  t: ExecutionContext,
  options: Parameters<typeof prepareRenewal>[1] = {},
  fields: Partial<Certificate> = {},
) {
  const place = await prepareRenewal(t, options);
  const key = generateKey("ed25519");
  const plain = encodePublicKey(key.publicKey);
  const older = ca.certify(key.publicKey, { ...hour, ...fields });
  const renewed = ca.certify(key.publicKey, next);
  await place.client.addIdentity(key, "key");
  await attach(place.client, older);
  place.program.answer(renewed);
  return { ...place, key, plain, older, renewed };
}

test("a certificate is renewed when two thirds of its time are over", async (t) => {
  const { program, time, agent, client, blobs, gets, plain, older, renewed } = await prepare(t);
  t.deepEqual(await client.listRenewals(), [
    {
      keyBlob: plain,
      certificate: older,
      state: "scheduled",
      lastTry: 0n,
      nextTry: start + 600n,
      lastError: "",
    },
  ]);
  time.seconds(599);
  t.deepEqual(await blobs(), [older, plain]);
  t.deepEqual(program.runs(), []);
  time.seconds(1);
  t.true(await gets(renewed));
  t.deepEqual(await blobs(), [renewed, plain]);
  const [run = "", ...others] = program.runs();
  t.deepEqual(others, []);
  const [, count, path = ""] = run.split(" ");
  t.is(count, "0");
  t.is(program.read("stdin"), lineOf(plain, "key"));
  t.is(program.read("old"), lineOf(older, "key"));
  t.is(program.read("modes"), "600\n700\n");
  t.true(await eventually(() => !existsSync(dirname(path))));
  t.deepEqual(await client.listRenewals(), [
    {
      keyBlob: plain,
      certificate: renewed,
      state: "scheduled",
      lastTry: start + 600n,
      nextTry: start + 1200n,
      lastError: "",
    },
  ]);
  const attached = agent.log.filter((line) => line.startsWith("attached"));
  t.is(attached.at(-1), 'attached certificate "key", in the place of 1');
  // It has the lifetime that ssh-add --cert-for-card would give it.
  program.set("fail", "no more");
  time.seconds(1499);
  t.deepEqual(await blobs(), [renewed, plain]);
  time.seconds(1);
  t.deepEqual(await blobs(), [plain]);
});

test("a failed run is tried again later and later, also when a client lists", async (t) => {
  const { program, time, agent, client, gets, waitFor, key, older, renewed } = await prepare(t);
  program.set("fail", "first\n\u001b[31mno \u202eticket\r\n\n");
  time.seconds(600);
  let tried = start + 600n;
  for (const wait of [10n, 20n, 40n, 80n, 160n, 320n, 600n, 600n]) {
    const renewal = await waitFor(({ nextTry }) => nextTry === tried + wait);
    t.is(renewal.lastTry, tried);
    t.is(renewal.state, "scheduled");
    t.is(renewal.lastError, "The program exited with status 2: \ufffd[31mno \ufffdticket");
    const runs = program.runs().length;
    time.seconds(Number(wait) - 1);
    await client.identities();
    await client.sign(older, data).catch(() => {});
    t.is(program.runs().length, runs);
    time.seconds(1);
    tried += wait;
  }
  await waitFor(({ nextTry }) => nextTry === tried + 600n);
  t.true(agent.log.includes('renewal of "key": first'));
  program.unset("fail");
  const certificate = ca.certify(key.publicKey, { ...next, validBefore: start + 9000n });
  program.answer(certificate);
  t.false((await client.identities()).some(({ keyBlob }) => keyBlob.equals(renewed)));
  time.seconds(600);
  t.true(await gets(certificate));
  t.is((await waitFor(() => true)).lastError, "");
});

test("what the program prints is checked", async (t) => {
  const { program, time, waitFor, key, renewed } = await prepare(t);
  const certify = (fields: Partial<Certificate>, by = ca, whose = key) =>
    by.certify(whose.publicKey, { ...next, ...fields });
  let last = "";
  const refuses = async (expected: string) => {
    time.seconds(600);
    const { lastError } = await waitFor((renewal) => {
      return renewal.state === "scheduled" && renewal.lastError !== last;
    });
    t.is(lastError, expected);
    last = lastError;
  };
  const late = { validBefore: start + 90_000n };
  for (const [blob, what] of [
    [certify({}, ca, generateKey("ed25519")), "of another key"],
    [certify({}, makeCa()), "of another CA"],
    [certify({ type: "host" }), "for a host"],
    [certify({ validAfter: start + 80_000n, ...late }), "that is not valid yet"],
    [certify({ validBefore: start + 1n }), "that has expired"],
  ] as const) {
    program.answer(blob);
    await refuses(`The program printed a certificate ${what}.`);
  }
  program.set("answer", "-----BEGIN\nssh-ed25519 AAAA\n");
  await refuses("The program printed no certificate.");
  program.set("answer", lineOf(certify(late)) + lineOf(renewed));
  await refuses("The program printed more than one certificate.");
  const forged = certify(late);
  forged.fill(0, forged.length - 8);
  program.answer(forged);
  await refuses("Invalid CA signature on the certificate.");
  program.set("answer", "x".repeat(70_000));
  await refuses("The program wrote more than 64 KiB.");
  program.set("script", "kill -9 $$");
  await refuses("The program was ended by SIGKILL.");
});

test("a certificate that does not last longer is refused", async (t) => {
  const { program, time, waitFor, key, older } = await prepare(t);
  for (const [answer, wait] of [
    [older, 600],
    [ca.certify(key.publicKey, { ...hour, serial: 9n }), 10],
  ] as const) {
    program.answer(answer);
    const { nextTry } = await waitFor(() => true);
    time.seconds(wait);
    const { lastError } = await waitFor((one) => one.nextTry > nextTry);
    t.is(
      lastError,
      "The program printed a certificate that does not last longer than the one before.",
    );
  }
});

test("a run ends after a minute, with all that it has started", async (t) => {
  const { agent, program, time, waitFor } = await prepare(t);
  const waits =
    "echo 'Visit https://ca.example.com' >&2; sleep 1000 & echo $! >child; wait; sleep 1000";
  program.set("script", `trap '' TERM; ${waits}`);
  time.seconds(600);
  t.true(await eventually(() => program.read("child").endsWith("\n")));
  t.is((await waitFor(() => true)).state, "running");
  t.is((await waitFor(() => true)).nextTry, 0n);
  const pids = [Number(program.runs()[0]?.split(" ")[0]), Number(program.read("child"))];
  t.true(pids.every(isRunning));
  time.seconds(60);
  const { lastError, lastTry, nextTry } = await waitFor(({ state }) => state === "scheduled");
  t.is(lastError, "The program took longer than a minute: Visit https://ca.example.com");
  t.is(agent.log.at(-1), `renewal of "key": next try in 10 s. ${lastError}`);
  t.deepEqual([lastTry, nextTry], [start + 600n, start + 670n]);
  for (const pid of pids) t.true(await eventually(() => !isRunning(pid)));
});

test("what holds the program's output open is not waited for", async (t) => {
  const { program, time, gets, renewed } = await prepare(t);
  program.set("script", "sleep 1000 & echo $! >child");
  time.seconds(600);
  t.true(await gets(renewed));
  process.kill(Number(program.read("child")), "SIGKILL");
});

test("a program may open its standard streams by name", async (t) => {
  const { program, time, gets, agent, renewed } = await prepare(t);
  const script =
    "#!/bin/sh\n[ -p /dev/stdin ] || exit 9\nread type key </dev/stdin; echo $type >/dev/stderr";
  const answer = program.workspace.path("answer");
  program.workspace.write("renew", `${script}\ncat ${answer} >/dev/stdout`, 0o700);
  time.seconds(600);
  t.true(await gets(renewed));
  t.true(agent.log.includes('renewal of "key": ssh-ed25519'));
});

test("a program that cannot be run", async (t) => {
  const program = { program: "/nonexistent/renew", all: false };
  const { time, waitFor } = await prepare(t, { renewal: program });
  time.seconds(600);
  const { lastError } = await waitFor((one) => one.lastError !== "");
  t.is(lastError, "The program cannot be run: ENOENT.");
});

test("a removed key ends its renewal, also a run in progress", async (t) => {
  const { program, time, client, plain, older } = await prepare(t);
  program.set("hold", "");
  time.seconds(600);
  t.true(await eventually(() => program.runs().length === 1));
  const [pid, , path = ""] = program.runs()[0]?.split(" ") ?? [];
  await client.removeIdentity(older);
  t.deepEqual(await client.listRenewals(), []);
  t.true(await eventually(() => !isRunning(Number(pid)) && !existsSync(dirname(path))));
  t.deepEqual(
    (await client.identities()).map(({ keyBlob }) => keyBlob),
    [plain],
  );
  await attach(client, older);
  t.is((await client.listRenewals()).length, 1);
  await client.removeAllIdentities();
  t.deepEqual(await client.listRenewals(), []);
});

test("removing an expired certificate ends its renewal, though its key stays", async (t) => {
  const { program, time, client, blobs, plain, older } = await prepare(t);
  program.set("fail", "not now");
  time.seconds(1000);
  t.deepEqual(await blobs(), [older, plain]);
  await client.removeIdentity(older);
  t.deepEqual(await client.listRenewals(), []);
  t.deepEqual(await blobs(), [plain]);
});

test("an expired certificate is renewed as long as its key is held", async (t) => {
  const { program, time, client, blobs, gets, waitFor, plain, older, renewed } = await prepare(t);
  program.set("fail", "not now");
  time.seconds(1200);
  t.deepEqual(await blobs(), [plain]);
  const { certificate, nextTry } = await waitFor(({ lastError }) => lastError !== "");
  t.deepEqual(certificate, older);
  program.unset("fail");
  time.seconds(Number(nextTry - time.wall()));
  t.true(await gets(renewed));
  t.deepEqual(await blobs(), [renewed, plain]);
  program.set("fail", "not now");
  time.seconds(5000);
  await client.removeIdentity(plain);
  t.deepEqual(await client.listRenewals(), []);
});

test("one that came over a forwarded connection is not renewed", async (t) => {
  const { program, time, agent, client, key, older, renewed } = await prepare(t, { all: true });
  await client.removeAllIdentities();
  await bind(client, makeHost("far"), "session", true);
  await client.addIdentity(key, "key");
  await attach(client, older);
  const local = await agent.connect();
  time.seconds(600);
  t.deepEqual(await local.listRenewals(), []);
  await t.throwsAsync(client.listRenewals(), refused);
  t.is(await reasonOf(client), "remote-refused");
  t.deepEqual(program.runs(), []);
  // One from this machine for the same key is not, either: whose the key is stays unknown.
  await attach(local, renewed);
  t.deepEqual(await local.listRenewals(), []);
});

test("host certificates and those that never expire are not renewed", async (t) => {
  const { client, key, older } = await prepare(t);
  await client.removeIdentity(older);
  await attach(client, ca.certify(key.publicKey, { ...hour, type: "host" }));
  await attach(client, ca.certify(key.publicKey, { ...hour, validBefore: forever }));
  t.deepEqual(await client.listRenewals(), []);
});

test("an agent without the option renews nothing", async (t) => {
  const time = new TestTime();
  const agent = await startAgent(t, { clock: time, wallClock: time.wall });
  const client = await agent.connect();
  const key = generateKey("ed25519");
  await client.addIdentity({ ...key, certificate: ca.certify(key.publicKey, hour) }, "key");
  t.deepEqual(await client.listRenewals(), []);
});

test("limits of the key and of the older certificate hold for the new one", async (t) => {
  const { program, time, client, blobs, gets, older, renewed } = await prepare(t);
  await client.removeIdentity(older);
  await attach(client, older, [{ type: "confirm" }, { type: "lifetime", seconds: 800 }]);
  time.seconds(600);
  t.true(await gets(renewed));
  await t.throwsAsync(client.sign(renewed, data), refused);
  t.is(await reasonOf(client), "user-refused");
  program.set("fail", "");
  time.seconds(199);
  t.is((await blobs()).length, 2);
  time.seconds(1);
  t.is((await blobs()).length, 1);
  time.seconds(500);
  t.deepEqual(await client.listRenewals(), []);
});

test("a client that has listed the older certificate still signs by it", async (t) => {
  const { time, client, gets, key, plain, older, renewed } = await prepare(t);
  await client.removeIdentity(plain);
  time.seconds(600);
  t.true(await gets(renewed));
  t.true(verifySignature(key.publicKey, await client.sign(older, data), data));
  const other = ca.certify(key.publicKey, { ...hour, principals: ["guest"] });
  await t.throwsAsync(client.sign(other, data), refused);
});

test("a locked agent runs no program, and catches up when it is unlocked", async (t) => {
  const { program, time, client, gets, renewed } = await prepare(t);
  await client.lock(Buffer.from("x"));
  time.seconds(700);
  t.deepEqual(program.runs(), []);
  t.is(time.waits.length, 1); // of the keyring's expiry
  await t.throwsAsync(client.listRenewals(), refused);
  t.is(await reasonOf(client), "locked");
  program.set("hold", "");
  await client.unlock(Buffer.from("x"));
  t.true(await eventually(() => program.runs().length === 1));
  await client.lock(Buffer.from("x"));
  program.unset("hold");
  t.true(await eventually(() => program.read("stdin") !== ""));
  await client.unlock(Buffer.from("x"));
  t.true(await gets(renewed));
});

test("a signature by an expired certificate waits for the program, for three seconds", async (t) => {
  const { program, time, client, agent, gets, key, older, renewed } = await prepare(t);
  program.set("hold", "");
  time.seconds(900);
  t.true(await eventually(() => program.runs().length === 1));
  const order: string[] = [];
  const signature = client.sign(older, data).then((bytes) => {
    order.push("signed");
    return bytes;
  });
  const other = await agent.connect();
  t.is((await other.identities()).length, 2); // a list does not wait
  t.deepEqual(order, []);
  time.pass(2999);
  await other.identities();
  t.deepEqual(order, []);
  time.pass(1);
  t.true(verifySignature(key.publicKey, await signature, data));
  const second = client.sign(older, data);
  program.unset("hold");
  t.true(verifySignature(key.publicKey, await second, data));
  t.true(await gets(renewed));
});

test("each certificate of a key is renewed, one run at a time", async (t) => {
  const { program, time, client, blobs, gets, key, plain, renewed } = await prepare(t);
  const [guests, otherCa] = [{ principals: ["guest"] }, makeCa()];
  await attach(client, ca.certify(key.publicKey, { ...hour, ...guests }));
  await attach(client, otherCa.certify(key.publicKey, hour));
  program.set("hold", "");
  time.seconds(600);
  t.true(await eventually(() => program.runs().length === 1));
  t.deepEqual(
    (await client.listRenewals()).map(({ state }) => state),
    ["running", "scheduled", "scheduled"],
  );
  t.is(program.runs().length, 1);
  const answers = [
    renewed,
    ca.certify(key.publicKey, { ...next, ...guests }),
    otherCa.certify(key.publicKey, next),
  ];
  program.set("script", 'cat "answer$(wc -l <runs)"; exit');
  for (const [index, blob] of answers.entries()) {
    program.workspace.write(`answer${index + 1}`, lineOf(blob));
  }
  program.unset("hold");
  for (const blob of answers) t.true(await gets(blob));
  t.deepEqual(await blobs(), [...answers, plain]);
  t.is(program.runs().length, 3);
});

test("a certificate for other principals stays beside, and the older one is not renewed again", async (t) => {
  const { program, time, client, blobs, gets, key, plain, older } = await prepare(t);
  const other = ca.certify(key.publicKey, { ...next, principals: ["other"] });
  program.answer(other);
  time.seconds(600);
  t.true(await gets(other));
  t.deepEqual(await blobs(), [older, other, plain]);
  t.deepEqual(
    (await client.listRenewals()).map(({ certificate }) => certificate),
    [other],
  );
  time.seconds(590);
  t.is(program.runs().length, 1);
});

test("one that is dated back far is not renewed at once", async (t) => {
  const { program, time, gets, waitFor, key } = await prepare(t);
  const old = ca.certify(key.publicKey, { validAfter: 0n, validBefore: start + 1500n });
  program.answer(old);
  time.seconds(600);
  t.true(await gets(old));
  t.is((await waitFor(() => true)).nextTry, start + 1200n);
  t.is(program.runs().length, 1);
});

test("a new certificate from the user takes the place of the renewal", async (t) => {
  const { program, time, client, key, renewed } = await prepare(t);
  program.set("hold", "");
  time.seconds(600);
  t.true(await eventually(() => program.runs().length === 1));
  const given = ca.certify(key.publicKey, { ...next, serial: 7n });
  await attach(client, given);
  t.deepEqual(
    (await client.listRenewals()).map(({ certificate }) => certificate),
    [given],
  );
  program.unset("hold");
  time.seconds(1);
  t.false((await client.identities()).some(({ keyBlob }) => keyBlob.equals(renewed)));
});

test("renewals follow the wall clock when it is set, or the machine was asleep", async (t) => {
  const { program, time, gets, renewed } = await prepare(t);
  time.offset = 700n;
  time.seconds(60);
  t.true(await gets(renewed));
  t.is(program.runs().length, 1);
});

test("a list after the end starts a run at once", async (t) => {
  const { program, time, client, gets, renewed } = await prepare(t);
  time.offset = 901n;
  await client.identities();
  t.true(await gets(renewed));
  t.is(program.runs().length, 1);
});

test("a token's key keeps its renewal when its certificate is dropped", async (t) => {
  const token = await makeToken(makeWorkspace(t), { keys: keysOf(["p256"]) });
  const { program, time, client, blobs, gets, waitFor } = await prepareRenewal(t, {
    cardEnvironment: token.env,
  });
  await client.addSmartcardKey(token.library, Buffer.from(token.pin));
  const [plain = data] = await blobs();
  const key = decodePublicKey(plain);
  if (key === undefined) throw new Error("The token has no key.");
  await attach(client, ca.certify(key, hour));
  await client.removeIdentity(plain);
  program.set("fail", "away");
  time.seconds(1200);
  t.deepEqual(await blobs(), []);
  const { nextTry } = await waitFor(({ lastError }) => lastError !== "");
  const renewed = ca.certify(key, { ...next, validBefore: start + 9000n });
  program.answer(renewed);
  program.unset("fail");
  time.seconds(Number(nextTry - time.wall()));
  t.true(await gets(renewed));
  t.true(verifySignature(key, await client.sign(renewed, data), data));
  await client.removeSmartcardKey(token.library);
  t.deepEqual(await client.listRenewals(), []);
});

test("an upstream agent's key is renewed, as long as the upstream has it", async (t) => {
  const behind = await startAgent(t);
  const inner = await behind.connect();
  const { program, time, client, gets, waitFor } = await prepareRenewal(t, {
    upstreams: [{ path: behind.path, confirm: false }],
  });
  const key = generateKey("ed25519");
  const plain = encodePublicKey(key.publicKey);
  await inner.addIdentity(key, "behind");
  await attach(client, ca.certify(key.publicKey, hour));
  const renewed = ca.certify(key.publicKey, next);
  program.answer(renewed);
  time.seconds(600);
  t.true(await gets(renewed));
  t.true(verifySignature(key.publicKey, await client.sign(renewed, data), data));
  await inner.removeAllIdentities();
  time.seconds(600);
  const { lastError } = await waitFor((one) => one.lastError !== "");
  t.is(lastError, `The agent at ${behind.path} does not hold the key.`);
  t.is(program.runs().length, 1);
  await client.removeIdentity(renewed).catch(() => {});
  await inner.addIdentity(key, "behind");
  await client.removeIdentity(plain);
  t.deepEqual(await client.listRenewals(), []);
});

test("renew-all gets certificates for keys that never had one", async (t) => {
  const behind = await startAgent(t);
  const { program, time, client, blobs, gets } = await prepareRenewal(t, {
    all: true,
    upstreams: [{ path: behind.path, confirm: false }],
  });
  const keys = [generateKey("ed25519"), generateKey("nistp256")] as const;
  const [own, upstream] = keys.map(({ publicKey }) => encodePublicKey(publicKey));
  const certificates = keys.map(({ publicKey }) => ca.certify(publicKey, hour));
  const [first = data, second = data] = certificates;
  program.answer(first);
  await client.addIdentity(keys[0], "own");
  t.deepEqual(
    (await client.listRenewals()).map(({ keyBlob, certificate }) => [keyBlob, certificate]),
    [[own, Buffer.alloc(0)]],
  );
  t.deepEqual(program.runs(), []); // ssh-add may add its certificate next
  time.seconds(1);
  t.true(await gets(first));
  t.is(program.runs()[0]?.split(" ")[2], "none");
  program.answer(second);
  await (await behind.connect()).addIdentity(keys[1], "behind");
  await client.identities();
  time.seconds(0);
  t.true(await gets(second));
  t.deepEqual(await blobs(), [second, first, own, upstream]);
  t.is((await client.listRenewals()).length, 2);
  t.is(program.runs().length, 2);
});

test("an agent in front tells what the one behind it renews", async (t) => {
  const { agent, plain, older } = await prepare(t);
  const front = await startAgent(t, { upstreams: [{ path: agent.path, confirm: false }] });
  const renewals = await (await front.connect()).listRenewals();
  t.deepEqual(
    renewals.map(({ keyBlob, certificate }) => [keyBlob, certificate]),
    [[plain, older]],
  );
});

test("at most four programs run at a time", async (t) => {
  const { program, time, client } = await prepareRenewal(t);
  program.set("hold", "");
  for (let count = 0; count < 6; count++) {
    const key = generateKey("ed25519");
    await client.addIdentity({ ...key, certificate: ca.certify(key.publicKey, hour) }, "key");
  }
  time.seconds(600);
  t.true(await eventually(() => program.runs().length === 4));
  const states = async () => (await client.listRenewals()).map(({ state }) => state);
  t.deepEqual((await states()).sort(), [...Array(4).fill("running"), "scheduled", "scheduled"]);
  program.set("fail", "enough");
  program.unset("hold");
  t.true(await eventually(() => program.runs().length === 6));
});
