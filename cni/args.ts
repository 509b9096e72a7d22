/**
 * `CNI_ARGS`: `KEY=value` pairs joined by semicolons (CNI conventions, "CNI_ARGS").
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";

/**
 * Reads the pairs that a plugin knows. Keys are case-sensitive; of several pairs with one key the
 * last counts. Unknown keys are refused unless the pair `IgnoreUnknown` is true, wherever it
 * stands.
 *
 * ```ts
 * import { parseArgs } from "./args.ts";
 *
 * const { IP } = parseArgs("K8S_POD_NAME=web;IP=10.1.2.3;IgnoreUnknown=1", ["IP"]);
 * if (IP !== "10.1.2.3") throw new Error(IP);
 * ```
 *
 * @throws {OpError} code 999 for a segment that is no pair, an unknown key, a bad `IgnoreUnknown`.
 */
export function parseArgs<Key extends string>(
  text: string,
  known: readonly Key[],
): Readonly<Partial<Record<Key, string>>> {
  const values: Partial<Record<Key, string>> = {};
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of text === "" ? [] : text.split(";")) {
    const [name, value, more] = pair.split("=");
    if (name === undefined || value === undefined || more !== undefined) {
      throw refused(
        text,
        `ARGS: invalid pair ${JSON.stringify(pair)}`,
        "Write KEY=value;KEY=value",
      );
    }
    const key = known.find((one) => one === name);
    if (name === "IgnoreUnknown") ignoreUnknown = truth(text, value);
    else if (key === undefined) unknown.push(pair);
    else values[key] = value;
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw refused(
      text,
      `ARGS: unknown args ${JSON.stringify(unknown)}`,
      "Add IgnoreUnknown=1 to CNI_ARGS when they are meant for another plugin",
    );
  }
  return values;
}

function truth(text: string, value: string): boolean {
  const word = value.toLowerCase();
  if (word === "1" || word === "true") return true;
  if (word === "0" || word === "false") return false;
  throw refused(
    text,
    `ARGS: IgnoreUnknown is ${JSON.stringify(value)}, want 1, true, 0 or false`,
  );
}

function refused(text: string, kernel: string, advice?: string): OpError {
  return new OpError("read CNI_ARGS", JSON.stringify(text), {
    code: ErrorCode.plugin,
    kernel,
    advice,
  });
}
