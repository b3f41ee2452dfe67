import test from "ava";
import fc from "fast-check";
import { bytes } from "./arbitraries.ts";
import { Failure } from "./failure.ts";
import { FrameReader, frame } from "./framing.ts";
import { longestFrame } from "./numbers.ts";

/** `whole` in pieces, cut at the given places. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const cuts = places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b);
  const edges = [0, ...cuts, whole.length];
  return edges.slice(1).map((end, index) => Buffer.from(whole.subarray(edges[index], end)));
}

test("messages come out whole, however the stream is cut", (t) => {
  const messages = fc.array(bytes(200, 1), { maxLength: 6 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(), { maxLength: 12 }), (sent, places) => {
      const reader = new FrameReader();
      const received: Buffer[] = [];
      for (const piece of cut(Buffer.concat(sent.map(frame)), places)) {
        for (const message of reader.push(piece)) received.push(Buffer.from(message));
      }
      t.deepEqual(received, sent);
      t.notThrows(() => reader.end());
    }),
  );
});

test("the longest frame passes, and one byte more does not", (t) => {
  const longest = frame(Buffer.alloc(longestFrame, 1));
  t.is(new FrameReader().push(longest)[0]?.length, longestFrame);
  const tooLong = Buffer.alloc(4);
  tooLong.writeUInt32BE(longestFrame + 1);
  t.throws(() => new FrameReader().push(tooLong), { instanceOf: Failure, code: "too-large" });
});

test("a length is checked also when it comes byte by byte", (t) => {
  const reader = new FrameReader();
  for (const byte of [0xff, 0xff, 0xff]) t.deepEqual(reader.push(Buffer.of(byte)), []);
  t.throws(() => reader.push(Buffer.of(0xff)), { instanceOf: Failure, code: "too-large" });
});

test("an empty frame and a stream that ends within one are malformed", (t) => {
  const malformed = { instanceOf: Failure, code: "malformed" };
  t.throws(() => new FrameReader().push(Buffer.alloc(4)), malformed);
  for (const length of [1, 4, 6]) {
    const reader = new FrameReader();
    reader.push(frame(Buffer.from("abc")).subarray(0, length));
    t.throws(() => reader.end(), malformed);
  }
});
