/** Signs with a key of a token: attempts, and between them the steps of the recovery table. */
import { Failure } from "../../../protocol/failure.ts";
import { signatureFlags } from "../../../protocol/numbers.ts";
import {
  encodeSignature,
  type SignatureAlgorithm,
  signatureAlgorithm,
} from "../../../protocol/signature.ts";
import { verifySignature } from "../../../protocol/verification.ts";
import { type Handle, sessionLost, userNotLoggedIn } from "./cryptoki.ts";
import {
  foreignSignature,
  keyDoesNotSign,
  keyGone,
  notTouched,
  pinRequired,
  pinRequiredEachTime,
  signFailure,
  tokenRemoved,
  wrongLength,
} from "./failures.ts";
import type { KeyState, PrivateKeyUse } from "./key-state.ts";
import { isLoggedIn } from "./login.ts";
import { type SigningWay, signingWays } from "./mechanisms.ts";
import type { Module } from "./module.ts";
import {
  classify,
  isDeviceError,
  isRetryable,
  nextRecoveryStep,
  type RecoveryStep,
  refusesKey,
  refusesLength,
  refusesMechanism,
  wantsLogin,
} from "./recovery.ts";
import type { SessionPool } from "./sessions.ts";
import { signatureForms, signatureLength } from "./signature-forms.ts";
import { hasSeenWrongPin as hasSeenWrong } from "./slots.ts";
import type { TokenConnection } from "./token.ts";

/** The maximum number of reconnects per signature, if each session is lost before its use. */
const maxReconnects = 5;

/** Milliseconds after which a refusal means that the user did not touch the token. */
const touchWait = 3000;

/** Bytes per C_SignUpdate, few enough for a card. */
const maxPart = 1024;

/** A requested signature. */
interface Job {
  readonly module: Module;
  readonly token: TokenConnection;
  readonly key: KeyState;
  readonly algorithm: SignatureAlgorithm;
  /** The way that worked before, or the first one. */
  readonly way: SigningWay;
  readonly otherWays: readonly SigningWay[];
  /** The token's PIN, or empty. */
  readonly pin: Buffer;
}

/** A signature, and how it was made. */
interface Signed {
  readonly type: "signed";
  readonly output: Buffer;
  readonly way: SigningWay;
  readonly use: PrivateKeyUse;
}

/** The result of one attempt. */
type Attempt =
  | Signed
  /** `waited`: C_Sign took long enough to have awaited a touch; undefined if it was not called. */
  | { readonly type: "failed"; readonly error: unknown; readonly waited: boolean | undefined };

/**
 * Signs with a key of a token.
 * @param pin the token's PIN, or empty
 * @returns the signature blob, verified: only that proves that a reinserted card, or its library,
 *   used the right key
 * @throws {Failure} as `Provider.sign`
 */
export async function sign(
  module: Module,
  token: TokenConnection,
  key: KeyState,
  algorithm: SignatureAlgorithm,
  data: Buffer,
  pin: Buffer,
): Promise<Buffer> {
  const { publicKey } = key.key;
  const ways = signingWays(publicKey, algorithm, data);
  const job = { module, token, key, algorithm, ...order(ways, key.way), pin };
  for (;;) {
    const { output, way, use } = await signWithRecovery(job);
    const signature = readSignature(key, algorithm, output, data);
    if (signature !== undefined) {
      key.way = ways.indexOf(way);
      key.signedBy(use);
      return signature;
    }
    const expected = signatureLength(publicKey);
    const isComplete = output.length === expected;
    const failure = isComplete
      ? foreignSignature(token.description)
      : wrongLength(output.length, expected);
    const isOf = (other: KeyState) => readSignature(other, algorithm, output, data) !== undefined;
    if (!key.signedWrong(use, isOf, failure)) throw failure;
  }
}

/**
 * Whether a key signs, in one attempt without recovery.
 * @param pin one that the token has accepted, or empty
 */
export async function signsAtOnce(
  module: Module,
  token: TokenConnection,
  key: KeyState,
  pin: Buffer,
): Promise<boolean> {
  const { publicKey } = key.key;
  const algorithm = signatureAlgorithm(publicKey, signatureFlags.rsaSha256);
  const data = Buffer.from("Does this key sign?");
  const ways = order(signingWays(publicKey, algorithm, data), key.way);
  const attempt = await attemptIn(
    token.sessions,
    { module, token, key, algorithm, ...ways, pin },
    true,
  );
  if (attempt?.type !== "signed") return false;
  return readSignature(key, algorithm, attempt.output, data) !== undefined;
}

/** @param known the index of the way to begin with */
function order(ways: ReturnType<typeof signingWays>, known: number) {
  const way = ways[known] ?? ways[0];
  return { way, otherWays: ways.filter((other) => other !== way) };
}

/** The signature that a token's output contains; undefined if it is not this key's. */
function readSignature(
  { key: { publicKey }, keyObject }: KeyState,
  algorithm: SignatureAlgorithm,
  output: Buffer,
  data: Buffer,
): Buffer | undefined {
  for (const raw of signatureForms(publicKey, output)) {
    const signature = encodeSignature(algorithm, raw);
    if (verifySignature(publicKey, signature, data, keyObject)) return signature;
  }
  return undefined;
}

/**
 * Attempts a signature on the current sessions, then after each step of the recovery table.
 * Concurrent signatures with the same token share the steps.
 */
async function signWithRecovery(job: Job): Promise<Signed> {
  const { token, key, pin } = job;
  let tried: Exclude<RecoveryStep, "give-up"> | undefined;
  let [hadDeviceError, hasLostLogin, waited] = [false, false, false];
  for (let reconnects = 0; ; reconnects++) {
    const { sessions } = token;
    const attempt = await attemptIn(sessions, job, reconnects > maxReconnects);
    if (attempt?.type === "signed") return attempt;
    // An attempt on sessions that ended with a restart for another token proves nothing.
    if (attempt !== undefined && (sessions?.isCurrent || reconnects > maxReconnects)) {
      const { error } = attempt;
      waited = attempt.waited ?? waited;
      const seen = classify(error, waited);
      // libykcs11 also returns CKR_USER_NOT_LOGGED_IN if the user did not touch the token.
      const isEvidence = seen !== "final" && seen !== "no-touch" && tried !== "restart";
      hadDeviceError ||= isEvidence && isDeviceError(error);
      hasLostLogin ||= isEvidence && wantsLogin(error) && token.isLoggedIn;
      const canLogIn = token.login.canLogIn(pin);
      const canLogInForOne = canLogIn && token.login.hasAcceptedPin && !key.alwaysAuthenticate;
      const hasSeenWrongPin = () => isWrongPinSeen(token);
      const login = { canLogIn, canLogInForOne, hasSeenWrongPin };
      const step = nextRecoveryStep({ seen, tried, hadDeviceError, ...login });
      if (step === "give-up") {
        const failure = await finalFailure(job, error, waited, hasLostLogin);
        if (refusesKey(error) && key.refused(failure)) continue;
        throw failure;
      }
      tried = step;
      if (step === "log-in-for-one") {
        key.contextLogin = true;
        continue;
      }
    }
    const hadLogin = token.isLoggedIn;
    const step = tried === undefined || tried === "log-in-for-one" ? "reopen" : tried;
    await token.reconnect({ stale: sessions, step, pin });
    hasLostLogin ||= hadLogin && !token.isLoggedIn;
  }
}

/** @returns undefined without sessions; for the last attempt, a failed one instead */
async function attemptIn(
  sessions: SessionPool | undefined,
  job: Job,
  isLast: boolean,
): Promise<Attempt | undefined> {
  if (sessions !== undefined) return job.module.use(() => signInAnyWay(sessions, job));
  return isLast ? { type: "failed", error: sessionLost(), waited: undefined } : undefined;
}

function isWrongPinSeen(token: TokenConnection): boolean {
  const now = token.look();
  return now !== undefined && hasSeenWrong(now);
}

/** The failure to report once recovery has given up. */
async function finalFailure(
  { token, key, algorithm }: Job,
  error: unknown,
  waited: boolean,
  hasLostLogin: boolean,
): Promise<Failure> {
  const isPinMissing = error instanceof Failure && error.code === "pin-required";
  if (error instanceof Failure && !(hasLostLogin && isPinMissing)) return error;
  const { description } = token;
  if (wantsLogin(error) || hasLostLogin) await token.loginLost(hasLostLogin);
  const now = token.look();
  if (now === undefined) return tokenRemoved(description);
  if (error instanceof Failure) return pinRequired(description, now);
  if (waited && isRetryable(error)) return notTouched(description);
  if (!key.maySign && refusesMechanism(error)) return keyDoesNotSign(description);
  return signFailure(now, key.alwaysAuthenticate, algorithm, error);
}

/** Signs in the way that worked before, else, if the token refuses it, in another one. */
async function signInAnyWay(sessions: SessionPool, job: Job): Promise<Attempt> {
  const first = await signOnce(sessions, job, job.way);
  const attempts = [first];
  for (const way of job.otherWays) {
    if (!attempts.every(isRefused)) break;
    if (way.inParts && !attempts.some(isTooLong)) continue;
    attempts.push(await signOnce(sessions, job, way));
  }
  return attempts.find((attempt) => !isRefused(attempt)) ?? first;
}

function isRefused(attempt: Attempt): boolean {
  return attempt.type === "failed" && refusesMechanism(attempt.error);
}

function isTooLong(attempt: Attempt): boolean {
  return attempt.type === "failed" && refusesLength(attempt.error);
}

/** Signs on one session of a pool. A session on which a call failed is replaced. */
async function signOnce(sessions: SessionPool, job: Job, way: SigningWay): Promise<Attempt> {
  if (!sessions.isOpen) return { type: "failed", error: sessionLost(), waited: undefined };
  const taken = sessions.take();
  const session = taken instanceof Promise ? await taken : taken;
  const attempt = await signIn(sessions, session, job, way);
  if (attempt.type === "signed") sessions.release(session);
  else sessions.replace(session);
  return attempt;
}

async function signIn(
  sessions: SessionPool,
  session: Handle,
  job: Job,
  way: SigningWay,
): Promise<Attempt> {
  const { key, token, module, pin } = job;
  let use: PrivateKeyUse;
  try {
    use = findUse(sessions, session, job);
    const { handle } = use;
    const init = () => module.cryptoki.C_SignInit(session, way.mechanism, handle);
    if (!key.alwaysAuthenticate) init();
    else key.contextLogin = await token.login.logInForOne(session, init, pin, token);
  } catch (error) {
    return { type: "failed", error, waited: undefined };
  }
  const begun = performance.now();
  try {
    const output = await callSign(session, way, job);
    token.noteSigned(key);
    return { type: "signed", output, way, use };
  } catch (error) {
    return { type: "failed", error, waited: performance.now() - begun > touchWait };
  }
}

/** C_Sign, or C_SignUpdate and C_SignFinal. */
async function callSign(
  session: Handle,
  { input, inParts }: SigningWay,
  { module: { cryptoki }, key }: Job,
): Promise<Buffer> {
  // The extra room is for longer forms of a signature, and for that of a key on another curve.
  const output = Buffer.allocUnsafe(signatureLength(key.key.publicKey) + 80);
  if (!inParts) return output.subarray(0, await cryptoki.C_Sign(session, input, output));
  for (let at = 0; at < input.length; at += maxPart) {
    cryptoki.C_SignUpdate(session, input.subarray(at, at + maxPart));
  }
  return output.subarray(0, await cryptoki.C_SignFinal(session, output));
}

/** The private key to use in a session. @throws the reason if the session cannot see it */
function findUse(sessions: SessionPool, session: Handle, job: Job): PrivateKeyUse {
  const { module, token, key, pin } = job;
  const { description, login } = token.known;
  const look = (thorough: boolean) =>
    key.privateKeyIn(module.cryptoki, sessions, session, thorough);
  const seen = look(false);
  if (seen !== undefined) return seen;
  if (login !== "none" && !(isLoggedIn(module, session) ?? token.isLoggedIn)) {
    if (token.login.canLogIn(pin)) throw userNotLoggedIn();
    const now = token.tryLook();
    if (now === undefined) throw sessionLost(); // lets recovery search for the token
    throw (key.alwaysAuthenticate ? pinRequiredEachTime : pinRequired)(description, now);
  }
  // A login on another thread may have completed since the first look.
  const shown = look(false) ?? look(true);
  if (shown === undefined) throw keyGone(description);
  return shown;
}
