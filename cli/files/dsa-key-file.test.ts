import { readFileSync } from "node:fs";
import test from "ava";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { makeKey } from "../test-agent.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";
import { loadPublicKey } from "./public-key-file.ts";

const forms = [[], ["-Z", "3des-cbc"], ["-m", "PEM"], ["-m", "PKCS8"]];

for (const more of forms) {
  test(`a DSA key of ssh-keygen ${more.join(" ")}`, async (t) => {
    const workspace = makeWorkspace(t);
    for (const passphrase of ["", "sesame"]) {
      const name = `key${passphrase}`;
      const path = await makeKey(workspace, name, { type: "dsa", passphrase, more });
      const file = readFileSync(path);
      const { key } = await readPrivateKeyFile(file, Buffer.from(passphrase));
      t.deepEqual(encodePublicKey(key.publicKey), loadPublicKey(`${path}.pub`).blob);
      t.is(key.secret.type, "dsa");
      if (passphrase === "") continue;
      await t.throwsAsync(readPrivateKeyFile(file, Buffer.from("other")), {
        message: /^incorrect passphrase/,
      });
    }
  });
}
