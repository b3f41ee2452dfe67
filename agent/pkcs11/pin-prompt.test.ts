import test from "ava";
import { Failure } from "../../protocol/failure.ts";
import { clientGone } from "../policy/prompts.ts";
import { PinPrompts } from "./pin-prompt.ts";

const missing = new Failure("pin-required", "The card asks for its PIN.");

/** Questions about one token; each stays until it is answered or taken back. */
function makeQuestions() {
  const questions = new PinPrompts();
  const answers: (() => void)[] = [];
  const ask = (unwanted: AbortSignal) =>
    new Promise<Buffer>((resolve, reject) => {
      answers.push(() => resolve(Buffer.from("1234")));
      unwanted.addEventListener("abort", () => reject(unwanted.reason));
    });
  const prompt = { token: 0, missing, ask, use: async () => {} };
  /** Somebody who waits for the PIN, since so many logins had ended. */
  const wait = (since = questions.ended(0)) => {
    const client = new AbortController();
    const done = questions.shared(prompt, since, client.signal);
    return { done, leave: () => client.abort(clientGone) };
  };
  return { questions, answers, wait };
}

const settle = () => new Promise(setImmediate);

test("a shared question stays until the last one who waits has gone", async (t) => {
  const { answers, wait } = makeQuestions();
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

test("whoever comes while a question is taken back has one asked anew", async (t) => {
  const { questions, answers, wait } = makeQuestions();
  const since = questions.ended(0);
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
