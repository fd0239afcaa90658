/**
 * A station that sends an ARP request for an address every 2 ms until it is answered. It prints
 * `asking` first, and at the end the time of the reply, in milliseconds since 1970.
 *
 *     deno run -A first_answer.ts DEVICE ADDRESS
 */
import { buildShim } from "../../src/pack/compile_c.ts";
import { Arena } from "../../src/core/arena.ts";
import { TapDevice } from "../../src/device/tap.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import * as arp from "../../src/wire/arp.ts";
import * as ethernet from "../../src/wire/ethernet.ts";

const MAC = parseMac("02:00:00:00:aa:01");
const ADDRESS = parseAddress("192.168.0.252");
const INTERVAL_MS = 2;
const FRAME_BYTES = ethernet.ETHERNET_BYTES + arp.ARP_BYTES;

if (import.meta.main) {
  const [name, address] = Deno.args;
  const wanted = parseAddress(address!);
  const device = TapDevice.open(name!, {
    shim: buildShim(),
    create: false,
    hosts: [],
    offload: 0,
    offloadRefused: () => {},
    spinUs: 0,
  });
  const arena = new Arena();
  const { rx, view } = arena;
  say("asking");
  for (let answered = false; !answered;) {
    const frame = arena.scratch(FRAME_BYTES);
    const own = { mac: MAC, address: ADDRESS };
    arp.writeArp(view, frame, arp.ARP_REQUEST, own, { mac: null, address: wanted });
    arena.send(frame, FRAME_BYTES);
    device.write(arena);
    device.read(arena, INTERVAL_MS);
    for (let i = 0; i < arena.rxCount; i++) {
      const ip = rx[2 * i]! + ethernet.ETHERNET_BYTES;
      answered ||= ethernet.etherType(view, rx[2 * i]!) === ethernet.ETHERTYPE_ARP &&
        arp.operation(view, ip) !== arp.ARP_REQUEST && arp.senderAddress(view, ip) === wanted;
    }
  }
  say(String(performance.timeOrigin + performance.now()));
  await device.close();
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
