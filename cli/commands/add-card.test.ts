/** Cards with certificates, and agents that may not support them: how often the PIN is sent. */
import test, { type ExecutionContext } from "ava";
import { sshAdd } from "../../fixtures/programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { decodePrepareProvider } from "../../protocol/extensions/prepare-provider.ts";
import type { Reply } from "../../protocol/replies.ts";
import { decodeRequest, type Request } from "../../protocol/requests.ts";
import { certify, makeKey, runOurs, startRecorder } from "../test-agent.ts";

const success: Reply = { type: "success" };
const failure: Reply = { type: "failure" };

type Kind = "with" | "without" | "remove" | "query" | "other";

function kindOf(request: Request): Kind {
  if (request.type === "remove-smartcard-key") return "remove";
  if (request.type === "extension") {
    return request.name === extensionNames.query ? "query" : "other";
  }
  if (request.type !== "add-smartcard-key") return "other";
  return request.constraints.some(({ type }) => type === "associated-certs") ? "with" : "without";
}

/** The requests of ssh-add to an agent with these answers, without those for failure reasons. */
async function sent(
  t: ExecutionContext,
  answer: (kind: Kind) => Reply,
): Promise<{ kinds: Kind[]; stderr: string; status: number | null }> {
  const workspace = makeWorkspace(t);
  const path = await certify(
    workspace,
    await makeKey(workspace, "ca"),
    await makeKey(workspace, "key"),
  );
  const recorder = await startRecorder(t, workspace, async (bytes) =>
    answer(kindOf(decodeRequest(bytes))),
  );
  const { stderr, status } = await runOurs(workspace, ["-s", "LIB", path], { input: "1234\n" });
  const kinds = recorder.requests.map((bytes) => kindOf(decodeRequest(bytes)));
  return { kinds: kinds.filter((kind) => kind !== "other"), stderr, status };
}

test("an agent that answers query gets the certificates at once", async (t) => {
  const reply: Reply = { type: "extension-response", name: "query", body: Buffer.alloc(0) };
  const taken = await sent(t, (kind) => (kind === "query" ? reply : success));
  t.deepEqual(taken.kinds, ["query", "with"]);
  t.is(taken.status, 0);
  const refused = await sent(t, (kind) => (kind === "query" ? reply : failure));
  t.deepEqual(refused.kinds, ["query", "with"]);
  t.is(refused.status, 1);
});

test("the agent is told the variables that PKCS#11 libraries read, and no others", async (t) => {
  const workspace = makeWorkspace(t);
  const recorder = await startRecorder(t, workspace, () => success);
  for (const [env, environment] of [
    [{}, []],
    [{ PKCS11SPY: "/lib" }, [{ name: "PKCS11SPY", value: "/lib" }]],
    [{ OPENSC_CONF: "x".repeat(5000), TPM2_PKCS11_OWNER_AUTH: "secret" }, []],
  ] as const) {
    await runOurs(workspace, ["-s", "LIB"], { input: "1234\n", env });
    const request = recorder.requests.map((bytes) => decodeRequest(bytes))[0];
    const body = request?.type === "extension" ? request.body : Buffer.alloc(0);
    t.deepEqual(decodePrepareProvider(body), { provider: "LIB", environment: [...environment] });
    recorder.clear();
  }
});

test("a wrong PIN is sent once to any agent", async (t) => {
  const { kinds, status } = await sent(t, () => failure);
  t.deepEqual(kinds, ["query", "without"]);
  t.is(status, 1);
});

test("an agent that supports certificates but not query gets the certificates", async (t) => {
  const { kinds, stderr, status } = await sent(t, (kind) => (kind === "query" ? failure : success));
  t.deepEqual(kinds, ["query", "without", "remove", "with"]);
  t.is(status, 0);
  t.notRegex(stderr, /not added/);
});

test("an agent that supports neither gets the card alone", async (t) => {
  const { kinds, stderr, status } = await sent(t, (kind) =>
    kind === "query" || kind === "with" ? failure : success,
  );
  t.deepEqual(kinds, ["query", "without", "remove", "with", "without"]);
  t.is(status, 1);
  t.regex(stderr, /Card added: LIB\nThe certificates were not added: /);
});

test("the PIN of an askpass program is sent once, whatever it leaves running and whoever ignores its end", async (t) => {
  const workspace = makeWorkspace(t);
  const recorder = await startRecorder(t, workspace, (bytes) =>
    decodeRequest(bytes).type === "add-smartcard-key" ? failure : success,
  );
  const askpass =
    "#!/bin/sh\n[ -e asked ] && exit 1\n: >asked\necho 1234\nsleep 60 2>/dev/null &\n";
  const SSH_ASKPASS = workspace.write("askpass", askpass, 0o700);
  const env = { SSH_ASKPASS, SSH_ASKPASS_REQUIRE: "force", ADD: sshAdd };
  const ignoring = "trap '' CHLD; exec \"$ADD\" -s /usr/lib/none.so";
  const { stderr, status } = await workspace.run("sh", ["-c", ignoring], { env });
  t.regex(stderr, /^Could not add card "\/usr\/lib\/none.so": agent refused operation$/m);
  t.is(status, 1);
  const pins = recorder.requests.flatMap((bytes) => {
    const request = decodeRequest(bytes);
    return request.type === "add-smartcard-key" ? [request.pin.toString()] : [];
  });
  t.deepEqual(pins, ["1234"]);
});
