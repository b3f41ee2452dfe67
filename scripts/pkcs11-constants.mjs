// A plugin for esbuild.
import pkcs11js from "pkcs11js";

/**
 * Replaces pkcs11js by its constants, which are all that the child uses of it. So who installs cardagent
 * compiles nothing, and the child loads one add-on.
 */
export const pkcs11Constants = {
  name: "pkcs11-constants",
  setup({ onResolve, onLoad }) {
    const namespace = "pkcs11-constants";
    onResolve({ filter: /^pkcs11js$/ }, ({ path }) => ({ path, namespace }));
    onLoad({ filter: /^/, namespace }, () => {
      const numbers = Object.entries(pkcs11js).filter(([, value]) => typeof value === "number");
      return { loader: "json", contents: JSON.stringify(Object.fromEntries(numbers)) };
    });
  },
};
