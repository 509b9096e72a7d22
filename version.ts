/** What a running twill was built from. */
export interface Version {
  /** twill's own version, as in deno.json: "0.1.0". */
  readonly version: string;
  /** Short git commit, "-dirty" behind it when files had changed; "unknown" outside git, "dev" when not compiled. */
  readonly commit: string;
  /** What client and daemon of one build have in common; "dev" when not compiled. */
  readonly build: string;
  /** Version of the Deno runtime inside: "2.9.4". */
  readonly deno: string;
}

/**
 * Version, commit and Deno version of this program.
 *
 * Reads one small embedded file per call, and nothing when the module is loaded: a plugin call
 * that does not ask pays nothing. A program run from source reads deno.json instead, because the
 * file of the last build says nothing about the sources of now.
 *
 * @throws SyntaxError if the file, which our own build wrote, is not JSON; Deno's error if it is missing
 */
export function version(): Version {
  const file = Deno.build.standalone ? "dist/embed/build_info.json" : "deno.json";
  const info = JSON.parse(Deno.readTextFileSync(`${import.meta.dirname}/${file}`));
  return {
    version: String(info.version),
    commit: Deno.build.standalone ? String(info.commit) : "dev",
    build: Deno.build.standalone ? String(info.build) : "dev",
    deno: Deno.version.deno,
  };
}

/** The line that `twill --version` prints: `twill 0.1.0 (commit abc1234, deno 2.9.4)`. */
export function versionLine(): string {
  const { version: own, commit, deno } = version();
  return `twill ${own} (commit ${commit}, deno ${deno})`;
}
