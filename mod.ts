/**
 * twill: looks at how it was called, and loads the one part that is needed.
 *
 * A plugin is called once for each pod, so nothing else may be loaded before we know what we are;
 * the list of plugin names is the one exception, and imports nothing itself.
 *
 * @module
 */

import { isPluginName, PLUGIN_NAMES, type PluginName } from "./cni/names.ts";

/**
 * The plugin that we are, if any: by the name of the file that was executed (`argv[0]`, which Deno
 * itself does not tell), else `flannel` as soon as there is a `CNI_COMMAND`, except for
 * `twill cni TYPE`, which says it in words.
 */
function calledAs(): PluginName | undefined {
  const name = programName();
  if (isPluginName(name)) return name;
  const [word, type] = Deno.args;
  if (word === "cni") {
    if (type === undefined || isPluginName(type)) return type ?? "flannel";
    return undefined;
  }
  return Deno.env.get("CNI_COMMAND") ? "flannel" : undefined;
}

/** The base name of `argv[0]`; symbolic links are not followed. */
function programName(): string | undefined {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0", 1)[0]?.split("/").at(-1);
  } catch {
    return undefined;
  }
}

function print(to: typeof Deno.stdout | typeof Deno.stderr, line: string): void {
  to.writeSync(new TextEncoder().encode(`${line}\n`));
}

/**
 * Ends a short life: its answer is written. A process that just runs out takes its engine apart
 * first, which takes a tenth of that life.
 */
function leave(): never {
  Deno.exit();
}

/** What people type in place of `ip route` starts like it, where its line is plain. */
async function quickInspect(): Promise<number | undefined> {
  const [, name, ...words] = Deno.args;
  return name === "routes"
    ? await (await import("./inspect/quick.ts")).quickRoutes(words)
    : undefined;
}

const plugin = calledAs();
if (plugin !== undefined) {
  await (await import("./cni/main.ts")).main(plugin);
  leave();
} else {
  switch (Deno.args[0]) {
    case "cni":
      print(
        Deno.stderr,
        `twill cni: there is no plugin ${JSON.stringify(Deno.args[1])}, want one of ${
          PLUGIN_NAMES.join(", ")
        }`,
      );
      Deno.exitCode = 2;
      break;
    case "daemon":
      await (await import("./daemon/main.ts")).main();
      break;
    case "install":
    case "uninstall":
    case "manifest":
      await (await import("./install/main.ts")).main();
      break;
    case "completions":
      await (await import("./completions/main.ts")).main();
      break;
    case "--version":
      print(Deno.stdout, (await import("./version.ts")).versionLine());
      break;
    case "inspect":
      Deno.exitCode = await quickInspect() ?? await (await import("./inspect/main.ts")).inspect();
      leave();
      break;
    default:
      await (await import("./inspect/main.ts")).main();
  }
}
