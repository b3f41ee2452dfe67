/** In place of `node:util`, which is loaded when it is needed. */
import type * as util from "node:util";

export const getSystemErrorMap: typeof util.getSystemErrorMap = () =>
  process.getBuiltinModule("node:util").getSystemErrorMap();
