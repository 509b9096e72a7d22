/**
 * firewalld, over the system's D-Bus. The words on the bus are said by `busctl`, which is part of
 * systemd: where firewalld runs, it is there.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";

const SERVICE = "org.fedoraproject.FirewallD1";

/** Where the bus listens unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise. */
const SOCKETS = ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"];

/** How long firewalld may take for one call, seconds; it rewrites many rules for one source. */
const PATIENCE = 10;

/** Replies that say "it is so already". */
const DONE = /ALREADY_ENABLED|ZONE_ALREADY_SET/;
const GONE = /NOT_ENABLED|UNKNOWN_SOURCE/;

/**
 * True when firewalld runs: its name has an owner on the bus. A node without a bus, or without
 * `busctl` to ask it, has no firewalld.
 */
export async function firewalldRuns(): Promise<boolean> {
  if (!hasBus()) return false;
  try {
    const bus = "org.freedesktop.DBus";
    const reply = await call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", SERVICE);
    return reply === "b true";
  } catch (error) {
    if (error instanceof OpError) return false;
    throw error;
  }
}

function hasBus(): boolean {
  if (Deno.env.get("DBUS_SYSTEM_BUS_ADDRESS")) return true;
  return SOCKETS.some((path) => {
    try {
      return Deno.statSync(path).isSocket === true;
    } catch {
      return false;
    }
  });
}

/**
 * Puts a source (an address with its length) into a zone.
 *
 * @returns false when it is in the zone already.
 * @throws {OpError} code 102.
 */
export async function addSource(zone: string, source: string): Promise<boolean> {
  return await ofZone("addSource", zone, source, DONE) !== undefined;
}

/** Takes a source out of a zone; one that is not in it is no error. @throws {OpError} code 102 */
export async function removeSource(zone: string, source: string): Promise<void> {
  await ofZone("removeSource", zone, source, GONE);
}

/** Whether a zone has a source. @throws {OpError} code 102 */
export async function hasSource(zone: string, source: string): Promise<boolean> {
  return await ofZone("querySource", zone, source) === "b true";
}

/** Calls a method of the zones; undefined when it failed harmlessly. */
async function ofZone(
  method: string,
  zone: string,
  source: string,
  harmless?: RegExp,
): Promise<string | undefined> {
  const path = `/${SERVICE.replaceAll(".", "/")}`;
  try {
    return await call(SERVICE, path, `${SERVICE}.zone`, method, "ss", zone, source);
  } catch (error) {
    if (error instanceof OpError && harmless?.test(error.kernel ?? "")) return undefined;
    throw error;
  }
}

/** Calls a method; returns the reply as busctl writes it, type first: `b true`. */
async function call(...words: readonly string[]): Promise<string> {
  const what = words.slice(3).join(" ");
  const args = ["--system", `--timeout=${PATIENCE}`, "call", ...words];
  let output: Deno.CommandOutput;
  try {
    const command = new Deno.Command("busctl", {
      args,
      env: { LC_ALL: "C" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    output = await command.output();
  } catch (cause) {
    throw new OpError("call firewalld:", what, {
      code: ErrorCode.program,
      kernel: `no program busctl: ${messageOf(cause)}`,
      advice: "Install the package systemd, or set backend to iptables",
      cause,
    });
  }
  const [stdout = "", stderr = ""] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trim()
  );
  if (output.success) return stdout;
  throw new OpError("call firewalld:", what, {
    code: ErrorCode.program,
    kernel: stderr || `busctl ended with status ${output.code}`,
    advice: "Start firewalld, or set backend to iptables",
  });
}
