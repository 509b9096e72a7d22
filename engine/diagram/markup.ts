/**
 * Foreign text in markup. Every string that reaches a page or a picture passes here.
 *
 * @module
 */

import { oneLine } from "./picture.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text for HTML and SVG, as content or in a quoted attribute. */
export function escapeMarkup(text: string): string {
  return oneLine(text).toWellFormed().replace(/[&<>"']/g, (char) => ENTITIES[char] ?? "");
}

/** Text in the quotes of a Mermaid label, where entities are written `#35;`. */
export function escapeMermaid(text: string): string {
  return oneLine(text).replace(/[^\p{L}\p{N} .,:/_()-]/gu, (char) => `#${char.codePointAt(0)};`);
}
