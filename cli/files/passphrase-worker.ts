/** The worker thread for slow passphrase tasks. */
import { parentPort, workerData } from "node:worker_threads";
import { type PassphraseTask, runTask } from "./passphrase-task.ts";

const task: PassphraseTask = workerData;
runTask(task).then((key) => {
  const result = Uint8Array.from(key);
  key.fill(0);
  task.passphrase.fill(0);
  parentPort?.postMessage(result, [result.buffer]);
});
