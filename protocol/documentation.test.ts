import { readFileSync } from "node:fs";
import test from "ava";
import { decodeAddCertificate, encodeAddCertificate } from "./extensions/add-certificate.ts";
import { decodeAgentPath, encodeAgentPath } from "./extensions/agent-path.ts";
import { decodeFailureReason, encodeFailureReason } from "./extensions/failure-reason.ts";
import { decodeListProvidersReply, encodeListProvidersReply } from "./extensions/list-providers.ts";
import { decodeListRenewalsReply, encodeListRenewalsReply } from "./extensions/list-renewals.ts";
import { decodeListUpstreamsReply, encodeListUpstreamsReply } from "./extensions/list-upstreams.ts";
import { extensionNames } from "./extensions/names.ts";
import { decodePrepareProvider, encodePrepareProvider } from "./extensions/prepare-provider.ts";
import { failureCodes } from "./failure.ts";
import { fingerprint } from "./fingerprint.ts";
import { FrameReader, frame } from "./framing.ts";
import { decodePublicKey } from "./public-key.ts";
import { decodeReply, encodeReply } from "./replies.ts";
import { decodeRequest, encodeRequest } from "./requests.ts";
import { verifyKeyOrCertificate } from "./verification.ts";
import { Writer } from "./wire.ts";

const page = readFileSync(new URL("../docs/PROTOCOL.md", import.meta.url), "utf8");

/** The examples of the page by name: the hexadecimal digits before the note on each line, as bytes. */
const examples = new Map(
  [...page.matchAll(/^```hex (.+)\n([^`]*)^```$/gm)].map(([, name = "", lines = ""]) => {
    const digits = lines.split("\n").map((line) => line.split(" ")[0]);
    return [name, Buffer.from(digits.join(""), "hex")];
  }),
);

/** The message of an example, without its length field. */
function messageOf(name: string): Buffer {
  const bytes = examples.get(name);
  if (bytes === undefined) throw new Error(`The page has no example "${name}".`);
  const [message, ...others] = new FrameReader().push(Buffer.from(bytes));
  if (message === undefined || others.length > 0) throw new Error(`"${name}" is not one message.`);
  if (!frame(message).equals(bytes)) throw new Error(`"${name}" is more than one message.`);
  return Buffer.from(message);
}

/** The body of an example request, after a check that encoding it again gives the same bytes. */
function requestBody(name: string, extension: string): Buffer {
  const message = messageOf(name);
  const request = decodeRequest(message);
  if (request.type !== "extension" || request.name !== extension) throw new Error(request.type);
  if (!encodeRequest(request).equals(message)) throw new Error(`"${name}" is encoded otherwise.`);
  return request.body;
}

function replyBody(name: string, extension: string): Buffer {
  const message = messageOf(name);
  const reply = decodeReply(message);
  if (reply.type !== "extension-response" || reply.name !== extension) throw new Error(reply.type);
  if (!encodeReply(reply).equals(message)) throw new Error(`"${name}" is encoded otherwise.`);
  return reply.body;
}

test("each example is tested here", (t) => {
  t.deepEqual([...examples.keys()].sort(), [
    "add-certificate request",
    "agent-path request",
    "extension-failure",
    "failure-reason request",
    "failure-reason response",
    "keep-ended-certificate in add-certificate",
    "list-providers request",
    "list-providers response",
    "list-renewals request",
    "list-renewals response",
    "list-upstreams request",
    "list-upstreams response",
    "only-keys in add-smartcard-key-constrained",
    "prepare-provider request",
    "prepare-provider request with a variable",
    "remove-all-providers request",
    "success",
  ]);
});

test("requests without a body", (t) => {
  for (const [name, extension] of [
    ["list-providers request", extensionNames.listProviders],
    ["remove-all-providers request", extensionNames.removeAllProviders],
    ["list-upstreams request", extensionNames.listUpstreams],
    ["list-renewals request", extensionNames.listRenewals],
    ["failure-reason request", extensionNames.failureReason],
  ] as const) {
    t.is(requestBody(name, extension).length, 0, name);
  }
});

test("the request prepare-provider", (t) => {
  const body = requestBody("prepare-provider request", extensionNames.prepareProvider);
  const provider = "/usr/lib/libcard.so";
  t.deepEqual(body, new Writer().text(provider).finish());
  t.deepEqual(decodePrepareProvider(body), { provider, environment: [] });
  const example = "prepare-provider request with a variable";
  const longer = requestBody(example, extensionNames.prepareProvider);
  const environment = [{ name: "SOFTHSM2_CONF", value: "/home/me/hsm.conf" }];
  t.deepEqual(decodePrepareProvider(longer), { provider, environment });
  t.deepEqual(encodePrepareProvider({ provider, environment }), longer);
});

test("replies without a body", (t) => {
  t.deepEqual(decodeReply(messageOf("success")), { type: "success" });
  t.deepEqual(decodeReply(messageOf("extension-failure")), { type: "extension-failure" });
});

test("the response to list-providers", (t) => {
  const body = replyBody("list-providers response", extensionNames.listProviders);
  const [provider, ...others] = decodeListProvidersReply(body);
  if (provider === undefined) throw new Error("There is no provider.");
  const { identities, ...described } = provider;
  t.deepEqual(others, []);
  t.deepEqual(described, {
    path: "/usr/lib/libcard.so.2",
    requested: "/usr/lib/libcard.so",
    state: "ready",
    tokens: [{ label: "PIV", manufacturer: "ACME", model: "Card 5", serial: "0042" }],
    tokenStates: ["ready"],
    isReleased: false,
    leftOut: [{ object: 'certificate "CA"', reason: "no private key", token: 0 }],
  });
  t.deepEqual(
    identities.map((blob) => decodePublicKey(blob)?.type),
    ["ed25519"],
  );
  t.deepEqual(encodeListProvidersReply([provider]), body);
});

test("the response to list-upstreams", (t) => {
  const body = replyBody("list-upstreams response", extensionNames.listUpstreams);
  const [ready, gone, ...others] = decodeListUpstreamsReply(body);
  if (ready === undefined || gone === undefined) throw new Error("There are not two upstreams.");
  const { identities, ...described } = ready;
  t.deepEqual(others, []);
  t.deepEqual(described, {
    path: "/run/user/1000/gnupg/S.gpg-agent.ssh",
    state: "ready",
    name: "gpg-agent",
  });
  t.deepEqual(
    identities.map((blob) => decodePublicKey(blob)?.type),
    ["ed25519"],
  );
  t.deepEqual(gone, { path: "/run/user/1000/gcr/ssh", state: "gone", name: "", identities: [] });
  t.deepEqual(encodeListUpstreamsReply([ready, gone]), body);
});

test("the request agent-path", (t) => {
  const body = requestBody("agent-path request", extensionNames.agentPath);
  const path = decodeAgentPath(body);
  t.deepEqual(
    path.map((id) => id.toString("hex")),
    ["3f0a9c55e1b24d0788c4d2716bfe9033", "b1c05e7ad94f4a62a3770e19f8265cd4"],
  );
  t.deepEqual(encodeAgentPath(path), body);
});

test("the response to list-renewals", (t) => {
  const body = replyBody("list-renewals response", extensionNames.listRenewals);
  const [renewal, ...others] = decodeListRenewalsReply(body);
  if (renewal === undefined) throw new Error("There is no renewal.");
  const { keyBlob, ...described } = renewal;
  t.deepEqual(others, []);
  t.is(decodePublicKey(keyBlob)?.type, "ed25519");
  t.deepEqual(described, {
    certificate: Buffer.alloc(0),
    state: "scheduled",
    lastTry: 1_800_000_000n,
    nextTry: 1_800_000_040n,
    lastError: "The program exited with status 2.",
  });
  t.deepEqual(encodeListRenewalsReply([renewal]), body);
});

test("the request add-certificate", (t) => {
  const body = requestBody("add-certificate request", extensionNames.addCertificate);
  const { certificate, ...request } = decodeAddCertificate(body);
  t.truthy(verifyKeyOrCertificate(certificate).certificate);
  t.deepEqual(request, {
    comment: "",
    replace: true,
    constraints: [{ type: "lifetime", seconds: 3600 }],
  });
  t.deepEqual(encodeAddCertificate({ certificate, ...request }), body);
});

test("the constraint keep-ended-certificate", (t) => {
  const example = "keep-ended-certificate in add-certificate";
  const request = decodeAddCertificate(requestBody(example, extensionNames.addCertificate));
  t.deepEqual(request.constraints, [{ type: "keep-ended-certificate" }]);
  t.deepEqual(encodeAddCertificate(request), requestBody(example, extensionNames.addCertificate));
});

test("the constraint only-keys", (t) => {
  const message = messageOf("only-keys in add-smartcard-key-constrained");
  const request = decodeRequest(message);
  const [blob] = decodeListProvidersReply(
    replyBody("list-providers response", extensionNames.listProviders),
  ).flatMap(({ identities }) => identities);
  t.deepEqual(request, {
    type: "add-smartcard-key",
    provider: "/usr/lib/libcard.so",
    pin: Buffer.from("1234"),
    constraints: [{ type: "only-keys", fingerprints: [fingerprint(blob ?? Buffer.alloc(0))] }],
  });
  t.deepEqual(encodeRequest(request), message);
});

test("the response to failure-reason", (t) => {
  const body = replyBody("failure-reason response", extensionNames.failureReason);
  const reason = decodeFailureReason(body);
  t.deepEqual(reason, {
    request: 20,
    code: "pin-incorrect",
    sentence: 'The card "PIV" refused the PIN.',
    hint: "Try again.",
  });
  t.deepEqual(encodeFailureReason(reason), body);
});

test("the page lists every failure code", (t) => {
  const rows = [...page.matchAll(/^\| (\d+) +\| ([a-z0-9-]+) +\|/gm)];
  const listed = rows.map(([, number, name]) => [name, Number(number)]);
  t.deepEqual(Object.fromEntries(listed), { ...failureCodes });
  t.is(listed.length, Object.keys(failureCodes).length);
});
