/** For tests: an agent in this process, on a socket of its own, and keys and certificates for it. */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Owner } from "../fixtures/workspace.ts";
import type { Certificate } from "../protocol/certificate.ts";
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import { signComposite } from "../protocol/composite.ts";
import type { FailureCode } from "../protocol/failure.ts";
import { mlDsaPublicKey, openMlDsaKey } from "../protocol/ml-dsa-key.ts";
import type { PrivateKey, SecretFields } from "../protocol/private-key.ts";
import { encodePublicKey, mlDsaLengths, type PublicKey } from "../protocol/public-key.ts";
import {
  encodeSignature,
  type SignatureAlgorithm,
  signatureAlgorithm,
} from "../protocol/signature.ts";
import { signSync } from "../protocol/signing.ts";
import { encodeCertificate, signedPart } from "../protocol/test-certificates.ts";
import { Agent, type AgentSettings } from "./agent.ts";
import type { AuthenticatorParts } from "./fido/authenticator.ts";
import { skHelper } from "./fido/helper.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import { nothingFreed } from "./host/freed-memory.ts";
import type { Libc } from "./host/libc.ts";
import { socketPaths } from "./host/socket-path.ts";
import { OpenKeys } from "./keys/open-keys.ts";
import { Shield } from "./keys/shield.ts";
import type { SoftwareKeyParts } from "./keys/software-key.ts";
import { makeRegistry } from "./pkcs11/test-registry.ts";
import type { Prompter } from "./policy/prompter.ts";
import { renew } from "./renewal/renew.ts";
import { AgentServer } from "./server.ts";
import { makeUpstreams } from "./upstream/test-upstreams.ts";
import type { UpstreamOption } from "./upstream/upstream.ts";
import type { UpstreamLimits } from "./upstream/upstream-connection.ts";

/** A clock that advances only by `pass`. */
export class TestClock implements Clock {
  #now = 1_000_000;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(delay: number, callback: () => void): () => void {
    const timer = { at: this.#now + delay, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** The milliseconds until each pending timer fires. */
  get waits(): number[] {
    return this.#timers.map(({ at }) => at - this.#now);
  }

  /** Advances the clock; timers fire in order. */
  pass(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = end;
  }
}

/** A clock with a wall clock that can be set. */
export class TestTime extends TestClock {
  /** The time at which the wall clock starts, in seconds since 1970. */
  static readonly start = 1_800_000_000n;
  /** Seconds by which the wall clock was set forward. */
  offset = 0n;
  readonly #began = this.now();

  readonly wall = (): bigint =>
    TestTime.start + this.offset + BigInt(this.now() - this.#began) / 1000n;

  /** Advances both clocks. */
  seconds(count: number): void {
    this.pass(count * 1000);
  }
}

/** The parts of an agent that a test may set. */
export interface TestAgentOptions {
  readonly settings?: Partial<AgentSettings>;
  readonly authenticators?: Partial<AuthenticatorParts>;
  readonly prompter?: Partial<Prompter>;
  readonly clock?: Clock;
  /** Overrides `makeKeyParts`. */
  readonly softwareKeys?: Partial<SoftwareKeyParts>;
  /** Seconds since 1970. */
  readonly now?: bigint;
  /** Overrides `now`, for a time that changes. */
  readonly wallClock?: WallClock;
  /** The environment of PKCS#11 libraries. */
  readonly cardEnvironment?: Readonly<Record<string, string>>;
  /** `-O pin-cache`, in seconds. */
  readonly keepPin?: number;
  /** `-O renew`: the program, and whether `-O renew-all`. */
  readonly renewal?: { readonly program: string; readonly all?: boolean };
  readonly upstreams?: readonly UpstreamOption[];
  readonly upstreamLimits?: UpstreamLimits;
  /** The user of the upstream agents. */
  readonly upstreamUid?: number;
  /** The user of every client. */
  readonly peerUid?: number;
}

/** A running agent. */
export interface TestAgent {
  readonly agent: Agent;
  readonly path: string;
  /** The lines of its log. */
  readonly log: readonly string[];
  connect(): Promise<AgentClient>;
  /** Opens a connection for sending arbitrary bytes. */
  connectRaw(): Promise<Socket>;
}

/** Parts for keys in memory: freed memory is not cleared, and time stands still. */
export function makeKeyParts(): SoftwareKeyParts {
  return {
    freedMemory: nothingFreed,
    shield: new Shield(),
    openKeys: new OpenKeys(new TestClock(), () => {}),
  };
}

/** A user who sees no notice and answers no question. */
const nobody: Prompter = {
  confirm: () => Promise.resolve(false),
  notify: () => Promise.resolve(),
  askPin: () => Promise.resolve(undefined),
};

const ownUid = process.getuid?.() ?? 0;

/** Starts an agent; it ends with the test. */
export async function startAgent(t: Owner, options: TestAgentOptions = {}): Promise<TestAgent> {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  const path = join(folder, "agent");
  const log: string[] = [];
  const { renewal } = options;
  const agent: Agent = new Agent({
    settings: {
      defaultLifetime: undefined,
      certificateGrace: 300,
      allowRemotePkcs11: false,
      websafeAllow: "ssh:*",
      fingerprintHash: "sha256",
      ...options.settings,
    },
    providers: makeRegistry(t, {
      env: options.cardEnvironment ?? {},
      keepPin: options.keepPin ?? 0,
      log: (line) => log.push(line),
    }),
    upstreams: makeUpstreams(options.upstreams, {
      limits: options.upstreamLimits,
      uid: options.upstreamUid,
      log: (line) => log.push(line),
    }),
    authenticators: {
      askHelper: skHelper({ environment: process.env, limit: 60_000, showMessages: false }),
      fingerprintHash: "sha256",
      log: (line) => log.push(line),
      ...options.authenticators,
    },
    prompter: { ...nobody, ...options.prompter },
    clock: options.clock ?? new TestClock(),
    wallClock: options.wallClock ?? (() => options.now ?? 1_800_000_000n),
    memoryCalls: { resident: () => 0, collect: () => {}, release: () => {} },
    softwareKeys: { ...makeKeyParts(), ...options.softwareKeys },
    renewal: renewal && {
      all: renewal.all ?? false,
      renew: (key, signal) => renew(agent, renewal.program, key, signal),
    },
    log: (line) => log.push(line),
  });
  const libc: Libc = {
    peerCredentials: () => ({ pid: process.pid, uid: options.peerUid ?? ownUid }),
    fileLimit: () => Infinity,
    duplicate: (descriptor) => descriptor,
    protectMemory: () => {},
    returnLargeBlocks: () => {},
    residentData: () => 0,
    releaseMemory: () => {},
    freedMemory: nothingFreed,
    execute: () => "not in a test",
  };
  const server = new AgentServer(agent, libc, ownUid);
  await server.listenAtFirst([() => socketPaths(path)], () => {});
  const sockets: Socket[] = [];
  const connectRaw = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(path, () => resolve(socket));
      socket.on("error", reject);
      sockets.push(socket);
    });
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await agent.removeEverything();
    rmSync(folder, { recursive: true });
  });
  const connectClient = async () => new AgentClient(await connectRaw());
  return { agent, path, log, connect: connectClient, connectRaw };
}

/** What ava is to expect of a request that is refused. */
export const refused = { instanceOf: AgentRefusal };

/** Why the last request was refused: the code. */
export async function reasonOf(client: AgentClient): Promise<FailureCode | undefined> {
  return (await client.failureReason())?.code;
}

/** The comments of all that is listed, in order. */
export async function comments(client: AgentClient): Promise<string[]> {
  return (await client.identities()).map(({ comment }) => comment);
}

/** The types of keys that an agent keeps in memory. */
export const keyTypes = [
  "rsa",
  "nistp256",
  "nistp384",
  "nistp521",
  "ed25519",
  "mldsa44-ed25519",
] as const;
type KeyType = (typeof keyTypes)[number];

/** A private key and what it signs. */
interface GeneratedKey {
  readonly key: PrivateKey;
  sign(algorithm: SignatureAlgorithm, data: Buffer): Buffer;
}

/** Generates a private key. Adding it to an agent does not change its buffers. */
export function generateKey(type: KeyType): PrivateKey {
  return generate(type).key;
}

function generate(type: KeyType, modulusLength = 1024): GeneratedKey {
  switch (type) {
    case "rsa":
      return ofObject(generateKeyPairSync("rsa", { modulusLength }).privateKey, type);
    case "nistp256":
    case "nistp384":
    case "nistp521": {
      const namedCurve = type.replace("nistp", "P-");
      return ofObject(generateKeyPairSync("ec", { namedCurve }).privateKey, type);
    }
    case "ed25519":
      return ofObject(generateKeyPairSync("ed25519").privateKey, type);
    case "mldsa44-ed25519":
      return generateComposite();
  }
}

function generateComposite(): GeneratedKey {
  const mlDsaSeed = randomBytes(mlDsaLengths.seed);
  const object = generateKeyPairSync("ed25519").privateKey;
  const { d, x } = object.export({ format: "jwk" });
  const secret = { mlDsa: openMlDsaKey(mlDsaSeed), ed25519: object };
  const type = "mldsa44-ed25519";
  return {
    key: {
      publicKey: { type, mlDsa: mlDsaPublicKey(mlDsaSeed), ed25519: bytesOf(x) },
      secret: { type, mlDsaSeed, ed25519Seed: bytesOf(d) },
      certificate: undefined,
    },
    sign: (algorithm, data) => encodeSignature(algorithm, signComposite(secret, data)),
  };
}

const bytesOf = (text: string | undefined) => Buffer.from(text ?? "", "base64url");

function ofObject(object: KeyObject, type: Exclude<KeyType, "mldsa44-ed25519">): GeneratedKey {
  const jwk = object.export({ format: "jwk" });
  const { publicKey, secret } = ((): { publicKey: PublicKey; secret: SecretFields } => {
    switch (type) {
      case "rsa": {
        const [d, iqmp, p, q] = [jwk.d, jwk.qi, jwk.p, jwk.q].map(bytesOf);
        const none = Buffer.alloc(0);
        return {
          publicKey: { type, n: bytesOf(jwk.n), e: bytesOf(jwk.e) },
          secret: { type, d: d ?? none, iqmp: iqmp ?? none, p: p ?? none, q: q ?? none },
        };
      }
      case "nistp256":
      case "nistp384":
      case "nistp521": {
        const point = Buffer.concat([Buffer.of(4), bytesOf(jwk.x), bytesOf(jwk.y)]);
        return {
          publicKey: { type: "ecdsa", curve: type, point },
          secret: { type: "ecdsa", d: bytesOf(jwk.d) },
        };
      }
      case "ed25519":
        return {
          publicKey: { type, publicKey: bytesOf(jwk.x) },
          secret: { type, seed: bytesOf(jwk.d) },
        };
    }
  })();
  return {
    key: { publicKey, secret, certificate: undefined },
    sign: (algorithm, data) => signSync(object, algorithm, data),
  };
}

/** A CA. */
export interface TestCa {
  readonly keyBlob: Buffer;
  /** Makes a certificate's blob; fields that are not given have defaults. */
  certify(key: PublicKey, fields?: Partial<Certificate>): Buffer;
  sign(data: Buffer): Buffer;
}

/**
 * Makes a CA.
 * @param flags of its signatures, as in a sign request: 0 is SHA-1 for RSA
 * @param bits of an RSA key
 */
export function makeCa(type: KeyType = "ed25519", flags = 0, bits?: number): TestCa {
  const generated = generate(type, bits);
  const { publicKey } = generated.key;
  const algorithm = signatureAlgorithm(publicKey, flags);
  const keyBlob = encodePublicKey(publicKey);
  const sign = (data: Buffer) => generated.sign(algorithm, data);
  return {
    keyBlob,
    sign,
    certify(certified, fields = {}) {
      const unsigned = { ...unsignedCertificate(certified, keyBlob), ...fields };
      return encodeCertificate({ ...unsigned, signature: sign(signedPart(unsigned)) });
    },
  };
}

/** What a CA is to sign. */
export function unsignedCertificate(key: PublicKey, caKey: Buffer): Omit<Certificate, "signature"> {
  return {
    key,
    nonce: Buffer.alloc(32, 1),
    serial: 1n,
    type: "user",
    keyId: "test",
    principals: ["root"],
    validAfter: 0n,
    validBefore: 2_000_000_000n,
    criticalOptions: [],
    extensions: [],
    reserved: Buffer.alloc(0),
    caKey,
  };
}
