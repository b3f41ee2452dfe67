/** The hint about variables that the client has and the library, in the agent's process, has not. */
import test, { type ExecutionContext } from "ava";
import { configureP11Kit } from "../../fixtures/p11-kit.ts";
import { keysOf, makeToken } from "../../fixtures/softhsm.ts";
import { p11KitClient, pkcs11Spy } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import type { Variable } from "../../protocol/extensions/prepare-provider.ts";
import { Writer } from "../../protocol/wire.ts";
import { startAgent } from "../test-agent.ts";
import { startHint } from "./child/environment.ts";

/** A token, an agent that may find it, and a client that tries to load it. */
async function withToken(t: ExecutionContext, cardEnvironment: Readonly<Record<string, string>>) {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const empty = await makeToken(workspace, {});
  const agent = await startAgent(t, { cardEnvironment: { ...empty.env, ...cardEnvironment } });
  const client = await agent.connect();
  const refusal = async (environment: readonly Variable[]) => {
    await client.prepareProvider(token.library, environment);
    await t.throwsAsync(client.addSmartcardKey(token.library, Buffer.from(empty.pin)));
    return (await client.failureReason())?.hint ?? "";
  };
  return { agent, client, token, empty, refusal };
}

test("a variable with another value for the agent is named, without its value", async (t) => {
  const { agent, token, refusal } = await withToken(t, {});
  const hint = await refusal([{ name: "SOFTHSM2_CONF", value: token.conf }]);
  t.regex(
    hint,
    /^The library reads SOFTHSM2_CONF, not the same for the agent\. Start ssh-agent with .* Otherwise: Look/,
  );
  t.false([hint, ...agent.log].some((text) => text.includes(token.conf)));
});

test("a variable that the agent lacks is named", async (t) => {
  const token = await makeToken(makeWorkspace(t), {});
  const client = await (await startAgent(t)).connect();
  await client.prepareProvider(token.library, [{ name: "SOFTHSM2_CONF", value: token.conf }]);
  await t.throwsAsync(client.addSmartcardKey(token.library, Buffer.from(token.pin)));
  const hint = (await client.failureReason())?.hint ?? "";
  t.regex(hint, /reads SOFTHSM2_CONF, which ssh-add has and the agent lacks\. Start ssh-agent/);
});

test("a variable that is the same, or that the library does not read, is not named", async (t) => {
  const { empty, refusal } = await withToken(t, { OPENSC_CONF: "/here" });
  const same = { name: "SOFTHSM2_CONF", value: empty.conf };
  const unread = { name: "OPENSC_CONF", value: "/there" };
  const unknown = { name: "PATH", value: "/bin" };
  for (const environment of [[], [same], [same, unread], [unknown]]) {
    t.regex(await refusal(environment), /^Look with the vendor's tool/);
  }
});

test("a wrong PIN is not the environment's fault", async (t) => {
  const { client, token, refusal } = await withToken(t, {});
  await client.prepareProvider(token.library, [{ name: "SOFTHSM2_CONF", value: token.conf }]);
  await t.throwsAsync(client.addSmartcardKey(token.library, Buffer.from("000000")));
  const reason = await client.failureReason();
  t.is(reason?.code, "pin-incorrect");
  t.notRegex(reason?.hint ?? "", /SOFTHSM2_CONF/);
  t.regex(await refusal([{ name: "SOFTHSM2_CONF", value: token.conf }]), /SOFTHSM2_CONF/);
});

test("variables that are incomplete, too long or repeated do no harm", async (t) => {
  const { client, token, refusal } = await withToken(t, {});
  const body = new Writer().text(token.library).string(new Writer().text("OPENSC_CONF").finish());
  await t.throwsAsync(client.extension(extensionNames.prepareProvider, body.finish()));
  t.is((await client.failureReason())?.code, "malformed");
  const long = { name: "SOFTHSM2_CONF", value: "x".repeat(100_000) };
  t.regex(await refusal([long]), /^Look/);
  const name = "SOFTHSM2_CONF";
  const many = Array.from({ length: 5000 }, (_, at) => ({ name, value: `/${at}` }));
  t.regex(await refusal(many), /SOFTHSM2_CONF, not the same/);
});

test("the variable of a library behind another one, or of one in front, is named", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const empty = await makeToken(workspace, {});
  const kit = await configureP11Kit(workspace, [{ path: token.library }]);
  for (const [library, env, variable] of [
    [kit.library, { ...kit.env, ...empty.env }, { name: "SOFTHSM2_CONF", value: token.conf }],
    [p11KitClient(), {}, { name: "P11_KIT_SERVER_ADDRESS", value: "unix:path=/there" }],
    [pkcs11Spy(), token.env, { name: "PKCS11SPY", value: token.library }],
  ] as const) {
    const client = await (await startAgent(t, { cardEnvironment: env })).connect();
    await client.prepareProvider(library, [variable, { name: "KMS_PKCS11_CONFIG", value: "/" }]);
    await t.throwsAsync(client.addSmartcardKey(library, Buffer.from(empty.pin)));
    const hint = (await client.failureReason())?.hint ?? "";
    t.true(hint.startsWith(`The library reads ${variable.name}, `), hint);
  }
});

test("for a systemd service, the hint has the lines of its unit", (t) => {
  t.is(
    startHint(["OPENSC_CONF", "PKCS11SPY"], "my.service"),
    'Restart my.service after "systemctl --user edit my.service" with the lines [Service] and Environment=OPENSC_CONF=VALUE and Environment=PKCS11SPY=VALUE.',
  );
});
