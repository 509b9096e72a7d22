import assert from "node:assert/strict";
import fc from "fast-check";
import {
  interfaceBlock,
  packetBlock,
  sectionHeader,
  statisticsBlock,
} from "../../../engine/packet/pcapng.ts";
import { readFile } from "./read_pcapng.ts";

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });

Deno.test("pcapng: what is written can be read back, whatever its length", () => {
  fc.assert(
    fc.property(
      text,
      fc.array(
        fc.record({
          name: text,
          description: text,
          comment: text,
          link: fc.constantFrom("ethernet" as const, "ip" as const),
          snapLength: fc.nat(),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      fc.array(
        fc.record({
          on: fc.nat(3),
          time: fc.bigInt(0n, 2n ** 62n),
          bytes: fc.uint8Array({ maxLength: 70 }),
          more: fc.nat(1500),
          out: fc.boolean(),
        }),
      ),
      (comment, interfaces, frames) => {
        const packets = frames.map(({ on, bytes, more, ...rest }) => {
          return { ...rest, on: on % interfaces.length, bytes, length: bytes.length + more };
        });
        const file = [
          sectionHeader("twill 1", "Linux 6.1", comment),
          ...interfaces.map(interfaceBlock),
          ...packets.map(packetBlock),
          statisticsBlock({ on: 0, time: 7n, received: 10, lost: 3 }),
        ];
        const read = readFile(Uint8Array.from(file.flatMap((block) => [...block])));
        assert.equal(read.program, "twill 1");
        assert.equal(read.comment, comment);
        assert.deepEqual(
          read.interfaces,
          interfaces.map(({ link, ...rest }) => {
            return { ...rest, link: link === "ethernet" ? 1 : 101, resolution: 9, mac: "" };
          }),
        );
        assert.deepEqual(
          read.packets,
          packets.map(({ on, out, ...rest }) => {
            return { ...rest, on: interfaces[on]!.name, direction: out ? "out" : "in" };
          }),
        );
        assert.deepEqual(read.statistics, [[interfaces[0]!.name, 10n, 3n]]);
      },
    ),
  );
});
