import test from "ava";
import fc from "fast-check";
import { bytes, magnitude, text } from "./arbitraries.ts";
import { Failure } from "./failure.ts";
import { decodeText, encodeText } from "./text.ts";
import { Reader, Writer } from "./wire.ts";

const hex = (bytes: Buffer) => bytes.toString("hex");

test("values are encoded as in the examples of RFC 4251, section 5", (t) => {
  t.is(hex(new Writer().uint32(699921578).finish()), "29b7f4aa");
  t.is(hex(new Writer().text("testing").finish()), "0000000774657374696e67");
  const mpint = (digits: string) => hex(new Writer().mpint(Buffer.from(digits, "hex")).finish());
  t.is(mpint(""), "00000000");
  t.is(mpint("09a378f9b2e332a7"), "0000000809a378f9b2e332a7");
  t.is(mpint("80"), "000000020080");
  t.is(mpint("0080"), "000000020080");
});

test("truncated and invalid values are malformed", (t) => {
  const malformed = { instanceOf: Failure, code: "malformed" };
  t.throws(() => new Reader(Buffer.alloc(0)).byte(), malformed);
  t.throws(() => new Reader(Buffer.alloc(3)).uint32(), malformed);
  t.throws(() => new Reader(Buffer.alloc(7)).uint64(), malformed);
  t.throws(() => new Reader(Buffer.from("0000000261", "hex")).string(), malformed);
  t.throws(() => new Reader(Buffer.from("ffffffff61", "hex")).string(), malformed);
  t.throws(() => new Reader(Buffer.from("0000000180", "hex")).mpint(), malformed);
  t.throws(() => new Reader(Buffer.from("000000016100", "hex").subarray(0, 5)).end(), malformed);
  t.throws(() => new Reader(Buffer.from("000000020a61", "hex")).name(), malformed);
  t.throws(() => new Reader(new Writer().string(Buffer.alloc(2050)).finish()).mpint(), malformed);
});

test("writing an mpint removes leading zeros", (t) => {
  fc.assert(
    fc.property(magnitude, fc.nat({ max: 3 }), (number, zeros) => {
      const padded = Buffer.concat([Buffer.alloc(zeros), number]);
      t.deepEqual(new Reader(new Writer().mpint(padded).finish()).mpint(), number);
    }),
  );
});

test("a writer grows as needed", (t) => {
  fc.assert(
    fc.property(fc.array(bytes(300)), (strings) => {
      const writer = new Writer(0);
      for (const string of strings) writer.string(string);
      const reader = new Reader(writer.finish());
      for (const string of strings) t.deepEqual(reader.string(), string);
      reader.end();
    }),
  );
  t.pass();
});

test("invalid UTF-8 is converted without loss", (t) => {
  t.is(decodeText(Buffer.from("grüße", "utf8")), "grüße");
  t.is(decodeText(Buffer.from("gr\xfc\xdfe", "latin1")), "gr\udcfc\udcdfe");
  fc.assert(
    fc.property(bytes(40), (any) => {
      t.deepEqual(encodeText(decodeText(any)), any);
    }),
  );
  fc.assert(
    fc.property(text, (any) => {
      t.is(decodeText(encodeText(any)), any);
    }),
  );
});
