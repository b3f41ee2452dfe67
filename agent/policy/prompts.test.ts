import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { Failure } from "../../protocol/failure.ts";
import { clientGone, type PromptOptions, PromptQueue } from "./prompts.ts";

/** A screen that shows prompts until a test answers them or they are cancelled. */
function makeScreen(t: ExecutionContext) {
  const queue = new PromptQueue();
  const shown: string[] = [];
  let answer: ((text: Buffer) => void) | undefined;
  const show = (name: string) => (signal: AbortSignal) => {
    t.is(answer, undefined, "one at a time");
    shown.push(name);
    return new Promise<Buffer>((resolve) => {
      const own = (text: Buffer) => {
        if (answer === own) answer = undefined;
        resolve(text);
      };
      answer = own;
      signal.addEventListener("abort", () => own(Buffer.from("late")));
    });
  };
  return { queue, shown, show, answer: (text: Buffer) => answer?.(text) };
}

function purpose(check = () => {}): PromptOptions & { readonly leave: () => void } {
  const client = new AbortController();
  return { signal: client.signal, check, leave: () => client.abort(clientGone) };
}

/** Lets pending callbacks run. */
const settle = () => new Promise(setImmediate);

type Step = "ask" | "notify" | "answer" | "leave" | "done";

test("in any sequence, prompts are shown one at a time, in order, unless they are cancelled", async (t) => {
  const steps = fc.tuple(
    fc.constantFrom<Step>("ask", "ask", "notify", "answer", "leave", "done"),
    fc.nat(30),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (sequence) => {
      const { queue, shown, show, answer } = makeScreen(t);
      const asked: { name: string; leave: () => void; outcome: () => string | undefined }[] = [];
      const notices: (() => void)[] = [];
      for (const [step, at] of sequence) {
        const name = `${asked.length + notices.length}`;
        if (step === "ask") {
          let outcome: string | undefined;
          const why = purpose();
          queue.ask(why, show(name)).then(
            (text) => (outcome = text.toString()),
            (error) => (outcome = error === clientGone ? "gone" : "failed"),
          );
          asked.push({ name, leave: why.leave, outcome: () => outcome });
        } else if (step === "notify") {
          notices.push(queue.notify(purpose(), async (signal) => void (await show(name)(signal))));
        } else if (step === "answer") answer(Buffer.from("answer"));
        else if (step === "leave") asked[at % asked.length]?.leave();
        else notices[at % notices.length]?.();
        if (at % 2 === 0) await settle();
      }
      for (const done of notices) done();
      for (const _ of asked) {
        await settle();
        answer(Buffer.from("answer"));
      }
      await settle();
      const numbers = shown.map(Number);
      t.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      );
      for (const { name, outcome } of asked) {
        const result = outcome();
        t.true(result === "answer" || result === "gone", result);
        if (result === "answer") t.true(shown.includes(name));
      }
    }),
    { numRuns: 200 },
  );
});

test("the answer to a cancelled prompt is overwritten", async (t) => {
  const { queue, show, answer } = makeScreen(t);
  const why = purpose();
  const asked = queue.ask(why, show("PIN"));
  const pin = Buffer.from("1234");
  answer(pin);
  why.leave();
  t.is(await t.throwsAsync(asked), clientGone);
  t.deepEqual(pin, Buffer.alloc(4));
});

test("prompts that are no longer needed are cancelled, or not shown", async (t) => {
  const { queue, shown, show } = makeScreen(t);
  const locked = new Failure("locked", "The agent was locked meanwhile.");
  let isLocked = false;
  const check = () => {
    if (isLocked) throw locked;
  };
  const asked = [queue.ask(purpose(check), show("1")), queue.ask(purpose(check), show("2"))];
  const other = queue.ask(purpose(), show("3"));
  isLocked = true;
  queue.recheck();
  for (const one of asked) t.is(await t.throwsAsync(one), locked);
  const late = queue.ask(purpose(check), show("4"));
  await settle();
  t.deepEqual(shown, ["1", "3"]);
  const client = purpose();
  client.leave();
  t.is(await t.throwsAsync(queue.ask(client, show("5"))), clientGone);
  isLocked = false;
  void Promise.allSettled([other, late]);
});

test("a prompt that cannot be shown fails, and the next one is shown", async (t) => {
  const { queue, show, answer } = makeScreen(t);
  const failing = queue.ask(purpose(), () => {
    throw new Failure("user-refused", "There is no display.");
  });
  const next = queue.ask(purpose(), show("next"));
  await t.throwsAsync(failing, { message: "There is no display." });
  await settle();
  answer(Buffer.from("yes"));
  t.is((await next).toString(), "yes");
});
