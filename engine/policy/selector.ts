/**
 * Label selectors: parsed once into a canonical form, so that selectors that mean the same are the
 * same text and share one set in the kernel.
 *
 * @module
 */

/** Labels of an object. */
export type Labels = ReadonlyMap<string, string>;

/** One condition on labels. `NotIn` and `DoesNotExist` hold for objects without the key. */
export type Requirement =
  | {
    readonly key: string;
    readonly operator: "In" | "NotIn";
    /** Sorted, each once, at least one. */
    readonly values: readonly string[];
  }
  | { readonly key: string; readonly operator: "Exists" | "DoesNotExist" };

/** All requirements must hold; none at all match everything. */
export interface Selector {
  /** In the order of their text, each once. */
  readonly requirements: readonly Requirement[];
  /** In kubectl's words, `pod in (a,b),!tier`; equal exactly when the requirements are. */
  readonly text: string;
}

/** The canonical selector of these requirements. */
export function selectorOf(requirements: readonly Requirement[]): Selector {
  const byText = new Map(requirements.map((r) => {
    const canonical = "values" in r ? { ...r, values: [...new Set(r.values)].sort() } : r;
    return [requirementText(canonical), canonical];
  }));
  const sorted = [...byText].sort(([a], [b]) => a < b ? -1 : 1);
  return {
    requirements: sorted.map(([, requirement]) => requirement),
    text: sorted.map(([text]) => text).join(","),
  };
}

/** The selector that matches everything. */
export const EVERYTHING: Selector = selectorOf([]);

/** Letters that no label key or value has would make two selectors read the same. */
function word(text: string): string {
  return /^[\w./-]*$/.test(text) ? text : JSON.stringify(text);
}

function requirementText(requirement: Requirement): string {
  const key = word(requirement.key);
  switch (requirement.operator) {
    case "In":
      return requirement.values.length === 1
        ? `${key}=${word(requirement.values[0] ?? "")}`
        : `${key} in (${requirement.values.map(word).join(",")})`;
    case "NotIn":
      return `${key} notin (${requirement.values.map(word).join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

/** Whether labels fulfil all requirements. */
export function matches({ requirements }: Selector, labels: Labels): boolean {
  return requirements.every((requirement) => {
    const value = labels.get(requirement.key);
    switch (requirement.operator) {
      case "In":
        return value !== undefined && requirement.values.includes(value);
      case "NotIn":
        return value === undefined || !requirement.values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
    }
  });
}
