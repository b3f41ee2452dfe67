/** `prepare-provider@cardagent.alt`: a PKCS#11 provider is about to be added. */
import { Reader, Writer } from "../wire.ts";

/**
 * The environment variables that make PKCS#11 libraries find their tokens; none holds a secret. The
 * library runs with the agent's environment: if it finds nothing, a difference explains why.
 */
const libraryVariables: readonly string[] = [
  "SOFTHSM2_CONF",
  "OPENSC_CONF",
  "OPENSC_DRIVER",
  "PKCS11SPY",
  "PKCS11SPY_OUTPUT",
  "PCSCLITE_CSOCK_NAME",
  "TPM2_PKCS11_STORE",
  "TPM2_PKCS11_TCTI",
  "TPM2_PKCS11_BACKEND",
  "YUBIHSM_PKCS11_CONF",
  "P11_KIT_SERVER_ADDRESS",
  "P11_KIT_NO_USER_CONFIG",
  "P11_KIT_STRICT",
  "NSS_LIB_PARAMS",
  "PKCS11_PROXY_SOCKET",
  "KMS_PKCS11_CONFIG",
  "CS_PKCS11_R2_CFG",
  "CS_PKCS11_R3_CFG",
  "ChrystokiConfigurationPath",
  "NFAST_HOME",
  "NFAST_NFKM_TOKENSFILE",
  "CKNFAST_CARDSET_HASH",
  "CKNFAST_LOADSHARING",
  "CKNFAST_NO_ACCELERATOR_SLOTS",
];

/** The maximum length of a value, in bytes. */
const maxValueLength = 4096;

/** An environment variable. */
export interface Variable {
  readonly name: string;
  readonly value: string;
}

/** The body of the request. */
export interface PrepareProvider {
  /** A path or a PKCS#11 URI. */
  readonly provider: string;
  /** The client's environment, as far as PKCS#11 libraries read it. */
  readonly environment: readonly Variable[];
}

/** The variables of an environment that a request may carry. */
export function variablesOfLibraries(
  env: Readonly<Record<string, string | undefined>>,
): Variable[] {
  return libraryVariables.flatMap((name) => {
    const value = env[name];
    return value === undefined || Buffer.byteLength(value) > maxValueLength
      ? []
      : [{ name, value }];
  });
}

/** Encodes the body of the request; without variables, it ends after the provider. */
export function encodePrepareProvider({ provider, environment }: PrepareProvider): Buffer {
  const writer = new Writer().text(provider);
  if (environment.length === 0) return writer.finish();
  const variables = new Writer();
  for (const { name, value } of environment) variables.text(name).text(value);
  return writer.string(variables.finish()).finish();
}

/**
 * Decodes the body of the request. Variables that no known library reads, and values that are too
 * long, are left out.
 * @throws {Failure} malformed
 */
export function decodePrepareProvider(body: Uint8Array): PrepareProvider {
  const reader = new Reader(body);
  const provider = reader.cString();
  const environment: Record<string, string> = {};
  if (reader.remaining > 0) {
    const variables = new Reader(reader.string());
    while (variables.remaining > 0) environment[variables.text()] = variables.text();
  }
  reader.end();
  return { provider, environment: variablesOfLibraries(environment) };
}
