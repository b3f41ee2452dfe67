import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { connectToAgent } from "./agent.ts";

test("a path that a socket's address cannot hold is cut, with any Node.js", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "a".repeat(107 - folder.length - 1));
  t.is(path.length, 107);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => void server.close());
  const client = await connectToAgent({ SSH_AUTH_SOCK: `${path}bcd` });
  client.close();
  await t.throwsAsync(connectToAgent({ SSH_AUTH_SOCK: `${folder}/${"b".repeat(200)}` }), {
    message: "Error connecting to agent: No such file or directory",
  });
});
