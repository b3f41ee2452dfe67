/** PKCS#11 URIs with -s and -e: invalid ones, and what is sent to the agent. */
import test, { type ExecutionContext } from "ava";
import { startAgent } from "../fixtures/system-agent.ts";
import { systemSshAgent } from "../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { extensionNames } from "../protocol/extensions/names.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest, type Request } from "../protocol/requests.ts";
import { certify, makeKey, runOurs, startRecorder } from "./test-agent.ts";

const hint =
  "hint: Leave it out: ssh-add asks for the PIN; scripts answer with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force.\n";

test("a URI with a PIN is refused without an agent, and the PIN is not shown", async (t) => {
  const workspace = makeWorkspace(t);
  const pin = "271828";
  const reason =
    "reason: The attribute pin-value is not accepted: everybody on the machine can see a PIN on a command line.\n";
  const shown = '"pkcs11:token=a?pin-value=…&module-path=/usr/lib/x.so"';
  const uri = `pkcs11:token=a?pin-value=${pin}&module-path=/usr/lib/x.so`;
  const calls: [string[], string][] = [
    [["-s", uri], "add"],
    [["-qcs", uri, "--cert-for-card", "missing"], "add"],
    [["-e", uri], "remove"],
    [["-d", "-s", uri], "remove"],
  ];
  for (const [args, verb] of calls) {
    const result = await runOurs(workspace, args);
    const stderr = `Could not ${verb} card ${shown}: URI not accepted\n${reason}${hint}`;
    t.deepEqual(result, { stdout: "", stderr, status: 1, signal: null });
  }
  const odd = await runOurs(workspace, ["-vvvs", `PKCS11:token=é;x y;pin-value=%zz${pin}&${pin}`]);
  t.is(odd.status, 1);
  t.false(odd.stderr.includes(pin));
  t.regex(odd.stderr, /^Could not add card "PKCS11:token=é;x y;pin-value=…": URI not accepted\n/);
});

test("a URI with pin-source and an invalid URI are refused too", async (t) => {
  const workspace = makeWorkspace(t);
  const calls: [string, string][] = [
    [
      "pkcs11:?pin-source=file:/etc/pin",
      `reason: The attribute pin-source is not accepted: the agent reads no PIN from files or programs that a client names.\n${hint}`,
    ],
    [
      "pkcs11:token=my card",
      'reason: The character " " must be percent-encoded in the URI.\nhint: Write it as %20.\n',
    ],
    [
      "pkcs11:colour=red",
      "reason: The attribute colour of the URI is not known, so that nothing can match it.\nhint: Leave it out.\n",
    ],
    [
      "pkcs11:type=data",
      "reason: An object of type data is not an SSH key.\nhint: Use one of public, private, cert, or leave the type out.\n",
    ],
  ];
  for (const [uri, explanation] of calls) {
    const { stderr, status } = await runOurs(workspace, ["-s", uri]);
    t.is(stderr, `Could not add card "${uri}": URI not accepted\n${explanation}`);
    t.is(status, 1);
  }
});

test("the argument of an ignored -s is not checked", async (t) => {
  const workspace = makeWorkspace(t);
  const { stderr, status } = await runOurs(workspace, ["-l", "-s", "pkcs11:?pin-value=1"]);
  t.is(stderr, "Could not open a connection to your authentication agent.\n");
  t.is(status, 2);
});

/** The providers that ssh-add sends to an agent that accepts everything. */
async function record(
  t: ExecutionContext,
  workspace: Workspace,
): Promise<() => Extract<Request, { provider: string }>[]> {
  const query: Reply = { type: "extension-response", name: "query", body: Buffer.alloc(0) };
  const recorder = await startRecorder(t, workspace, (bytes) => {
    const request = decodeRequest(bytes);
    const asks = request.type === "extension" && request.name === extensionNames.query;
    return asks ? query : { type: "success" };
  });
  return () => {
    const requests = recorder.requests.map((bytes) => decodeRequest(bytes));
    recorder.clear();
    return requests.filter((request) => "provider" in request);
  };
}

test("the agent gets the canonical URI, messages have the original", async (t) => {
  const workspace = makeWorkspace(t);
  const taken = await record(t, workspace);
  const library = workspace.write("lib card.so", "");
  const cases: [string, string][] = [
    ["PKCS11:id=%0a;token=Alice's%20%63ard", "pkcs11:token=Alice%27s%20card;id=%0A"],
    ["pkcs11:?module-path=lib%20card.so", `pkcs11:?module-path=${library.replace(" ", "%20")}`],
    ["pkcs11:?module-path=nowhere.so&x-other=1", "pkcs11:?module-path=nowhere.so"],
    ["pkcs11:type=cert?module-name=ykcs11", "pkcs11:type=cert?module-name=ykcs11"],
  ];
  for (const [typed, sent] of cases) {
    const added = await runOurs(workspace, ["-s", typed], { input: "1234\n" });
    t.is(added.stderr, `Enter passphrase for PKCS#11: Card added: ${typed}\n`);
    t.like(taken(), [{ type: "add-smartcard-key", provider: sent }]);
    const removed = await runOurs(workspace, ["-e", typed]);
    t.is(removed.stderr, `Card removed: ${typed}\n`);
    t.like(taken(), [{ type: "remove-smartcard-key", provider: sent }]);
  }
});

test("certificates are sent with a URI too", async (t) => {
  const workspace = makeWorkspace(t);
  const taken = await record(t, workspace);
  const ca = await makeKey(workspace, "ca");
  const path = await certify(workspace, ca, await makeKey(workspace, "key"));
  await runOurs(workspace, ["-t", "60", "-s", "pkcs11:id=%01", path], { input: "1234\n" });
  const [request, ...others] = taken();
  t.deepEqual(others, []);
  t.is(request?.provider, "pkcs11:id=%01");
  t.true(request?.type === "add-smartcard-key");
  if (request?.type !== "add-smartcard-key") return;
  t.deepEqual(request.constraints.map(({ type }) => type).sort(), ["associated-certs", "lifetime"]);
});

test("an agent without support for URIs is explained", async (t) => {
  const workspace = makeWorkspace(t);
  const agent = await startAgent(workspace, { program: systemSshAgent() });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  const advice =
    "hint: Agents other than cardagent's do not know PKCS#11 URIs; give them the path of the library.\n";
  const uri = "pkcs11:token=a";
  const added = await runOurs(workspace, ["-s", uri], { input: "1234\n" });
  t.true(added.stderr.endsWith(`card "${uri}": agent refused operation\n${advice}`));
  const removed = await runOurs(workspace, ["-e", uri]);
  t.is(removed.stderr, `Could not remove card "${uri}": agent refused operation\n${advice}`);
});
