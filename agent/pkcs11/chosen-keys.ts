/** What of the loaded providers a path or a PKCS#11 URI names. */
import { matchesKey, matchesToken } from "../../openssh/pkcs11-match.ts";
import { isPkcs11Uri, type Pkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import type { Provider } from "./provider.ts";
import { canonicalPath, readUri, resolveRequest } from "./provider-request.ts";
import type { Chosen } from "./registry.ts";

/**
 * What a request to remove names: for a path, all that was loaded from that library; for a URI, what
 * was loaded by one of the same meaning, or else the keys that it matches.
 * @throws {Failure} malformed
 */
export async function chosenKeys(
  providers: readonly Provider[],
  requested: string,
): Promise<readonly Chosen[]> {
  const whole = (chosen: readonly Provider[]) =>
    chosen.map((provider) => ({ provider, keys: undefined }));
  if (!isPkcs11Uri(requested)) {
    // The file may be gone: then a path means what it meant when the library was loaded.
    const path = await canonicalPath(requested).catch(() => requested);
    const byPath = providers.filter(({ library }) => library === path || library === requested);
    if (byPath.length > 0) return whole(byPath);
    return whole(providers.filter((provider) => provider.requested === requested));
  }
  const uri = readUri(requested);
  const same = whole(providers.filter((one) => [one.path, one.requested].includes(requested)));
  if (same.length > 0) return same;
  const isAnyLibrary = uri.modulePath === undefined && uri.moduleName === undefined;
  if (isAnyLibrary) return providers.flatMap((provider) => matching(provider, uri));
  const wanted = await resolveRequest(requested).catch(() => undefined);
  if (wanted === undefined) return [];
  const named = whole(providers.filter(({ path }) => path === wanted.name));
  if (named.length > 0) return named;
  const ofLibrary = providers.filter(({ library }) => library === wanted.library);
  if (wanted.selection === undefined) return whole(ofLibrary);
  return ofLibrary.flatMap((provider) => matching(provider, uri));
}

/** The keys of a provider that a URI matches; all of it when there are no others. */
function matching(provider: Provider, uri: Pkcs11Uri): readonly Chosen[] {
  const keys = provider.keys.filter(
    ({ token, id, label }) => matchesToken(uri, token) && matchesKey(uri, { id, label }),
  );
  if (keys.length === 0) return [];
  return [{ provider, keys: keys.length === provider.keys.length ? undefined : keys }];
}
