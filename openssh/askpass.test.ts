import test from "ava";
import { askpassProgram, mayRunAskpass, prefersAskpass } from "./askpass.ts";

test("SSH_ASKPASS names the program", (t) => {
  t.is(askpassProgram({ SSH_ASKPASS: "my-askpass" }), "my-askpass");
  for (const env of [{}, { SSH_ASKPASS: "" }]) t.is(askpassProgram(env), "/usr/bin/ssh-askpass");
});

test("the program runs if there is a display, unless SSH_ASKPASS_REQUIRE overrides it", (t) => {
  const display = { DISPLAY: ":0" };
  const cases: [NodeJS.ProcessEnv, boolean, boolean][] = [
    [{}, false, false],
    [{ DISPLAY: "" }, false, false],
    [display, true, false],
    [{ WAYLAND_DISPLAY: "wayland-0" }, true, false],
    [{ SSH_ASKPASS_REQUIRE: "prefer" }, false, false],
    [{ ...display, SSH_ASKPASS_REQUIRE: "prefer" }, true, true],
    [{ ...display, SSH_ASKPASS_REQUIRE: "never" }, false, false],
    [{ SSH_ASKPASS_REQUIRE: "FORCE" }, true, true],
    [{ ...display, SSH_ASKPASS_REQUIRE: "other" }, true, false],
  ];
  for (const [env, may, prefers] of cases) {
    t.deepEqual([mayRunAskpass(env), prefersAskpass(env)], [may, prefers], JSON.stringify(env));
  }
});
