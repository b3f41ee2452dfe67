/** A private key that an upstream agent holds, for the certificates that are attached to it here. */
import type { Signer, SignRequest, UserInteraction } from "../signer.ts";

/** Signs with a key of an upstream agent, over the client's own connection to it. */
export class UpstreamSigner implements Signer {
  readonly #path: string;
  readonly #keyBlob: Buffer;

  /**
   * @param path of the upstream's socket
   * @param keyBlob the plain key's: the upstream knows no certificate of ours
   */
  constructor(path: string, keyBlob: Buffer) {
    this.#path = path;
    this.#keyBlob = keyBlob;
  }

  sign({ data, flags }: SignRequest, { upstreams }: UserInteraction): Promise<Buffer> {
    return upstreams.to(this.#path).sign(this.#keyBlob, data, flags);
  }
}
