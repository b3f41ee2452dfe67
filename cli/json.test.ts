/** The JSON output documented in docs/JSON.md. */
import { readFileSync } from "node:fs";
import test from "ava";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import type { ProviderDescription } from "../protocol/extensions/list-providers.ts";
import type { UpstreamDescription } from "../protocol/extensions/list-upstreams.ts";
import type { Identity } from "../protocol/replies.ts";
import { identitiesAsJson, providersAsJson } from "./json.ts";
import { certify, makeKey, runOurs, startRecorder, startSystemAgent } from "./test-agent.ts";

/** What `providersAsJson` needs beside providers. */
function listed(identities: readonly Identity[] = [], upstreams: UpstreamDescription[] = []) {
  return { identities, upstreams, renewals: [], hash: "sha256" } as const;
}

test("identities and their certificates", async (t) => {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  const empty = await runOurs(workspace, ["-l", "--json"]);
  t.deepEqual(empty, {
    stdout: '{"format":1,"identities":[]}\n',
    stderr: "",
    status: 1,
    signal: null,
  });
  const ca = await makeKey(workspace, "ca", { type: "ecdsa" });
  const key = await makeKey(workspace, "key", { comment: "é \u001b" });
  const validity = "20300131090000Z:20300131170000Z";
  await certify(workspace, ca, key, { keyId: "alice@example.com", validity });
  await runOurs(workspace, ["-N", "key"]);
  const { stdout, status } = await runOurs(workspace, ["-L", "--json", "-E", "md5"]);
  t.is(status, 0);
  t.is(stdout.split("\n").length, 2);
  const answer = JSON.parse(stdout);
  const blob = (path: string) => readFileSync(path, "utf8").split(" ")[1];
  const { stdout: lines } = await runOurs(workspace, ["-l", "-E", "md5"]);
  const fingerprint = lines.split(" ")[1];
  t.deepEqual(answer.identities[0], {
    type: "ED25519",
    algorithm: "ssh-ed25519",
    bits: 256,
    fingerprint,
    comment: "é \u001b",
    blob: blob(`${key}.pub`),
    certificate: null,
    renewal: null,
  });
  const { certificate, ...rest } = answer.identities[1];
  t.like(rest, {
    type: "ED25519-CERT",
    algorithm: "ssh-ed25519-cert-v01@openssh.com",
    fingerprint,
    blob: blob(`${key}-cert.pub`),
  });
  t.like(certificate, {
    type: "user",
    keyId: "alice@example.com",
    serial: "0",
    validAfter: "2030-01-31T09:00:00Z",
    validBefore: "2030-01-31T17:00:00Z",
  });
  t.deepEqual(certificate.principals, ["alice"]);
  t.deepEqual(certificate.criticalOptions, []);
  t.true(certificate.extensions.includes("permit-pty"));
  t.is(certificate.caType, "ECDSA");
  t.regex(certificate.caFingerprint, /^MD5:/);
});

test("comments in invalid UTF-8 keep their bytes", async (t) => {
  const workspace = makeWorkspace(t);
  const keyBlob = Buffer.from("0000000b7373682d656432353531390000002000".padEnd(102, "7"), "hex");
  const odd = Buffer.concat([
    Buffer.of(12, 0, 0, 0, 1, 0, 0, 0, keyBlob.length),
    keyBlob,
    Buffer.of(0, 0, 0, 2, 0x61, 0xe9),
  ]);
  const { decodeReply } = await import("../protocol/replies.ts");
  await startRecorder(t, workspace, () => decodeReply(odd));
  const { stdout } = await runOurs(workspace, ["-l", "--json"]);
  t.true(stdout.includes('"comment":"a\\udce9"'), stdout);
  const plain = await workspace.run("sh", ["-c", '"$OURS" -l | od -c'], {
    env: { OURS: (await import("../fixtures/programs.ts")).sshAdd },
  });
  t.regex(plain.stdout, /a 351/);
});

test("extensions", async (t) => {
  const workspace = makeWorkspace(t);
  const body = Buffer.from("\0\0\0\u0005query\0\0\0\u0003a@b", "latin1");
  await startRecorder(t, workspace, () => ({ type: "extension-response", name: "query", body }));
  const { stdout, status } = await runOurs(workspace, ["--json", "-Q"]);
  t.is(stdout, '{"format":1,"extensions":["query","a@b"]}\n');
  t.is(status, 0);
});

test("providers, with the comments of their keys", (t) => {
  const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIx+6Lml5mGgxS914qFQOdFKIntQOs0E5Lv37tep2kq";
  const keyBlob = parsePublicKeyLine(line)?.blob as Buffer;
  const token = { label: "card", manufacturer: "maker", model: "model", serial: "1" };
  const provider: ProviderDescription = {
    path: "/usr/lib/real.so",
    requested: "/usr/lib/link.so",
    state: "pin-needed",
    tokens: [token],
    identities: [keyBlob, Buffer.from("no key")],
  };
  const text = providersAsJson([provider], listed([{ keyBlob, comment: "mine" }]));
  const { format, providers } = JSON.parse(text);
  t.is(format, 1);
  t.like(providers[0], {
    path: "/usr/lib/real.so",
    requested: "/usr/lib/link.so",
    state: "pin-needed",
  });
  t.deepEqual(providers[0].tokens, [{ ...token, state: "pin-needed" }]);
  const told = { ...provider, tokenStates: ["card-absent" as const] };
  const [{ tokens }] = JSON.parse(providersAsJson([told], listed())).providers;
  t.is(tokens[0].state, "card-absent");
  t.like(providers[0].identities[0], { type: "ED25519", comment: "mine", certificate: null });
  t.like(providers[0].identities[1], { type: "", algorithm: "", bits: 0, comment: "" });
});

test("upstream agents are a list beside the providers, if there are any", (t) => {
  const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIx+6Lml5mGgxS914qFQOdFKIntQOs0E5Lv37tep2kq";
  const keyBlob = parsePublicKeyLine(line)?.blob as Buffer;
  const upstream = {
    path: "/a",
    state: "ready",
    name: "gpg-agent",
    identities: [keyBlob],
  } as const;
  const text = providersAsJson([], listed([{ keyBlob, comment: "mine" }], [upstream]));
  const { providers, upstreams } = JSON.parse(text);
  t.deepEqual(providers, []);
  t.like(upstreams[0], { path: "/a", state: "ready", name: "gpg-agent" });
  t.like(upstreams[0].identities[0], { type: "ED25519", comment: "mine" });
  t.deepEqual(typesOf(upstreams[0]), documentedFields()[4]);
  t.is(providersAsJson([], listed()), '{"format":1,"providers":[]}');
});

test("the fields and their types are those of docs/JSON.md", async (t) => {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  const ca = await makeKey(workspace, "ca");
  await certify(workspace, ca, await makeKey(workspace, "key"));
  await runOurs(workspace, ["key"]);
  const { identities } = JSON.parse((await runOurs(workspace, ["-l", "--json"])).stdout);
  const tables = documentedFields();
  t.deepEqual(typesOf({ ...identities[1], renewal: {} }), tables[0]);
  t.deepEqual(typesOf(identities[1].certificate), tables[1]);
  const text = providersAsJson(
    [{ path: "", requested: "", state: "ready", tokens: [], identities: [] }],
    listed(),
  );
  t.deepEqual(typesOf(JSON.parse(text).providers[0]), tables[3]);
});

test("when a certificate is renewed", (t) => {
  const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIx+6Lml5mGgxS914qFQOdFKIntQOs0E5Lv37tep2kq";
  const keyBlob = parsePublicKeyLine(line)?.blob as Buffer;
  const renewal = {
    keyBlob,
    certificate: Buffer.alloc(0),
    state: "scheduled",
    lastTry: 0n,
    nextTry: 1_800_000_040n,
    lastError: "",
  } as const;
  const text = identitiesAsJson([{ keyBlob, comment: "" }], "sha256", [renewal]);
  const fields = JSON.parse(text).identities[0].renewal;
  const nextTry = "2027-01-15T08:00:40Z";
  t.deepEqual(fields, { state: "scheduled", lastTry: null, nextTry, lastError: "" });
  t.deepEqual(typesOf(fields), documentedFields()[2]);
});

test("the exit status distinguishes no agent, a refusal and an empty list", async (t) => {
  const workspace = makeWorkspace(t);
  const commands = ["-l", "-L", "-Q", "--list-providers"];
  for (const command of commands) {
    const none = await runOurs(workspace, [command, "--json"]);
    t.like(none, { stdout: "", status: 2 }, command);
  }
  await startRecorder(t, workspace, () => ({ type: "failure" }));
  for (const command of commands) {
    const status = command === "-Q" ? 255 : 1;
    t.like(await runOurs(workspace, [command, "--json"]), { stdout: "", status }, command);
  }
  const { env } = await startAgent(workspace, { program: sshAgent });
  for (const [command, list] of [
    ["-l", "identities"],
    ["-L", "identities"],
    ["--list-providers", "providers"],
  ] as const) {
    const empty = await runOurs(workspace, [command, "--json"], { env });
    t.like(empty, { stdout: `{"format":1,"${list}":[]}\n`, stderr: "", status: 1 }, command);
  }
});

/** The fields of each table in docs/JSON.md, in their order, with their types. */
function documentedFields(): Record<string, string>[] {
  const page = readFileSync(new URL("../docs/JSON.md", import.meta.url), "utf8");
  return page
    .split(/^\| field /m)
    .slice(1)
    .map((table) => {
      const rows = table.matchAll(/^\| `(\w+)` \| (\w+)/gm);
      return Object.fromEntries(Array.from(rows, ([, name, type]) => [name, type]));
    });
}

/** The fields of an object, with type names as in docs/JSON.md. */
function typesOf(value: Record<string, unknown>): Record<string, string> {
  const typeOf = (field: unknown) => {
    if (Array.isArray(field)) return "list";
    return field === null ? "string" : typeof field;
  };
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, typeOf(field)]));
}
