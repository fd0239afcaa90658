/** The proxy's own client over IPv6: what differs from IPv4, as `prober_test.ts` has it. */
import assert from "node:assert/strict";
import { Arena } from "../../../src/core/arena.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Reason } from "../../../src/core/reason.ts";
import type { ActiveCheck } from "../../../src/policy/language/health.ts";
import { OwnAddresses6 } from "../../../src/stack/admit6.ts";
import type { Probe } from "../../../src/stack/client/probe.ts";
import { Prober } from "../../../src/stack/client/prober.ts";
import { Routes6 } from "../../../src/stack/routes6.ts";
import { parseAddress, parseMac } from "../../../src/wire/address.ts";
import { formatAddress6, parseAddress6, subnetOf6 } from "../../../src/wire/address6.ts";
import type { AddressDigest } from "../../../src/wire/address_digest.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import { OVER_IPV6 } from "../../../src/wire/pdu.ts";
import { buildIcmp, bytesOf } from "../../support/frames.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  type Icmp6,
  readIcmp6,
  readTcp6,
  readUdp6,
  type Tcp6,
} from "../../support/frames6.ts";
import { judge, tsharkTest } from "../../support/tshark.ts";
import { decodeInto, takeSent } from "../../wire/place.ts";
import { decoded6, DIGEST } from "../../wire/place6.ts";

const PROXY = "2001:db8::64";
const BACKEND = "2001:db8::1";
const FAR = "2001:db8:7::1";
const GATEWAY = "fe80::1";
const OWN_PORT = 2345;
const FROM = { src: BACKEND, srcMac: "02:00:00:00:00:01", dst: PROXY };

/** One probe of one backend. Every frame that the proxy sends is read by the tests' own readers. */
class World {
  readonly arena = new Arena();
  readonly own = new OwnAddresses6(
    parseMac("02:00:00:00:01:00"),
    [parseAddress6(PROXY)],
    parseAddress6("fe80::ff:fe00:100"),
  );
  readonly ends: string[] = [];
  readonly log: string[] = [];
  readonly probe: Probe;
  readonly prober: Prober;
  says = 0;

  constructor(check: ActiveCheck, backend = BACKEND, digest: AddressDigest = DIGEST) {
    const hop = (key: number, words: Int32Array, from: number) => {
      assert.equal(key, digest.ofWords(words, from));
      return formatAddress6(words, from);
    };
    const nothing = () => assert.fail("nothing of IPv4");
    this.prober = new Prober({
      arena: this.arena,
      arp: { send: nothing, expectAnswer: nothing, answered: nothing },
      routes: { nextHop: nothing },
      own: parseAddress("192.168.0.100"),
      v6: {
        nd: {
          send: (frame, lengthBytes, key, words, from, _, entry) => {
            this.log.push(`to ${hop(key, words, from)}`);
            assert.equal(entry, -1);
            if (this.says === 0) this.arena.send(frame, lengthBytes);
            return this.says;
          },
          expectAnswer: (key, words, from) => void this.log.push(`asked ${hop(key, words, from)}`),
          answered: (key, words, from) => void this.log.push(`heard ${hop(key, words, from)}`),
        },
        routes: new Routes6(digest, [subnetOf6(parseAddress6(PROXY), 64)], [{
          to: subnetOf6(parseAddress6("2001:db8:7::"), 48),
          nextHop: parseAddress6(GATEWAY),
        }]),
        own: this.own,
        digest,
      },
      ports: {
        reserve: (protocol, backendKey, ownKey, port) => {
          this.log.push(`port ${protocol & ~OVER_IPV6} ${port}`);
          assert.ok((protocol & OVER_IPV6) !== 0);
          assert.deepEqual(
            [backendKey, ownKey],
            [backend, PROXY].map((text) => digest.ofWords(parseAddress6(text), 0)),
          );
          return OWN_PORT;
        },
        release: () => {},
      },
      random: new SeededRandom(4),
      ended: (_probe, failure, isSilent) =>
        void this.ends.push(`${failure ?? "ok"}${isSilent ? ", silent" : ""}`),
    });
    this.probe = this.prober.probe(check, parseHostAddress(backend));
  }

  /** Starts the check; the one frame that is sent. */
  start(): Uint8Array {
    assert.equal(this.prober.start(this.probe, 0), true);
    const [frame, ...more] = takeSent(this.arena);
    assert.deepEqual(more, []);
    return frame!;
  }

  /** Gives the proxy a frame: whether it is the probe's, and what is sent upon it. */
  give(frame: Uint8Array): { readonly isTaken: boolean; readonly sent: Uint8Array[] } {
    const { pdu } = decoded6(frame, this.arena);
    const isTaken = this.prober.take(this.arena.view, pdu, 5);
    return { isTaken, sent: takeSent(this.arena) };
  }

  take(): string[] {
    return this.ends.splice(0);
  }
}

const ICMP: ActiveCheck = { kind: "icmp" };
const TCP: ActiveCheck = { kind: "tcp", port: 8080 };
const HTTP: ActiveCheck = { kind: "http", port: 8080, path: "/healthz", status: 200 };
const UDP: ActiveCheck = { kind: "udp", port: 53, payload: "0102ff" };

function answerTo(syn: Tcp6, fields: Partial<Tcp6>): Uint8Array {
  return buildTcp6({
    ...FROM,
    srcPort: syn.dstPort,
    dstPort: syn.srcPort,
    flags: "SA",
    seq: 7000,
    ack: syn.seq + 1 >>> 0,
    ...fields,
  });
}

Deno.test("Prober over IPv6, tcp: a bare SYN from the main address; a SYN ACK is success, and is reset", () => {
  const world: World = new World(TCP);
  const syn = readTcp6(world.start());
  assert.deepEqual(
    [syn.src, syn.dst, syn.srcPort, syn.dstPort, syn.flags, syn.hopLimit, syn.tcpOptions.length],
    [PROXY, BACKEND, OWN_PORT, 8080, "S", 64, 0],
  );
  const { isTaken, sent } = world.give(answerTo(syn, {}));
  assert.deepEqual([isTaken, world.take()], [true, ["ok"]]);
  const [reset, ...more] = sent.map(readTcp6);
  assert.deepEqual([reset!.flags, reset!.seq, more.length], ["R", syn.seq + 1 >>> 0, 0]);
  assert.deepEqual(world.log, [
    "port 6 8080",
    `to ${BACKEND}`,
    `asked ${BACKEND}`,
    `to ${BACKEND}`,
    `heard ${BACKEND}`,
  ]);
});

Deno.test("Prober over IPv6, http: the request names the address in brackets", () => {
  const world: World = new World(HTTP);
  const syn = readTcp6(world.start());
  const { sent } = world.give(answerTo(syn, {}));
  const request = readTcp6(sent[0]!);
  assert.equal(
    new TextDecoder().decode(Uint8Array.from(request.payload)),
    "GET /healthz HTTP/1.1\r\nHost: [2001:db8::1]\r\nConnection: close\r\n\r\n",
  );
  const ack = request.seq + request.payload.length >>> 0;
  const status = { flags: "PA", seq: 7001, ack, payload: bytesOf("HTTP/1.1 503 Busy\r\n") };
  world.give(answerTo(syn, status));
  assert.deepEqual(world.take(), ["the status is 503"]);
});

Deno.test("Prober over IPv6, udp: the payload goes out with a checksum, and any datagram is an answer", () => {
  const world: World = new World(UDP);
  const datagram = readUdp6(world.start());
  assert.deepEqual([datagram.dst, datagram.dstPort, [...Array.from(datagram.payload)]], [
    BACKEND,
    53,
    [1, 2, 255],
  ]);
  const back = { ...FROM, srcPort: 53, dstPort: OWN_PORT };
  const wrong = [{ src: "2001:db8::2" }, { dst: "fe80::ff:fe00:100" }, { srcPort: 54 }];
  for (const fields of wrong) {
    assert.equal(world.give(buildUdp6({ ...back, ...fields })).isTaken, false);
  }
  assert.equal(world.give(buildUdp6(back)).isTaken, true);
  assert.deepEqual(world.take(), ["ok"]);
});

Deno.test("Prober over IPv6, icmp: the reply has identifier and sequence number of the request", () => {
  const world: World = new World(ICMP);
  const { type, rest } = readIcmp6(world.start());
  assert.deepEqual([type, rest.slice(0, 2)], [128, [OWN_PORT >> 8, OWN_PORT & 255]]);
  const back: Partial<Icmp6> = { ...FROM, type: 129, payload: [] };
  const changed = (at: number) => rest.map((byte, i) => i === at ? byte ^ 1 : byte);
  assert.equal(world.give(buildIcmp6({ ...back, rest: changed(1) })).isTaken, false);
  assert.equal(world.give(buildIcmp6({ ...back, rest, type: 128 })).isTaken, false);
  world.give(buildIcmp6({ ...back, rest: changed(3) }));
  assert.deepEqual(world.take(), []);
  world.give(buildIcmp6({ ...back, rest }));
  assert.deepEqual(world.take(), ["ok"]);
});

/** The ICMPv6 error of a backend about a packet of the proxy. */
function errorAbout(frame: Uint8Array, code: number, type = 1): Uint8Array {
  return buildIcmp6({ ...FROM, type, code, rest: [0, 0, 0, 0], payload: frame.slice(14) });
}

Deno.test("Prober over IPv6: an error about what it sent is a failure, of TCP only with the SYN's number", () => {
  const udp: World = new World(UDP);
  const { isTaken } = udp.give(errorAbout(udp.start(), 4));
  assert.deepEqual([isTaken, udp.take()], [true, [
    "ICMP destination unreachable: port unreachable",
  ]]);

  const tcp: World = new World(TCP);
  const syn = tcp.start();
  const forged = syn.slice();
  forged[14 + 40 + 7]! ^= 1; // of the sequence number
  assert.equal(tcp.give(errorAbout(forged, 0)).isTaken, true);
  assert.equal(tcp.give(errorAbout(syn, 0, 3)).isTaken, true, "time exceeded: it goes on");
  assert.deepEqual(tcp.take(), []);
  tcp.give(errorAbout(syn, 0));
  assert.deepEqual(tcp.take(), ["ICMP destination unreachable: no route to destination"]);
});

Deno.test("Prober over IPv6: an error about somebody else's packet is not its own", () => {
  const world: World = new World(UDP);
  world.start();
  const fields = { src: PROXY, dst: BACKEND, srcPort: OWN_PORT, dstPort: 53 };
  assert.equal(world.give(errorAbout(buildUdp6({ ...fields, srcPort: 9 }), 4)).isTaken, false);
  assert.equal(
    world.give(errorAbout(buildUdp6({ ...fields, src: "2001:db8::99" }), 4)).isTaken,
    false,
  );
  assert.equal(
    world.give(errorAbout(buildUdp6({ ...fields, dst: "2001:db8::99" }), 4)).isTaken,
    false,
  );
  assert.equal(world.give(errorAbout(buildUdp6(fields), 4)).isTaken, true);
});

Deno.test("Prober over IPv6 compares whole addresses where digests are equal", () => {
  const same = { of: () => 7, ofWords: () => 7, ofPacket: () => 7 } as unknown as AddressDigest;
  const world: World = new World(UDP, BACKEND, same);
  world.start();
  const give = (fields: { src?: string; dst?: string }) => {
    const frame = buildUdp6({ ...FROM, srcPort: 53, dstPort: OWN_PORT, ...fields });
    const { pdu } = decoded6(frame, world.arena);
    pdu.src = pdu.dst = 7;
    return world.prober.take(world.arena.view, pdu, 5);
  };
  assert.deepEqual([give({ src: "2001:db8::2" }), give({ dst: "2001:db8::65" }), give({})], [
    false,
    false,
    true,
  ]);
});

Deno.test("Prober over IPv6 takes nothing of IPv4's, whatever its ports", () => {
  const world: World = new World(ICMP);
  world.start();
  const rest = [OWN_PORT, 0] as [number, number];
  const pdu = decodeInto(world.arena, buildIcmp({ type: 0, rest }));
  assert.equal(world.prober.take(world.arena.view, pdu, 5), false);
});

Deno.test("Prober over IPv6 sends to the gateway; no route and a withheld address are no check", () => {
  const world: World = new World(TCP, FAR);
  assert.equal(readTcp6(world.start()).dst, FAR);
  assert.deepEqual(world.log.slice(1), [`to ${GATEWAY}`, `asked ${GATEWAY}`]);
  world.own.setUsable(0, false);
  assert.equal(world.prober.start(world.probe, 0), false);
  world.own.setUsable(0, true);
  assert.equal(world.prober.start(world.probe, 0), true);
  const none: World = new World(TCP, "2001:db9::1");
  assert.equal(none.prober.start(none.probe, 0), false);
  assert.deepEqual([none.ends, takeSent(none.arena)], [[], []]);
});

Deno.test("Prober over IPv6: a backend that Neighbor Discovery has given up fails at once", () => {
  const world: World = new World(TCP);
  world.says = Reason["arp-unanswered"];
  assert.equal(world.prober.start(world.probe, 0), true);
  assert.deepEqual(world.take(), ["it does not answer Neighbor Discovery, silent"]);
});

tsharkTest("tshark finds nothing wrong with checks over IPv6", async () => {
  const frames = [ICMP, TCP, UDP].map((check) => new World(check).start());
  assert.deepEqual(await judge(frames), []);
});
