/** The golden bytes are what `ip` and `bridge` send today: the session is typed again. */

import assert from "node:assert/strict";
import { PEER_NETNS } from "../ffi/golden.ts";
import { LINKS, TUNNELS } from "../ffi/golden_links.ts";
import { ROUTES } from "../ffi/golden_routes.ts";
import { hex, unhex } from "../ffi/wire.ts";
import { kernelTest, Netns, run } from "./sandbox.ts";

/** A line of strace's dump: offset, then up to 16 bytes. */
const DUMP = /^ \| (?<offset>[0-9a-f]+) {2}(?<bytes>[0-9a-f ]{49})/;

/** What one command sends to change something: neither its questions nor its probes. */
function sentBy(command: string, mayFail = false): string {
  const log = Deno.makeTempFileSync({ prefix: "twill-golden-" });
  try {
    const what = ["-e", "trace=sendmsg", "-e", "raw=sendmsg", "-e", "write=all"];
    const traced = ["strace", "-o", log, ...what, ...command.split(" ")] as const;
    // "$0" "$@": the command and its words; its failure is no failure of the shell.
    if (mayFail) run("sh", "-c", '"$0" "$@" || true', ...traced);
    else run(...traced);
    const sends: string[] = [];
    for (const line of Deno.readTextFileSync(log).split("\n")) {
      const { offset, bytes = "" } = DUMP.exec(line)?.groups ?? {};
      if (offset === "00000") sends.push("");
      if (offset !== undefined) sends.push((sends.pop() ?? "") + bytes.replaceAll(" ", ""));
    }
    const [request, ...more] = sends.map(unhex).filter(isChange);
    assert.ok(request !== undefined && more.length === 0, `one message by: ${command}`);
    request.fill(0, 8, 12); // the sequence number, which is a time of day
    return hex(request);
  } finally {
    Deno.removeSync(log);
  }
}

/** Message types come in groups of four, the third being a question; probes have number zero. */
function isChange(message: Uint8Array<ArrayBuffer>): boolean {
  const view = new DataView(message.buffer);
  return (view.getUint16(4, true) & 3) !== 2 && view.getUint32(8, true) !== 0;
}

kernelTest("ip and bridge send the golden bytes", () => {
  using _peer = new Netns(PEER_NETNS);
  run("ip", "link", "set", "lo", "up");
  for (const { command, bytes, mayFail } of [...LINKS, ...ROUTES, ...TUNNELS]) {
    if (bytes === undefined) run(...command.split(" ") as [string, ...string[]]);
    else assert.equal(sentBy(command, mayFail), hex(unhex(bytes)), command);
  }
});
