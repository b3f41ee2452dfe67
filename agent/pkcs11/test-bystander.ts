/** A well-behaved provider, loaded beside a hostile one. */
import type { ExecutionContext } from "ava";
import { makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import type { Workspace } from "../../fixtures/workspace.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Provider } from "./provider.ts";
import type { ProviderRegistry } from "./registry.ts";
import { prepare, sign } from "./test-hostile.ts";
import { pinOf, type TestOptions } from "./test-registry.ts";

/** Loads a second copy of the hostile module, without faults. */
export async function addBystander(
  workspace: Workspace,
  registry: ProviderRegistry,
): Promise<Provider> {
  const module = await makeHostileModule(workspace);
  return registry.add(module.path, pinOf(""));
}

/** As `prepare`, with a bystander loaded. */
export async function prepareBeside(
  t: ExecutionContext,
  faults: string[],
  options: TestOptions = {},
) {
  const prepared = await prepare(t, faults, options);
  const bystander = await addBystander(prepared.workspace, prepared.registry);
  return { ...prepared, bystander };
}

/** The bystander signs several times while `pending` is still pending. */
export async function signsMeanwhile(
  t: ExecutionContext,
  bystander: Provider,
  pending: Promise<unknown>,
): Promise<void> {
  let isPending = true;
  const settle = () => {
    isPending = false;
  };
  pending.then(settle, settle);
  for (let at = 0; at < 5; at++) {
    t.is(await sign(bystander), "signed");
    t.true(isPending);
  }
}

/** Loads a library and signs with it: "signed", or the code of the failure. */
export async function use(
  registry: ProviderRegistry,
  path: string,
): Promise<Awaited<ReturnType<typeof sign>>> {
  let provider: Provider;
  try {
    provider = await registry.add(path, pinOf(""));
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
  return sign(provider);
}
