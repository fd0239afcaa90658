/**
 * Two proxies that are each other's backend: what comes to one goes round between them until its
 * TTL ends.
 */
import assert from "node:assert/strict";
import { Appliance } from "../../src/datapath/appliance.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import { forward, policy, setTtl, translateAToB } from "../../src/policy/language/build.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { PROTOCOL_TCP } from "../../src/wire/ipv4.ts";
import { linkConfig, testConfig } from "../support/config.ts";
import { buildTcp, readTcp } from "../support/frames.ts";
import { arpReply, CLIENT, from, isArp, PROXY, PROXY_MAC } from "../support/world.ts";

const OTHER = "192.168.0.101";
const OTHER_MAC = "02:00:00:00:02:00";

/** More frames than this between the two are a loop without end. */
const ENDLESS = 1000;

/** The TTLs with which a SYN that came with `ttl` goes from one proxy to the other. */
function loop(ttl: number, raise: boolean): number[] {
  const clock = new ManualClock(1_000_000);
  const devices = [new MemoryDevice(), new MemoryDevice()] as const;
  const appliances = devices.map((device, i) =>
    new Appliance({
      devices: [device],
      clock,
      random: new SeededRandom(1 + i),
      policy: policy("drop", setTtl(64, translateAToB(forward), { raise })),
      config: testConfig({
        links: [
          linkConfig({
            address: parseAddress(i === 0 ? PROXY : OTHER),
            mac: parseMac(i === 0 ? PROXY_MAC : OTHER_MAC),
          }),
        ],
        dstAddrs: [parseAddress(i === 0 ? OTHER : PROXY)],
      }),
      log: { info: () => {}, warning: () => {}, error: () => {} },
      observer: null,
    })
  );
  const ttls: number[] = [];
  devices[0].inbox.push(arpReply(CLIENT));
  devices[0].inbox.push(buildTcp({ ...from(CLIENT), flags: "S", ttl }));
  while (ttls.length < ENDLESS && devices.some(({ inbox }) => inbox.length > 0)) {
    devices.forEach((device, i) => {
      appliances[i]!.poll(0);
      for (const frame of device.take()) {
        if (isSegment(frame)) ttls.push(readTcp(frame).ttl);
        devices[1 - i]!.inbox.push(frame);
      }
    });
  }
  return ttls;
}

function isSegment(frame: Uint8Array): boolean {
  return !isArp(frame) && frame[23] === PROTOCOL_TCP;
}

Deno.test("set-ttl: what two proxies send to each other ends with its TTL", () => {
  const falling = Array.from({ length: 63 }, (_, i) => 63 - i);
  assert.deepEqual(loop(64, false), falling);
  assert.deepEqual(loop(255, false), [64, ...falling]);
});

Deno.test("set-ttl raise: nothing ends it, as the check warns", () => {
  const ttls = loop(64, true);
  assert.equal(ttls.length, ENDLESS);
  assert.deepEqual(new Set(ttls), new Set([64]));
});
