/** Helpers for tests of whole runs: the system's agent, keys, ssh-add, a fake agent. */
import { createServer } from "node:net";
import { sshAdd } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { sshKeygen, systemSshAdd } from "../fixtures/system-programs.ts";
import type { Owner, RunResult, Workspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import { decodeCertificate } from "../protocol/certificate.ts";
import { FrameReader, frame } from "../protocol/framing.ts";
import { encodeReply, type Reply } from "../protocol/replies.ts";

/** Starts the system's ssh-agent and sets SSH_AUTH_SOCK in the workspace's environment. */
export async function startSystemAgent(
  workspace: Workspace,
  env: Record<string, string> = {},
): Promise<void> {
  const agent = await startAgent(workspace, { env });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
}

/** Options for a run of ssh-add. */
export interface SshAddOptions {
  input?: string | Uint8Array;
  env?: Record<string, string>;
}

/** Runs the project's ssh-add in the workspace. */
export function runOurs(
  workspace: Workspace,
  args: string[],
  options: SshAddOptions = {},
): Promise<RunResult> {
  return workspace.run(sshAdd, args, options);
}

/** Runs the system's ssh-add in the workspace. */
export function runSystem(
  workspace: Workspace,
  args: string[],
  options: SshAddOptions = {},
): Promise<RunResult> {
  return workspace.run(systemSshAdd(), args, options);
}

/** Options for `makeKey`. */
export interface KeyOptions {
  type?: "ed25519" | "ecdsa" | "rsa" | "dsa";
  bits?: number;
  comment?: string;
  passphrase?: string;
  /** More options for ssh-keygen, such as `-Z aes256-cbc` and `-m PEM`. */
  more?: string[];
}

/** Creates a private key file and FILE.pub in the workspace. @returns its path */
export async function makeKey(
  workspace: Workspace,
  name: string,
  options: KeyOptions = {},
): Promise<string> {
  const { type = "ed25519", comment = `comment of ${name}`, passphrase = "" } = options;
  const path = workspace.path(name);
  const bits = options.bits ?? (type === "rsa" ? 2048 : undefined);
  const size = bits === undefined ? [] : ["-b", String(bits)];
  const args = ["-q", "-t", type, ...size, "-C", comment, "-N", passphrase, "-a", "1", "-f", path];
  await workspace.expect(sshKeygen(), [...args, ...(options.more ?? [])]);
  return path;
}

/** Options for `certify`. */
export interface CertificateOptions {
  keyId?: string;
  /** By default, "alice". */
  principals?: string[];
  /** For ssh-keygen -V; unlimited by default. */
  validity?: string;
}

/** Creates FILE-cert.pub for a key file with a CA's key file. @returns its path */
export async function certify(
  workspace: Workspace,
  ca: string,
  key: string,
  {
    keyId = "the key",
    principals = ["alice"],
    validity = "always:forever",
  }: CertificateOptions = {},
): Promise<string> {
  const names = principals.length === 0 ? [] : ["-n", principals.join(",")];
  const args = ["-q", "-s", ca, "-I", keyId, ...names, "-V", validity, `${key}.pub`];
  await workspace.expect(sshKeygen(), args);
  return `${key}-cert.pub`;
}

/** The agent's identities: the key IDs of certificates, "key" for plain keys. */
export async function heldKeyIds(workspace: Workspace): Promise<string[]> {
  const { stdout } = await runOurs(workspace, ["-L"]);
  return stdout
    .split("\n")
    .flatMap((line) => parsePublicKeyLine(line) ?? [])
    .map(({ blob }) => decodeCertificate(blob)?.keyId ?? "key");
}

/** A fake agent that records requests. */
export interface Recorder {
  /** The requests since the last `clear`, without their lengths. */
  readonly requests: Buffer[];
  clear(): void;
}

let recorders = 0;

/** Starts a fake agent and sets SSH_AUTH_SOCK in the workspace's environment. */
export function startRecorder(
  t: Owner,
  workspace: Workspace,
  answer: (request: Buffer) => Reply | Promise<Reply>,
): Promise<Recorder> {
  const requests: Buffer[] = [];
  const server = createServer((socket) => {
    const frames = new FrameReader();
    socket.on("error", () => {});
    let last = Promise.resolve();
    socket.on("data", (chunk) => {
      for (const view of frames.push(chunk)) {
        const request = Buffer.from(view);
        requests.push(request);
        last = last.then(async () => {
          socket.write(frame(encodeReply(await answer(request))));
        });
      }
    });
  });
  t.teardown(() => {
    server.close();
  });
  const path = workspace.path(`recorder-${++recorders}.sock`);
  workspace.env.SSH_AUTH_SOCK = path;
  const clear = () => {
    requests.length = 0;
  };
  return new Promise((resolve) => {
    server.listen(path, () => resolve({ requests, clear }));
  });
}
