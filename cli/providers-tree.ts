/**
 * Providers and upstream agents as a tree: provider or upstream, tokens, keys, and below each key its
 * certificates.
 */
import { Chalk, type ChalkInstance } from "chalk";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import type { ProviderDescription, ProviderState } from "../protocol/extensions/list-providers.ts";
import type { UpstreamDescription, UpstreamState } from "../protocol/extensions/list-upstreams.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import { type Description, describe, withAttached } from "./identities.ts";
import { commentOf, leftOutText, type ProvidersView } from "./providers-plain.ts";
import { needsAttention, validity } from "./validity.ts";

interface Node {
  readonly text: string;
  readonly children: readonly Node[];
}

const states: Readonly<Record<ProviderState, string>> = {
  ready: "ready",
  "card-absent": "card absent",
  "pin-needed": "PIN needed",
  "module-failed": "library failed",
};

const upstreamStates: Readonly<Record<UpstreamState, string>> = {
  ready: "ready",
  gone: "gone",
  slow: "does not answer",
  invalid: "not an agent",
  refused: "not used",
};

/** The lines of the tree, in colour unless `isPlain`. */
export function treeLines(view: ProvidersView, isPlain: boolean): string[] {
  const colours = isPlain ? new Chalk({ level: 0 }) : new Chalk();
  const nodes = [
    ...view.providers.map((provider) => providerNode(view, provider, colours)),
    ...view.upstreams.map((upstream) => upstreamNode(view, upstream, colours)),
  ];
  return nodes.flatMap(({ text, children }) => [text, ...branchLines(children, "", colours)]);
}

function branchLines(nodes: readonly Node[], indent: string, colours: ChalkInstance): string[] {
  return nodes.flatMap(({ text, children }, index) => {
    const isLast = index === nodes.length - 1;
    const line = `${colours.dim(`${indent}${isLast ? "└─" : "├─"}`)} ${text}`;
    return [line, ...branchLines(children, `${indent}${isLast ? "   " : "│  "}`, colours)];
  });
}

function providerNode(view: ProvidersView, provider: ProviderDescription, colours: ChalkInstance) {
  const { path, state, isReleased, tokens, tokenStates, identities, leftOut = [] } = provider;
  const without = (token: number | undefined): Node[] =>
    leftOut
      .filter((one) => one.token === token)
      .map((one) => {
        const text = colours.dim(`left out: ${sanitizeForDisplay(leftOutText(one))}`);
        return { text, children: [] };
      });
  const shown = states[state] + (isReleased === true ? ", released" : "");
  const paint = state === "ready" ? colours.green : colours.red;
  const children: Node[] = tokens.map(({ label, manufacturer, model, serial }, at) => {
    const maker = sanitizeForDisplay(`${manufacturer} ${model}, serial ${serial}`);
    const text = `token ${colours.bold(sanitizeForDisplay(label))} ${colours.dim(maker)}`;
    const own = tokenStates?.[at] ?? state;
    // The provider's line shows the state that its tokens share.
    const line = own === state ? text : `${text} ${colours.red(states[own])}`;
    return { text: line, children: without(at) };
  });
  children.push(...keyNodes(view, identities, colours), ...without(undefined));
  return { text: `${colours.bold(sanitizeForDisplay(path))} ${paint(shown)}`, children };
}

function upstreamNode(
  view: ProvidersView,
  { path, state, name, identities }: UpstreamDescription,
  colours: ChalkInstance,
): Node {
  const paint = state === "ready" ? colours.green : colours.red;
  const count = identities.length === 1 ? "1 identity" : `${identities.length} identities`;
  const what = `${sanitizeForDisplay(name)} upstream agent`.trimStart();
  const text = `${colours.bold(sanitizeForDisplay(path))} ${colours.dim(what)} ${paint(upstreamStates[state])}`;
  return {
    text: state === "ready" ? `${text}, ${count}` : text,
    children: keyNodes(view, withAttached(identities, view.identities), colours),
  };
}

/** Each key with its certificates, then the certificates without a plain key. */
function keyNodes(view: ProvidersView, blobs: readonly Buffer[], colours: ChalkInstance): Node[] {
  const described = blobs.flatMap((blob) => {
    const description = describe(blob);
    return description === undefined ? [] : [{ ...description, comment: commentOf(view, blob) }];
  });
  const plain = described.filter(({ certificate }) => certificate === undefined);
  const certified = described.filter(({ certificate }) => certificate !== undefined);
  const certificateNode = (one: Description): Node => ({
    text: certificateText(view, one, colours),
    children: [],
  });
  const nodes = plain.map((key) => {
    const own = certified.filter(({ keyBlob }) => keyBlob.equals(key.keyBlob));
    return { text: keyText(view, key, colours), children: own.map(certificateNode) };
  });
  const orphans = certified.filter(
    (one) => !plain.some(({ keyBlob }) => keyBlob.equals(one.keyBlob)),
  );
  return [...nodes, ...orphans.map(certificateNode)];
}

function keyText(
  view: ProvidersView,
  { bits, keyBlob, type, comment }: Description & { comment: string },
  colours: ChalkInstance,
): string {
  const print = fingerprint(keyBlob, view.hash);
  return `${type} ${bits} ${colours.cyan(print)} ${sanitizeForDisplay(comment)}`;
}

function certificateText(view: ProvidersView, one: Description, colours: ChalkInstance): string {
  const { bits, certificate, keyBlob, type } = one;
  if (certificate === undefined) return type;
  const paint = needsAttention(certificate, view.now) ? colours.yellow : colours.green;
  const principals = certificate.principals.join(", ") || "no principals";
  const who = sanitizeForDisplay(`${certificate.keyId} for ${principals}`);
  const print = colours.cyan(fingerprint(keyBlob, view.hash));
  return `${type} ${bits} ${print} ${who}, serial ${certificate.serial}, ${paint(validity(certificate, view.now))}`;
}
