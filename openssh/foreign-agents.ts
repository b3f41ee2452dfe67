/**
 * Agents of other projects that report success for what they do not do, or give no reasons.
 *
 * The agent protocol does not identify an agent, so these are recognized by their fixed socket names
 * (`S.gpg-agent.ssh`, GNOME's `keyring/ssh` and `gcr/ssh`), or by the name of the process that listens.
 */
import { requestNumbers } from "../protocol/numbers.ts";

/** What to print about something that an agent does not support. */
interface Explanation {
  readonly reason: string;
  readonly hint: string;
}

/** An agent of another project, and its known limitations. */
export interface ForeignAgent {
  readonly name: string;
  /** What its socket's path looks like. */
  readonly socket: RegExp;
  /** The names of its processes, as in `ps -o comm`. */
  readonly processes: readonly string[];
  /** Why it refuses requests, by message number. */
  readonly refusals: Readonly<Record<number, Explanation>>;
  /** Why it still lists identities after it reported that it removed them. */
  readonly notRemoved: Explanation;
  /** Why it still lists identities after it reported that it is locked. */
  readonly notLocked?: Explanation;
  /** Why it cannot hold certificates; undefined if it can. */
  readonly certificates?: Explanation;
  /** Why destination constraints have no effect; undefined if it enforces them. */
  readonly destinations?: Explanation;
}

const noLibraries = (name: string, hint: string): Readonly<Record<number, Explanation>> => {
  const explanation = { reason: `${name} loads no PKCS#11 libraries.`, hint };
  return {
    [requestNumbers["add-smartcard-key"]]: explanation,
    [requestNumbers["add-smartcard-key-constrained"]]: explanation,
    [requestNumbers["remove-smartcard-key"]]: explanation,
  };
};

const gpgRefusesKey: Explanation = {
  reason: "gpg-agent did not get a passphrase to keep the key with, or knows no such keys.",
  hint: "It asks with a pinentry of its own; see GPG_TTY in gpg-agent(1).",
};

const gpgAgent: ForeignAgent = {
  name: "gpg-agent",
  socket: /\/S\.gpg-agent\.ssh$/,
  processes: ["gpg-agent"],
  refusals: {
    ...noLibraries("gpg-agent", "It uses OpenPGP cards by itself; see: gpg --card-status"),
    [requestNumbers["add-identity"]]: gpgRefusesKey,
    [requestNumbers["add-identity-constrained"]]: gpgRefusesKey,
    [requestNumbers["remove-identity"]]: {
      reason: "gpg-agent has no such key, or has it on a card.",
      hint: "See what the agent holds with: ssh-add -l",
    },
    [requestNumbers.sign]: {
      reason: "gpg-agent has no such key, or did not get the passphrase of it.",
      hint: "It asks with a pinentry of its own; see GPG_TTY in gpg-agent(1).",
    },
  },
  notRemoved: {
    reason: "gpg-agent says that it removed them, and keeps them.",
    hint:
      "Find their keygrips with: gpg-connect-agent 'KEYINFO --ssh-list --ssh-fpr' /bye, " +
      "then remove each with: gpg-connect-agent 'DELETE_KEY --force KEYGRIP' /bye",
  },
  notLocked: {
    reason: "gpg-agent says that it is locked, and cannot be.",
    hint: "To make it forget passphrases: gpg-connect-agent RELOADAGENT /bye",
  },
  certificates: {
    reason: "gpg-agent keeps no certificates, and would take this one for a key.",
    hint: "Let ssh read it: CertificateFile in ssh_config(5).",
  },
  destinations: {
    reason: "gpg-agent takes destination constraints and does not obey them.",
    hint: "Add the key to an agent that does: ssh-agent.",
  },
};

const gnomeKeyring: ForeignAgent = {
  name: "GNOME keyring",
  socket: /\/(keyring(-[^/]+)?|gcr)\/ssh$/,
  processes: ["gnome-keyring-d", "gcr-ssh-agent"],
  refusals: {
    ...noLibraries("The GNOME keyring's agent", "Start an agent that does: ssh-agent."),
    [requestNumbers["remove-identity"]]: {
      reason: "The GNOME keyring's agent has not loaded this key, even if it lists it.",
      hint: "It lists the key pairs in ~/.ssh as long as their .pub files are there.",
    },
  },
  notRemoved: {
    reason: "The GNOME keyring's agent lists the key pairs in ~/.ssh, and loads them when asked.",
    hint: "To hide one from it, move its .pub file away.",
  },
  notLocked: {
    reason: "The GNOME keyring's agent lists the key pairs in ~/.ssh also while it is locked.",
    hint: "It uses them again when it is unlocked.",
  },
};

/**
 * Recognizes an agent of another project.
 * @param path of its socket, without symbolic links
 * @param processName of the process that listens there, if known
 */
export function foreignAgent(path: string, processName = ""): ForeignAgent | undefined {
  const agents = [gpgAgent, gnomeKeyring];
  return (
    agents.find(({ socket }) => socket.test(path)) ??
    agents.find(({ processes }) => processes.includes(processName))
  );
}
