import test from "ava";
import { describeNonKey } from "./foreign-file.ts";

const ofText = (text: string) => describeNonKey(Buffer.from(text));

test("comments and empty lines do not hide what a file is", (t) => {
  const listed = "The file is a list of public keys, not a private key.";
  t.is(ofText("# hosts\n\n  # more\nalice ssh-ed25519 AAAAC3\n"), listed);
  const age = "The file is a key of age, which is not for SSH.";
  t.is(ofText("# created: today\n# public key: age1\nAGE-SECRET-KEY-1X\n"), age);
});

test("a file of only spaces and comments is read in linear time", (t) => {
  const unknown = ofText("nothing that anybody knows");
  for (const text of ["\n".repeat(500), "# ".repeat(250), "#\n ".repeat(160)]) {
    t.is(ofText(`${text}x`), unknown);
  }
});
