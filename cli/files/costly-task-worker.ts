/** The thread for costly work on passphrases. */
import { parentPort, workerData } from "node:worker_threads";
import { type CostlyTask, runHere } from "./costly-task.ts";

const task: CostlyTask = workerData;
runHere(task).then((key) => {
  const result = Uint8Array.from(key);
  key.fill(0);
  task.passphrase.fill(0);
  parentPort?.postMessage(result, [result.buffer]);
});
