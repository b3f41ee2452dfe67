/** What a token has besides its keys, and why it is left out. */
import test, { type ExecutionContext } from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { prepare, refused, sign, signOnce } from "./test-hostile.ts";
import { pinOf } from "./test-registry.ts";

/** Loads the hostile module, and lists what was left out, one line each. */
async function load(t: ExecutionContext, ...words: string[]) {
  const { module, registry } = await prepare(t, words);
  const provider = await registry.add(module.path, pinOf(""));
  const leftOut = provider.leftOut.map(({ object, reason }) => `${object}: ${reason}`);
  return { module, provider, leftOut };
}

const [keyType, label, point] = ["0x100", "3", "0x181"];

test("objects that are no keys for SSH are named, with their reasons", async (t) => {
  const { provider, leftOut } = await load(t, "garbage", "keys=3", "no-sign=2");
  t.is(provider.keys.length, 2);
  t.deepEqual(leftOut, [
    "certificate: invalid certificate",
    'public key "two", ID 2b: may not sign',
    "public key: curve not used by SSH",
    "public key: no curve or no point",
  ]);
  t.is(provider.leftOut[0]?.token, 0);
});

test("a long list of objects is shortened", async (t) => {
  const { leftOut } = await load(t, "objects=500");
  t.is(leftOut.length, 64);
  t.is(leftOut.at(-1), "1437 more objects: not named here, since they are many");
});

test("labels and IDs are safe to display", async (t) => {
  const { leftOut } = await load(t, "keys=2", "no-sign=1", 'label=\\x1b[2J"\\x0a');
  t.deepEqual(leftOut, ['public key "\ufffd[2J\\"\ufffd", ID 2a: may not sign']);
});

test("a key with an attribute that cannot be read is left out, with the reason", async (t) => {
  for (const [type, value] of [
    [keyType, "CKR_DEVICE_ERROR"],
    [point, "CKR_FUNCTION_FAILED"],
  ] as const) {
    const error = value === "CKR_DEVICE_ERROR" ? 0x30 : 0x06;
    const words = ["keys=3", "attribute-key=2", `attribute-type=${type}`, `unavailable=${error}`];
    const { provider, leftOut } = await load(t, ...words);
    t.is(provider.keys.length, 2);
    t.true(leftOut.includes(`public key "two", ID 2b: unreadable (${value})`), leftOut.join());
    t.is(await sign(provider), "signed");
    t.is(await signOnce(provider, 1), "signed");
  }
});

test("an attribute that fails once is read again", async (t) => {
  const words = [`attribute-type=${point}`, "unavailable=0x30", "unavailable-times=2"];
  const { provider, leftOut } = await load(t, ...words);
  t.is(await sign(provider), "signed");
  t.deepEqual(leftOut, []);
});

test("a label that cannot be read costs no key", async (t) => {
  const { provider } = await load(t, `attribute-type=${label}`, "unavailable=0x30");
  t.is(await sign(provider), "signed");
});

test("a token that fails in the middle of reading is not taken to have fewer keys", async (t) => {
  for (const at of [1, 2, 3]) {
    // From this key's public object on, every attribute fails.
    const { module, registry } = await prepare(t, ["keys=3", `unreadable-from=${at}`]);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-crashed");
    t.regex(failure.message, /keys .* cannot be read \(CKR_DEVICE_ERROR\)/);
    module.behave("keys=3");
    t.is((await registry.add(module.path, pinOf(""))).keys.length, 3);
  }
});

test("a token that is not loaded with the others is named, with the reason", async (t) => {
  const two = ["tokens=2", "login=2"];
  for (const [words, pin, expected] of [
    [["pin-2=5678"], "0000", 'token "hostile 2": refused the PIN'],
    [["locked=2"], "1234", 'The PIN of the token "hostile 2" is locked'],
  ] as const) {
    const log: string[] = [];
    const { module, registry } = await prepare(t, [...two, ...words], {
      log: (line) => log.push(line),
    });
    const { leftOut } = await registry.add(module.path, pinOf(pin));
    t.is(leftOut.length, 1);
    const { object, reason, token } = leftOut[0] ?? {};
    t.true(`${object}: ${reason}`.endsWith(expected), `${object}: ${reason}`);
    t.is(token, undefined);
    t.true(log.includes(`left out of ${module.path}: ${object}: ${reason}`), log.join("\n"));
  }
});

test("a token that cannot be read is named by its slot, beside another", async (t) => {
  for (const [error, reason] of [
    ["0x30", "unreadable (CKR_DEVICE_ERROR)"],
    ["0xe1", "not recognized"],
  ] as const) {
    const words = ["tokens=2", `token-error-2=${error}`];
    const { provider } = await load(t, ...words, "slot-description=Reader");
    const token = undefined;
    t.deepEqual(provider.leftOut, [{ object: 'token in "Reader"', reason, token }]);
  }
});

test("what a URI or a choice of keys does not ask for is not left out", async (t) => {
  const { module, registry } = await prepare(t, ["tokens=2", "login=2", "no-sign=1"]);
  const uri = `pkcs11:serial=2?module-path=${module.path}`;
  t.deepEqual((await registry.add(uri, pinOf(hostilePin))).leftOut, []);
});
