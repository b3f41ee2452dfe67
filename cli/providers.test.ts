/** What was left out, in the forms of `ssh-add --list-providers`. */
import test from "ava";
import { providersAsJson } from "./json.ts";
import { type ProvidersView, plainLines } from "./providers-plain.ts";
import { treeLines } from "./providers-tree.ts";

const token = { label: "card", manufacturer: "maker", model: "model", serial: "1" };
const provider = {
  path: "/lib",
  requested: "/lib",
  state: "ready",
  tokens: [token],
  identities: [],
} as const;
const leftOut = [
  { object: 'certificate "\u001b"', reason: "no private key", token: 0 },
  { object: 'token "other"', reason: "refused the PIN", token: undefined },
];
const told = { ...provider, tokenStates: ["ready"], leftOut } as const;

function view(one: ProvidersView["providers"][number]): ProvidersView {
  return { providers: [one], upstreams: [], identities: [], hash: "sha256", now: 0 };
}

test("what was left out has lines of its own, below its token or the provider", (t) => {
  t.deepEqual(treeLines(view(told), true), [
    "/lib ready",
    "├─ token card maker model, serial 1",
    '│  └─ left out: certificate "\\033": no private key',
    '└─ left out: token "other": refused the PIN',
  ]);
  const lines = ["provider /lib ready", "token /lib card (maker, model, 1)"];
  t.deepEqual(plainLines(view(told)), [
    ...lines,
    'left-out /lib certificate "\u001b": no private key',
    'left-out /lib token "other": refused the PIN',
  ]);
  t.deepEqual(plainLines(view(provider)), lines);
  t.deepEqual(treeLines(view(provider), true).length, 2);
});

test("JSON has what was left out, with the position of its token", (t) => {
  const listed = { identities: [], renewals: [], upstreams: [], hash: "sha256" } as const;
  const parsed = (one: ProvidersView["providers"][number]) =>
    JSON.parse(providersAsJson([one], listed)).providers[0].leftOut;
  t.deepEqual(parsed(told), [
    { token: 0, object: 'certificate "\u001b"', reason: "no private key" },
    { token: null, object: 'token "other"', reason: "refused the PIN" },
  ]);
  t.deepEqual(parsed(provider), []);
});
