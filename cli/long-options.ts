/** The long options, which OpenSSH does not have. */

/** Long options that take an argument. */
export const longWithArgument = ["cert-for-card"] as const;
/** Long options that do not. */
export const longFlags = ["list-providers", "json", "help", "version"] as const;

/** The long options of a command line. */
export interface LongOptions {
  readonly cardCertificates: readonly string[];
  readonly listProviders: boolean;
  readonly json: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/**
 * Types the long options of a command line.
 * @param words each one word that is known here, with its argument behind a `=`
 */
export async function readLong(words: readonly string[]): Promise<LongOptions> {
  const parsed = words.length === 0 ? {} : await parse(words);
  return {
    cardCertificates: strings(parsed["cert-for-card"]),
    listProviders: parsed["list-providers"] === true,
    json: parsed.json === true,
    help: parsed.help === true,
    version: parsed.version === true,
  };
}

/** Only here is `yargs-parser` loaded, so that `ssh-add -l` starts without it. */
async function parse(words: readonly string[]): Promise<Record<string, unknown>> {
  const { default: yargsParser } = await import("yargs-parser");
  return yargsParser([...words], {
    string: [...longWithArgument],
    array: [...longWithArgument],
    boolean: [...longFlags],
    configuration: {
      "camel-case-expansion": false,
      "dot-notation": false,
      "boolean-negation": false,
      "greedy-arrays": false,
      "parse-numbers": false,
      "strip-dashed": false,
    },
  });
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
