import test from "ava";
import { systemdUnit, systemdWord } from "./systemd.ts";

const cgroup = () =>
  "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh-agent.service\n";

test("the unit is that of the service whose main process asks", (t) => {
  t.is(systemdUnit({ SYSTEMD_EXEC_PID: "5" }, 5, cgroup), "ssh-agent.service");
  const old = () => "12:pids:/user.slice\n1:name=systemd:/user.slice/my-agent.service\n0::/\n";
  t.is(systemdUnit({ SYSTEMD_EXEC_PID: "5" }, 5, old), "my-agent.service");
});

test("a process that a service started is not the service", (t) => {
  t.is(systemdUnit({ SYSTEMD_EXEC_PID: "5" }, 6, cgroup), undefined);
  t.is(systemdUnit({}, 6, cgroup), undefined);
  const scope = () => "0::/user.slice/user-1000.slice/session-2.scope\n";
  t.is(systemdUnit({ SYSTEMD_EXEC_PID: "5" }, 5, scope), undefined);
  const missing = () => {
    throw new Error("no such file");
  };
  t.is(systemdUnit({ SYSTEMD_EXEC_PID: "5" }, 5, missing), undefined);
});

test("words of a unit's command line are quoted where systemd takes a character specially", (t) => {
  t.is(systemdWord("/usr/lib*/*,/opt/lib.so"), "/usr/lib*/*,/opt/lib.so");
  t.is(systemdWord("/opt/my libs/?.so"), '"/opt/my libs/?.so"');
  t.is(systemdWord("100%/$HOME"), "100%%/$$HOME");
  t.is(systemdWord("a\"b\\c'd;e"), '"a\\"b\\\\c\'d;e"');
  t.is(systemdWord(""), '""');
});
