import test from "ava";
import fc from "fast-check";
import { Failure } from "../protocol/failure.ts";
import * as random from "./pkcs11-arbitraries.ts";
import { formatPkcs11Uri, isPkcs11Uri, type Pkcs11Uri, parsePkcs11Uri } from "./pkcs11-uri.ts";
import { hidePin } from "./pkcs11-uri-syntax.ts";

/** The attributes that a URI has. */
function given(text: string): Partial<Pkcs11Uri> {
  const attributes = Object.entries(parsePkcs11Uri(text));
  return Object.fromEntries(attributes.filter(([, value]) => value !== undefined));
}

function refusal(text: string): Failure {
  try {
    parsePkcs11Uri(text);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error(`${text} was read.`);
}

test("a URI is recognized by its scheme", (t) => {
  for (const text of ["pkcs11:", "PKCS11:token=a", "Pkcs11:nonsense"]) t.true(isPkcs11Uri(text));
  for (const text of ["", "pkcs11", "/pkcs11:", "./pkcs11:token=a", "pkcs12:"]) {
    t.false(isPkcs11Uri(text));
  }
});

test("every attribute is parsed and decoded", (t) => {
  const text = [
    "pkcs11:token=my%20card;manufacturer=Example,%20Inc.;serial=;model=v2%3b",
    "library-manufacturer=a&b;library-version=2.15;library-description=%C3%A9",
    "object=%e2%82%ac:[]@!$'()*+,=&;type=private;id=%00%fF0",
    "slot-manufacturer=m;slot-description=d;slot-id=007?module-name=card&module-path=/a?b|c/d.so",
  ].join(";");
  t.deepEqual(parsePkcs11Uri(text), {
    token: "my card",
    manufacturer: "Example, Inc.",
    serial: "",
    model: "v2;",
    libraryManufacturer: "a&b",
    libraryVersion: { major: 2, minor: 15 },
    libraryDescription: "é",
    object: "€:[]@!$'()*+,=&",
    type: "private",
    id: Buffer.from("00ff30", "hex"),
    slotManufacturer: "m",
    slotDescription: "d",
    slotId: 7n,
    moduleName: "card",
    modulePath: "/a?b|c/d.so",
  });
});

test("p11tool's URIs of a token and a key are parsed", (t) => {
  const start = "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=67962eb41ad5bc46";
  const token = {
    model: "SoftHSM v2",
    manufacturer: "SoftHSM project",
    serial: "67962eb41ad5bc46",
  };
  t.deepEqual(given(`${start};token=Alice%27s%20card%20%C3%A9`), {
    ...token,
    token: "Alice's card é",
  });
  t.deepEqual(given(`${start};id=%01%FF;object=my%20key%3B%201;type=private`), {
    ...token,
    id: Buffer.of(1, 255),
    object: "my key; 1",
    type: "private",
  });
});

test("no attribute is required", (t) => {
  for (const text of ["pkcs11:", "pkcs11:?", "PKCS11:"]) t.deepEqual(given(text), {});
  t.deepEqual(given("pkcs11:?module-path=/x.so"), { modulePath: "/x.so" });
  t.deepEqual(given("pkcs11:token=;id=;object="), { token: "", id: Buffer.alloc(0), object: "" });
});

test("the minor version defaults to 0", (t) => {
  t.deepEqual(given("pkcs11:library-version=3"), { libraryVersion: { major: 3, minor: 0 } });
  t.is(formatPkcs11Uri(parsePkcs11Uri("pkcs11:library-version=03")), "pkcs11:library-version=3.0");
});

test("slot IDs have up to 64 bits", (t) => {
  const most = 2n ** 64n - 1n;
  t.deepEqual(given(`pkcs11:slot-id=000${most}`), { slotId: most });
  t.is(refusal(`pkcs11:slot-id=${most + 1n}`).code, "malformed");
});

test("vendor attributes in the query are ignored, and may be repeated", (t) => {
  const text = "pkcs11:token=a?x-one=1&module-path=/x.so&x-one=2&vendor_b=%20";
  t.deepEqual(given(text), { token: "a", modulePath: "/x.so" });
});

test("invalid UTF-8 is preserved", (t) => {
  const text = "pkcs11:token=%C3%28%FF";
  t.deepEqual(given(text), { token: "\udcc3(\udcff" });
  t.is(formatPkcs11Uri(parsePkcs11Uri(text)), "pkcs11:token=%C3(%FF");
});

test("the canonical text has one order and few escapes, and can be quoted", (t) => {
  const cases: [string, string][] = [
    ["PKCS11:", "pkcs11:"],
    ["pkcs11:?", "pkcs11:"],
    ["pkcs11:id=a%01;token=a", "pkcs11:token=a;id=%61%01"],
    ["pkcs11:token=%41lice's", "pkcs11:token=Alice%27s"],
    ["pkcs11:token=%3b%2F%3A%26", "pkcs11:token=%3B%2F:%26"],
    [
      "pkcs11:?module-path=%2Fa%26b%3F&module-name=m",
      "pkcs11:?module-name=m&module-path=/a%26b%3F",
    ],
    ["pkcs11:slot-id=00;type=cert?x-y=z", "pkcs11:type=cert;slot-id=0"],
  ];
  for (const [text, canonical] of cases) {
    t.is(formatPkcs11Uri(parsePkcs11Uri(text)), canonical, text);
  }
});

test("an escaped delimiter begins no PIN attribute", (t) => {
  const uri = parsePkcs11Uri("pkcs11:token=A%26pin=1;object=B%3Bpin?module-path=/c%3Fpin-value=2");
  t.like(uri, { token: "A&pin=1", object: "B;pin", modulePath: "/c?pin-value=2" });
  t.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri);
});

test("an invalid URI is refused with its reason", (t) => {
  const cases: [string, RegExp][] = [
    ["/usr/lib/x.so", /begins with "pkcs11:"/],
    ["pkcs11:token", /Invalid attribute/],
    ["pkcs11:token=a;", /Invalid attribute/],
    ["pkcs11:;token=a", /Invalid attribute/],
    ["pkcs11:=a", /Invalid attribute/],
    ["pkcs11:to%6Ben=a", /Invalid attribute/],
    ["pkcs11:token=a?module-path=/x&", /Invalid attribute/],
    ["pkcs11:token=a;token=a", /attribute token twice/],
    ["pkcs11:?module-name=a&module-name=b", /attribute module-name twice/],
    ["pkcs11:Token=a", /attribute Token .* small letters/],
    ["pkcs11:?Module-Path=/x", /attribute Module-Path .* small letters/],
    ["pkcs11:module-path=x", /module-path .* belongs behind the "\?"/],
    ["pkcs11:?token=a", /token .* belongs before the "\?"/],
    ["pkcs11:colour=red", /colour .* not known/],
    ["pkcs11:token=a b", /character " "/],
    ["pkcs11:token=é", /character "é"/],
    ["pkcs11:token=a/b", /character "\/"/],
    ["pkcs11:token=a#b", /character "#"/],
    ["pkcs11:token=\udcff", /character "\\udcff"/],
    ["pkcs11:?x-a=;", /character ";"/],
    ["pkcs11:token=%", /Invalid percent-encoding/],
    ["pkcs11:token=%4", /Invalid percent-encoding/],
    ["pkcs11:token=%4g", /Invalid percent-encoding/],
    ["pkcs11:token=%+1", /Invalid percent-encoding/],
    ["pkcs11:library-version=", /library-version/],
    ["pkcs11:library-version=1.", /library-version/],
    ["pkcs11:library-version=1.2.3", /library-version/],
    ["pkcs11:library-version=256", /library-version/],
    ["pkcs11:slot-id=", /slot-id/],
    ["pkcs11:slot-id=-1", /slot-id/],
    ["pkcs11:slot-id=0x1", /slot-id/],
    ["pkcs11:type=", /type/],
    ["pkcs11:type=Private", /type/],
    ["pkcs11:type=secret-key", /type secret-key is not an SSH key/],
    ["pkcs11:type=data", /type data is not an SSH key/],
    ["pkcs11:?module-path=", /module-path/],
    ["pkcs11:?module-path=/a%00b", /module-path/],
    ["pkcs11:?module-name=", /module-name/],
    ["pkcs11:?module-name=../x", /module-name/],
  ];
  for (const [text, sentence] of cases) {
    const { code, message, hint } = refusal(text);
    t.is(code, "malformed", text);
    t.regex(message, sentence, text);
    t.regex(message, /\.$/, text);
    t.not(hint, "", text);
  }
});

test("an invalid character is reported with its escape", (t) => {
  t.is(refusal("pkcs11:token=my card").hint, "Write it as %20.");
  t.is(refusal("pkcs11:object=Schlüssel").hint, "Write it as %C3%BC.");
  t.is(refusal("pkcs11:token=\udcff").hint, "Write it as %FF.");
});

test("PINs are refused and not quoted", (t) => {
  const pin = "271828";
  for (const text of [
    `pkcs11:token=a?pin-value=${pin}`,
    `pkcs11:token=a;pin-value=${pin}`,
    `pkcs11:bad part;token=a?pin-value=${pin}&pin-source=file:x`,
    `pkcs11:?module-path=/x&PIN-VALUE=${pin}`,
    `pkcs11:?x-pin-value=${pin}`,
    `pkcs11:?pin=${pin}`,
    `pkcs11:token=a?module-path=/x.so?pin-value=${pin}`,
    `pkcs11:token=a&pin-value=${pin}`,
    `pkcs11:?pin-value ${pin}`,
    `pkcs11:?pin-${pin}`,
    `pkcs11:?pin-value=%zz&${pin}`,
    `pkcs11:?pin-value=a&${pin}=b&token=é`,
  ]) {
    const { message, hint } = refusal(text);
    t.regex(
      message,
      /^The attribute pin-value is not accepted: everybody .* command line\.$/,
      text,
    );
    t.regex(hint, /SSH_ASKPASS_REQUIRE=force/);
    t.false(`${message}${hint}${hidePin(text)}`.includes(pin), text);
  }
  const { message } = refusal("pkcs11:?pin-source=file:/etc/pin");
  t.regex(message, /^The attribute pin-source is not accepted: the agent reads no PIN from files/);
});

test("a PIN in a URI is redacted", (t) => {
  const cases: [string, string][] = [
    ["pkcs11:token=a?pin-value=1", "pkcs11:token=a?pin-value=…"],
    [
      "pkcs11:token=a?pin-value=1&module-path=/x.so",
      "pkcs11:token=a?pin-value=…&module-path=/x.so",
    ],
    ["pkcs11:pin-value=1;token=a?module-path=/x", "pkcs11:pin-value=…;token=a?module-path=/x"],
    ["pkcs11:?pin-value=1&2;3?4&x-a=5&id=6", "pkcs11:?pin-value=…&id=6"],
    ["pkcs11:?pin-value=1&pin-value=2", "pkcs11:?pin-value=…&pin-value=…"],
    ["pkcs11:?pin-value%3D1", "pkcs11:?pin-value=…"],
    ["PKCS11:?Pin-Value=1", "PKCS11:?pin-value=…"],
    ["pkcs11:?pin-source=file:/x", "pkcs11:?pin-source=file:/x"],
    ["pkcs11:token=pin;object=b%zz?c", "pkcs11:token=pin;object=b%zz?c"],
    ["pkcs11:", "pkcs11:"],
  ];
  for (const [text, shown] of cases) t.is(hidePin(text), shown);
});

test("parsing inverts formatting", (t) => {
  fc.assert(
    fc.property(random.pkcs11Uri, (uri) => {
      t.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri);
    }),
  );
});

test("every spelling of a URI has the same canonical text", (t) => {
  fc.assert(
    fc.property(random.pkcs11Uri.chain(random.spelling), ({ uri, text }) => {
      t.deepEqual(parsePkcs11Uri(text), uri, text);
      t.is(formatPkcs11Uri(parsePkcs11Uri(text)), formatPkcs11Uri(uri), text);
    }),
  );
});
