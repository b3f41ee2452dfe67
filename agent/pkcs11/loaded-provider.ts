import { Failure } from "../../protocol/failure.ts";
import type { HelperCommand, Provider, ProviderLimits } from "./provider.ts";

/** What is needed to load a library. */
export interface LoadOptions {
  readonly path: string;
  readonly requested: string;
  readonly helper: HelperCommand;
  readonly limits: ProviderLimits;
  readonly log: (line: string) => void;
  readonly showModuleMessages: boolean;
}

/** Loads a library in a new process. @throws {Failure} */
export async function loadProvider(options: LoadOptions, _pin: Buffer): Promise<Provider> {
  throw new Failure("internal", `Loading ${options.path} is not possible yet.`);
}
