// The files of a release that are no programs: manual pages, completions, systemd units, documentation.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, run } from "./files.mjs";

/** Folders as PATH/../share has them: man and bash look there. */
const places = {
  "man/ssh-add.1": "man/man1/ssh-add.1",
  "man/ssh-agent.1": "man/man1/ssh-agent.1",
  "completions/bash/ssh-add": "bash-completion/completions/ssh-add",
  "completions/bash/ssh-agent": "bash-completion/completions/ssh-agent",
  "completions/zsh/_ssh-add": "zsh/site-functions/_ssh-add",
  "completions/zsh/_ssh-agent": "zsh/site-functions/_ssh-agent",
  "completions/fish/ssh-add.fish": "fish/vendor_completions.d/ssh-add.fish",
  "completions/fish/ssh-agent.fish": "fish/vendor_completions.d/ssh-agent.fish",
  "systemd/ssh-agent.service": "systemd/user/ssh-agent.service",
  "systemd/ssh-agent.socket": "systemd/user/ssh-agent.socket",
};

const documents = ["README.md", "CHANGELOG.md", "docs", "examples"];

/** Copies them into the tree of a release. */
export function copyShared(tree) {
  const share = join(tree, "share");
  for (const [from, to] of Object.entries(places)) {
    const place = join(share, to);
    mkdirSync(dirname(place), { recursive: true });
    run("install", "-m", "644", join(root, from), place);
  }
  const doc = join(share, "doc/cardagent");
  mkdirSync(doc, { recursive: true });
  run("cp", "-r", ...documents.map((name) => join(root, name)), doc);
}
