/**
 * The file that names the namespaces in which there are policies.
 *
 * @module
 */

/** Where the daemon writes it unless its state is elsewhere. */
export const NAMESPACES_FILE = "/var/lib/twill/policy-namespaces.json";

/** The names in its text; none when it is anything else. */
export function parseNamespaces(text: string): string[] {
  try {
    const names: unknown = JSON.parse(text);
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}
