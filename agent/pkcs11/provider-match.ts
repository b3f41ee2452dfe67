/** Matches a path or a PKCS#11 URI against the loaded providers. */
import { matchesKey, matchesToken } from "../../openssh/pkcs11-match.ts";
import { isPkcs11Uri, type Pkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { canonicalPath, parseUri, resolveUri } from "./module-uri.ts";
import type { CardKey, Provider } from "./provider.ts";

/** A provider that a request names, or some of its keys. */
export interface ProviderMatch {
  readonly provider: Provider;
  /** Undefined for the whole provider. */
  readonly keys: readonly CardKey[] | undefined;
}

/**
 * What a request to remove names: for a path, everything loaded from that library; for a URI, the
 * providers loaded by an equivalent one, or else the keys that it matches.
 * @throws {Failure} malformed
 */
export async function matchProviders(
  providers: readonly Provider[],
  requested: string,
): Promise<readonly ProviderMatch[]> {
  if (!isPkcs11Uri(requested)) {
    // If the file is gone, the path is compared as it was when the library was loaded.
    const path = await canonicalPath(requested).catch(() => requested);
    const byPath = providers.filter(({ library }) => library === path || library === requested);
    if (byPath.length > 0) return whole(byPath);
    return whole(providers.filter((provider) => provider.requested === requested));
  }
  const uri = parseUri(requested);
  const same = providers.filter((one) => [one.path, one.requested].includes(requested));
  if (same.length > 0) return whole(same);
  const isAnyLibrary = uri.modulePath === undefined && uri.moduleName === undefined;
  if (isAnyLibrary) return providers.flatMap((provider) => matching(provider, uri));
  const module = await resolveUri(requested, uri).catch(() => undefined);
  if (module === undefined) return [];
  const named = providers.filter(({ path }) => path === module.name);
  if (named.length > 0) return whole(named);
  const ofLibrary = providers.filter(({ library }) => library === module.library);
  if (module.selection === undefined) return whole(ofLibrary);
  return ofLibrary.flatMap((provider) => matching(provider, uri));
}

function whole(providers: readonly Provider[]): readonly ProviderMatch[] {
  return providers.map((provider) => ({ provider, keys: undefined }));
}

/** The keys of a provider that a URI matches; the whole provider if it matches all of them. */
function matching(provider: Provider, uri: Pkcs11Uri): readonly ProviderMatch[] {
  const keys = provider.keys.filter(
    ({ token, id, label }) => matchesToken(uri, token) && matchesKey(uri, { id, label }),
  );
  if (keys.length === 0) return [];
  return [{ provider, keys: keys.length === provider.keys.length ? undefined : keys }];
}
