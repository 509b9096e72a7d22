import assert from "node:assert/strict";
import { Writer } from "../../ffi/netlink/codec.ts";
import { Flag, writeMessage } from "../../ffi/netlink/message.ts";
import type { Request } from "../../ffi/netlink/socket.ts";
import { portSettings, requestFor } from "../../ffi/requests.ts";
import { type Golden, INDEX, PEER_NETNS_FD } from "./golden.ts";
import { LINKS, TUNNELS } from "./golden_links.ts";
import { ROUTES } from "./golden_routes.ts";
import { hex, meaning, unhex } from "./wire.ts";

const SESSION = [...LINKS, ...ROUTES, ...TUNNELS];

const NAMES = {
  index: (_where: string, name: string): number => {
    const index = INDEX[name];
    assert.ok(index !== undefined, `no index for ${name}`);
    return index;
  },
  netnsFd: (): number => PEER_NETNS_FD,
};

function requestOf({ change, settings }: Golden): Request | undefined {
  if (settings !== undefined) return portSettings(settings);
  return change === undefined ? undefined : requestFor(change, NAMES);
}

function onTheWire({ type, flags, body }: Request): Uint8Array {
  const out = new Writer();
  const header = { type, flags: Flag.REQUEST | Flag.ACK | flags, sequence: 0 };
  writeMessage(out, header, () => body(out));
  return out.bytes();
}

for (const golden of SESSION) {
  const request = requestOf(golden);
  if (request === undefined || golden.bytes === undefined) continue;
  Deno.test(`requestFor says what ${golden.command} says`, () => {
    const theirs = unhex(golden.bytes ?? "");
    const ours = onTheWire(request);
    if (golden.differs === undefined) {
      assert.equal(hex(ours), hex(theirs));
      return;
    }
    const [ip, twill] = [meaning(theirs), meaning(ours)];
    assert.deepEqual(
      { ip: ip.filter((x) => !twill.includes(x)), twill: twill.filter((x) => !ip.includes(x)) },
      { ip: golden.differs.ip, twill: golden.differs.twill },
    );
  });
}

Deno.test("golden messages are whole: their length is that of their bytes", () => {
  for (const { command, bytes } of SESSION) {
    if (bytes === undefined) continue;
    const message = unhex(bytes);
    assert.equal(new DataView(message.buffer).getUint32(0, true), message.length, command);
  }
});
