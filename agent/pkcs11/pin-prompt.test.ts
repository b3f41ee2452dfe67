import test from "ava";
import { Failure } from "../../protocol/failure.ts";
import { clientGone } from "../policy/prompts.ts";
import { PinPrompts } from "./pin-prompt.ts";

const missing = new Failure("pin-required", "The card asks for its PIN.");

/** Prompts for one token; each stays until it is answered or withdrawn. */
function makePrompts() {
  const prompts = new PinPrompts();
  const answers: (() => void)[] = [];
  const ask = (signal: AbortSignal) =>
    new Promise<Buffer>((resolve, reject) => {
      answers.push(() => resolve(Buffer.from("1234")));
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  const prompt = { token: 0, missing, ask, use: async () => {} };
  /** A client that waits for the PIN, and began when so many logins had ended. */
  const wait = (since = prompts.ended(0)) => {
    const client = new AbortController();
    const done = prompts.shared(prompt, since, client.signal);
    return { done, leave: () => client.abort(clientGone) };
  };
  return { prompts, answers, wait };
}

const settle = () => new Promise(setImmediate);

test("a shared prompt stays until the last client has gone", async (t) => {
  const { answers, wait } = makePrompts();
  const [one, two] = [wait(), wait()];
  await settle();
  one.leave();
  await settle();
  answers[0]?.();
  await t.notThrowsAsync(two.done);
  const [three, four] = [wait(), wait()];
  await settle();
  three.leave();
  four.leave();
  for (const { done } of [three, four]) t.is(await t.throwsAsync(done), clientGone);
  t.is(answers.length, 2);
});

test("a client that joins a prompt being withdrawn gets a new one", async (t) => {
  const { prompts, answers, wait } = makePrompts();
  const since = prompts.ended(0);
  const leaving = wait();
  await settle();
  leaving.leave();
  const early = wait(since);
  await t.throwsAsync(leaving.done);
  const late = wait(since);
  await settle();
  t.is(answers.length, 2);
  answers[1]?.();
  await Promise.all([early.done, late.done]);
  await t.notThrowsAsync(wait(since).done, "it has the login of those before");
  t.is(answers.length, 2);
});
