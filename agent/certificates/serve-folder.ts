/** Has an agent follow a folder of certificates. */
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent } from "../agent.ts";
import { supersedes } from "../policy/renewal.ts";
import { SessionBindings } from "../policy/session.ts";
import { attachCertificate } from "../requests/attach-certificate.ts";
import { CertificateFolder } from "./certificate-folder.ts";

/**
 * Attaches the certificates in a folder to their keys, as `ssh-add --cert-for-card` does.
 * @param path absolute
 */
export function followCertificates(agent: Agent, path: string): CertificateFolder {
  const folder = new CertificateFolder(
    path,
    {
      get isLocked() {
        return agent.lock.isLocked;
      },
      attach(certificate) {
        const upstreams = agent.upstreams.forClient();
        const attacher = { bindings: new SessionBindings(), upstreams };
        const request = { certificate, comment: "", replace: true, constraints: [] };
        return attachCertificate(agent, attacher, request)?.finally(() => upstreams.close());
      },
      detach: (certificate) => void agent.keyring.remove(certificate),
      has: (certificate) =>
        agent.keyring.find(certificate) !== undefined || hasNewer(agent, certificate),
      log: agent.log,
    },
    agent.clock,
  );
  agent.certificateFolder = folder;
  return folder;
}

/** Whether the agent has a certificate that supersedes another one, as after a renewal. */
function hasNewer({ keyring, wallClock }: Agent, certificate: Buffer): boolean {
  const [older, now] = [verifyKeyOrCertificate(certificate), wallClock()];
  return [...keyring.identities()].some((one) => supersedes(one, older, now));
}
