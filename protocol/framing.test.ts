import test from "ava";
import fc from "fast-check";
import { bytes } from "./arbitraries.ts";
import { Failure } from "./failure.ts";
import { FrameReader, frame } from "./framing.ts";
import { maxFrameLength } from "./numbers.ts";

/** Splits `whole` at the given places. */
function split(whole: Buffer, places: readonly number[]): Buffer[] {
  const cuts = places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b);
  const edges = [0, ...cuts, whole.length];
  return edges.slice(1).map((end, index) => Buffer.from(whole.subarray(edges[index], end)));
}

test("the messages do not depend on how the stream is split into chunks", (t) => {
  const messages = fc.array(bytes(200, 1), { maxLength: 6 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(), { maxLength: 12 }), (sent, places) => {
      const reader = new FrameReader();
      const received: Buffer[] = [];
      for (const piece of split(Buffer.concat(sent.map(frame)), places)) {
        for (const message of reader.push(piece)) received.push(Buffer.from(message));
      }
      t.deepEqual(received, sent);
      t.notThrows(() => reader.end());
    }),
  );
});

test("a message over the maximum length is refused", (t) => {
  const longest = frame(Buffer.alloc(maxFrameLength, 1));
  t.is(new FrameReader().push(longest)[0]?.length, maxFrameLength);
  const tooLong = Buffer.alloc(4);
  tooLong.writeUInt32BE(maxFrameLength + 1);
  t.throws(() => new FrameReader().push(tooLong), { instanceOf: Failure, code: "too-large" });
});

test("a length that arrives byte by byte is checked", (t) => {
  const reader = new FrameReader();
  for (const byte of [0xff, 0xff, 0xff]) t.deepEqual(reader.push(Buffer.of(byte)), []);
  t.throws(() => reader.push(Buffer.of(0xff)), { instanceOf: Failure, code: "too-large" });
});

test("an empty message and a stream that ends within a frame are malformed", (t) => {
  const malformed = { instanceOf: Failure, code: "malformed" };
  t.throws(() => new FrameReader().push(Buffer.alloc(4)), malformed);
  for (const length of [1, 4, 6]) {
    const reader = new FrameReader();
    reader.push(frame(Buffer.from("abc")).subarray(0, length));
    t.throws(() => reader.end(), malformed);
  }
});

test("an incomplete frame takes memory for its received part, not for its announced length", (t) => {
  const reader = new FrameReader();
  const long = frame(Buffer.alloc(maxFrameLength, 1));
  reader.add(Buffer.from(long.subarray(0, 5)));
  t.is(reader.next(), undefined);
  t.true(reader.held < 10_000); // small buffers share a pool
  let held = reader.held;
  for (let at = 5; at < long.length; at += 10_000) {
    const [message] = reader.push(slowCopy(long.subarray(at, at + 10_000)));
    t.is(message?.length, at + 10_000 < long.length ? undefined : maxFrameLength);
    t.true(reader.held <= 2 * (at + 10_000));
    held = Math.max(held, reader.held);
  }
  t.is(held, long.length);
  t.is(reader.held, 0);
});

test("copied parts of chunks are overwritten, and clear overwrites the rest", (t) => {
  const pieces = [3, 2, 1, 4, 8, 16, 32].map((length) => Buffer.alloc(length, 7));
  Buffer.from([0, 0, 1]).copy(pieces[0] as Buffer);
  pieces[1]?.writeUInt8(0);
  const reader = new FrameReader();
  for (const piece of pieces) t.deepEqual(reader.push(piece), []);
  for (const piece of pieces) t.true(piece.every((byte) => byte === 0));
  const whole = slowCopy(Buffer.from([0, 0, 0, 9, 7, 7, 7]));
  const other = new FrameReader();
  other.add(whole);
  t.is(other.next(), undefined);
  other.add(slowCopy(Buffer.from([7])));
  other.clear();
  t.true(whole.every((byte) => byte === 0));
  t.is(other.held, 0);
});

test("next returns one message at a time and leaves the rest unread", (t) => {
  const reader = new FrameReader();
  reader.add(slowCopy(Buffer.concat([frame(Buffer.of(1)), frame(Buffer.of(2)), Buffer.alloc(4)])));
  t.deepEqual(reader.next(), Buffer.of(1));
  t.is(reader.held, 14);
  t.deepEqual(reader.next(), Buffer.of(2));
  t.throws(() => reader.next(), { instanceOf: Failure, code: "malformed" });
});

/** A copy with memory of its own, like a chunk from a socket. */
function slowCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
