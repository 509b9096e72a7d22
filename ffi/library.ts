/**
 * How the shared libraries are opened.
 *
 * Deno compiles a trampoline for each function of a table when the table is opened. A call then
 * costs next to nothing, but the compiler takes 0.2 to 0.4 ms for each, which is a tenth of a
 * plugin's whole life for the netlink socket alone. A process that makes a few dozen calls and ends
 * is better off with a call by address: 3 µs each, and nothing to compile.
 *
 * @module
 */

let brief = false;

/**
 * Says that this process makes few calls and ends: what is opened from now on opens fast, and each
 * call is slower. Whoever serves or listens does not say it.
 */
export function endsSoon(): void {
  brief = true;
}

/** A table of functions that wait for their answer; a `nonblocking` one needs `Deno.dlopen`. */
export type FunctionTable = Readonly<Record<string, Deno.ForeignFunction>>;

/**
 * Opens a library for the life of the process.
 *
 * @param path a path, or a soname for the loader to find.
 * @throws Deno's error when there is no such library, or a function is not in it.
 */
export function openLibrary<T extends FunctionTable>(
  path: string,
  table: T,
): Deno.DynamicLibrary<T>["symbols"] {
  if (!brief) return Deno.dlopen(path, table).symbols;
  const names = Object.keys(table);
  const places = Object.fromEntries(names.map((name) => [name, { type: "pointer" as const }]));
  const { symbols } = Deno.dlopen(path, places);
  return Object.fromEntries(names.map((name) => {
    const place = symbols[name] as Deno.PointerObject<Deno.ForeignFunction>;
    const byAddress = new Deno.UnsafeFnPointer(place, table[name] as Deno.ForeignFunction);
    return [name, byAddress.call.bind(byAddress)];
  })) as Deno.DynamicLibrary<T>["symbols"];
}
