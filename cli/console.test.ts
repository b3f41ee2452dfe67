import test from "ava";
import fc from "fast-check";
import { escapeControls } from "./console.ts";

test("control characters and those that turn text around are shown as octal", (t) => {
  t.is(escapeControls("a\u001b[2Jb\rc\nd\u007f"), "a\\033[2Jb\\015c\\012d\\177");
  t.is(escapeControls("tab\tand é stay"), "tab\tand é stay");
  t.is(escapeControls("\u009b1m"), "\\302\\2331m");
  t.is(escapeControls("\u202eevil"), "\\342\\200\\256evil");
  t.is(escapeControls("no \udcff text"), "no \\377 text");
});

test("nothing that is left moves a cursor", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      for (const symbol of escapeControls(text)) {
        const code = symbol.codePointAt(0) ?? 0;
        if ((code < 0x20 && code !== 9) || (code >= 0x7f && code < 0xa0)) return false;
      }
      return true;
    }),
  );
  t.pass();
});
