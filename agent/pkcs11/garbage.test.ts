import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { prepareBeside, use } from "./test-bystander.ts";
import { isLoaded, refused, sign } from "./test-hostile.ts";
import { makeRegistry, pinOf, stateOf } from "./test-registry.ts";

/** The faults of a library, and the results of loading it and signing with it. */
type Cases = readonly (readonly [words: string, outcome: Awaited<ReturnType<typeof use>>])[];

const functions: Cases = [
  ["no-functions", "not-a-pkcs11-module"],
  ["null-list", "not-a-pkcs11-module"],
  ["null-functions", "module-crashed"],
];

const counts: Cases = [
  ["slot-count=0x1000000000000000", "module-crashed"],
  ["slot-count=0xffffffffffffffff", "module-crashed"],
  ["slot-count=300", "signed"],
  ["tokens=2 slots-late=3", "signed"],
  ["tokens=2 slots-late=1000", "module-crashed"],
  ["slot-list=5", "signed"],
  ["slot-list=1000000", "signed"],
  ["slot-list=0xffffffffffffffff", "signed"],
  ["objects=500", "signed"],
  ["endless-find", "module-crashed"],
  ["find-count=33", "module-crashed"],
  ["find-count=1000000", "module-crashed"],
  ["find-count=0x80000001", "module-crashed"],
  ["find-count=0xffffffffffffffff", "module-crashed"],
];

const [keyType, id, label, point] = ["0x100", "0x102", "3", "0x181"];

const attributes: Cases = [
  ["unavailable", "no-usable-key"],
  ["unavailable=0x11", "no-usable-key"],
  [`unavailable attribute-type=${keyType}`, "no-usable-key"],
  [`unavailable attribute-type=${point}`, "no-usable-key"],
  [`unavailable attribute-type=${id}`, "signed"],
  [`unavailable attribute-type=${label}`, "signed"],
  ["attribute-length=0", "no-usable-key"],
  ["attribute-length=3", "no-usable-key"],
  ["attribute-length=0x100000", "no-usable-key"],
  ["attribute-length=0x7fffffffffffffff", "module-crashed"],
  [`attribute-length=0 attribute-type=${id}`, "signed"],
  [`attribute-length=0x2000000 attribute-type=${label}`, "signed"],
  [`attribute-length=66 attribute-type=${point}`, "no-usable-key"],
  [`attribute-growth=0xffffffffffffff attribute-type=${label}`, "signed"],
  ["garbage", "signed"],
];

const signatures: Cases = [
  ["signature-length=0", "module-crashed"],
  ["signature-length=1", "module-crashed"],
  ["short-signature", "module-crashed"],
  ["signature-length=65", "signed"],
  ["signature-length=65 garbage-signature", "module-crashed"],
  ["signature-length=1000 garbage-signature", "module-crashed"],
  ["signature-length=0xffffffffffffffff", "signed"],
  ["signature-length=0xffffffffffffffff garbage-signature", "module-crashed"],
];

for (const [what, cases] of Object.entries({ functions, counts, attributes, signatures })) {
  test.serial(`absurd ${what} affect the library alone`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, []);
    for (const [words, outcome] of cases) {
      module.behave(...words.split(" "));
      t.is(await use(registry, module.path), outcome, words);
      t.is(await sign(bystander), "signed");
    }
    module.behave();
    t.is(await use(registry, module.path), "signed");
  });
}

test.serial("a value that grows between two calls affects the library alone", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  for (const length of [4096, 0x100000, 0x80000000]) {
    module.behave(`attribute-growth=${length}`, `attribute-type=${label}`);
    // The memory after the value is read, so this may end in a crash.
    t.true(["signed", "module-crashed"].includes(await use(registry, module.path)));
    t.is(await sign(bystander), "signed");
  }
  module.behave();
  t.is(await use(registry, module.path), "signed");
});

test("a library with too many slots to query times out", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  const impatient = makeRegistry(t, { limits: { load: 1500 } });
  module.behave("slot-count=1000000");
  t.is(await use(impatient, module.path), "module-timeout");
  t.true(await eventually(() => !isLoaded(module.path)));
  t.is(await sign(bystander), "signed");
  module.behave();
  t.is(await use(registry, module.path), "signed");
});

test.serial("an endless list of objects in a later search fails one signature", async (t) => {
  const { module, registry } = await prepareBeside(t, []);
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("epoch=2", "endless-find");
  t.is(await sign(provider), "module-crashed");
  module.behave("epoch=2");
  t.is(await sign(provider), "signed");
  t.is(module.calls().filter((call) => call === "initialize").length, 1);
});

test.serial("an invalid signature is detected, and the next one is valid", async (t) => {
  const { module, registry } = await prepareBeside(t, []);
  const provider = await registry.add(module.path, pinOf(""));
  for (const byte of [0, 0xa5, 0xff]) {
    module.behave(`garbage-signature=${byte}`);
    t.is(await sign(provider), "module-crashed");
  }
  module.behave();
  t.is(await sign(provider), "signed");
});

test.serial("an error without a name is reported by its number", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  for (const call of ["initialize", "slots", "open", "find-init", "find"]) {
    module.behave(`${call}-error=0xdeadbeef`);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-crashed", call);
    t.regex(failure.message, /\(error 0xdeadbeef\)/, call);
    t.is(await sign(bystander), "signed");
  }
  for (const call of ["close", "finalize", "slot-info", "session-info", "find-final"]) {
    module.behave(`${call}-error=0xffffffffffffffff`);
    t.is(await use(registry, module.path), "signed", call);
  }
  module.behave("login", "login-error=0x80000009");
  const failure = await refused(t, registry.add(module.path, pinOf("1234")));
  t.regex(failure.message, /\(error 0x80000009\)/);
  module.behave();
  const provider = await registry.add(module.path, pinOf(""));
  for (const call of ["sign-init", "sign"]) {
    module.behave(`${call}-error=0x80000009`);
    t.is(await sign(provider), "module-crashed");
  }
  module.behave();
  t.is(await sign(provider), "signed");
});

test.serial("labels of keys are sanitized to one line", async (t) => {
  const { module, registry } = await prepareBeside(t, []);
  for (const [words, comment] of [
    ["label=\\x1b[31mred\\x0d\\x0assh-rsa AAAA", "\ufffd[31mred\ufffd\ufffdssh-rsa AAAA"],
    ["label=\\xff\\xfeone\\xc3", "\ufffd\ufffdone\ufffd"],
    ["label=caf\\xc3\\xa9 \\xf0\\x9f\\x94\\x91\\x00\\x00", "café 🔑"],
    ["label=\\xc2\\x9b31m\\x7f", "\ufffd31m\ufffd"],
    ["label-length=300000", "x".repeat(255)],
  ] as const) {
    module.behave(words);
    const provider = await registry.add(module.path, pinOf(""));
    t.is(provider.keys[0]?.comment, comment);
    t.is(await sign(provider), "signed");
  }
  module.behave("label-length=200000", "keys=8");
  t.is((await registry.add(module.path, pinOf(""))).keys.length, 8);
});

test.serial("the description of a token is sanitized to one line", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  module.behave("token-label=\\x1b]0;title\\x07", "serial=\\xff1", "model=\\x9b\\x00rest");
  const provider = await registry.add(module.path, pinOf(""));
  t.like(provider.tokens[0], {
    label: "\ufffd]0;title\ufffd",
    manufacturer: "nobody",
    model: "\ufffd",
    serial: "\ufffd1",
  });
  t.is(await sign(provider), "signed");
  t.is(await stateOf(provider), "ready");
  module.behave("token-garbage");
  const failure = await refused(t, makeRegistry(t).add(module.path, pinOf("1234")));
  t.is(failure.code, "pin-locked"); // all its flags are set
  t.is(await stateOf(provider), "card-absent");
  t.is(await sign(bystander), "signed");
});
