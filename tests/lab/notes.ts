/**
 * What a test found out that is worth a line even when it passes: figures, seeds. The test runner
 * shows the output of failed tests only, so the lines go to a file, which the gate prints.
 *
 * @module
 */

/** Adds lines to the file that `TWILL_NOTES` names; without one they go to stdout. */
export function note(...lines: readonly string[]): void {
  const text = lines.map((line) => `${line}\n`).join("");
  const path = Deno.env.get("TWILL_NOTES");
  if (path === undefined) Deno.stdout.writeSync(new TextEncoder().encode(text));
  else Deno.writeTextFileSync(path, text, { append: true });
}
