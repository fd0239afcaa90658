import assert from "node:assert/strict";
import { clampMss } from "../../src/stack/mss.ts";
import { buildTcp, readTcp } from "../support/frames.ts";
import { buildTcp6, readTcp6 } from "../support/frames6.ts";
import { decoded, frameOf } from "../wire/place.ts";
import { decoded6 } from "../wire/place6.ts";

const MSS = [2, 4];

/** A SYN's options after an MTU of `mtuBytes`; the readers check the checksum. */
function clamped(isIpv6: boolean, tcpOptions: number[], mtuBytes: number): readonly number[] {
  const fields = { flags: "S", tcpOptions };
  const { arena, pdu } = isIpv6 ? decoded6(buildTcp6(fields)) : decoded(buildTcp(fields));
  clampMss(arena.view, pdu, mtuBytes);
  const frame = frameOf(arena, pdu);
  return (isIpv6 ? readTcp6(frame) : readTcp(frame)).tcpOptions;
}

for (const [isIpv6, headerBytes, minBytes] of [[false, 40, 68], [true, 60, 1280]] as const) {
  const family = isIpv6 ? "IPv6" : "IPv4";

  Deno.test(`clampMss over ${family} lowers to the MTU less ${headerBytes} bytes, and never raises`, () => {
    const announced = [536, 1200, 1220, 1221, 1440, 1460, 8960, 65_535];
    for (const mtu of [1280, 1400, 1500, 9000]) {
      for (const mss of announced) {
        const expected = Math.min(mss, mtu - headerBytes);
        const options = clamped(isIpv6, [...MSS, mss >> 8, mss & 255], mtu);
        assert.deepEqual(options, [...MSS, expected >> 8, expected & 255], `${mss} at ${mtu}`);
      }
    }
  });

  Deno.test(`clampMss over ${family} takes no MTU below ${minBytes} at its word`, () => {
    const expected = minBytes - headerBytes;
    const options = clamped(isIpv6, [...MSS, 0xff, 0xff], 20);
    assert.deepEqual(options, [...MSS, expected >> 8, expected & 255]);
  });

  Deno.test(`clampMss over ${family} keeps the checksum right at an odd place, and adds none`, () => {
    assert.deepEqual(clamped(isIpv6, [1, ...MSS, 0xff, 0xff, 1, 1, 0], 1500).slice(0, 3), [
      1,
      2,
      4,
    ]);
    assert.deepEqual(clamped(isIpv6, [1, 1, 1, 1], 1500), [1, 1, 1, 1]);
  });
}
