/** ICMP errors about connections between the families, through the whole appliance in memory. */
import assert from "node:assert/strict";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  naiveChecksum,
  read16,
  readIcmp,
  readTcp,
  readUdp,
  word16,
} from "../support/frames.ts";
import {
  address6Text,
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  readIcmp6,
  readTcp6,
  readUdp6,
} from "../support/frames6.ts";
import { cut, join, whole } from "../support/fragments.ts";
import { cut6, join6 } from "../support/fragments6.ts";
import {
  BACKENDS,
  BACKENDS6,
  CLIENT,
  CLIENT6,
  from,
  macOf,
  neighborsOf,
  packetsOf,
  PROXY,
  PROXY6,
  World,
  type WorldOptions,
} from "../support/world.ts";
import { EVERYTHING } from "../flow/dialogue.ts";
import { only, settledAcross } from "./across_world.ts";

type Fields = Record<string, unknown>;

/** An error as it is told: type and code, bytes 4 to 7, and the packet that it quotes. */
interface Told {
  readonly src: string;
  readonly dst: string;
  readonly dstMac: string;
  readonly type: number;
  readonly code: number;
  readonly rest: number;
  readonly quote: Uint8Array;
}

/** What both families' frames are made from and read as. */
interface Family {
  readonly client: string;
  readonly proxy: string;
  readonly backends: readonly string[];
  readonly router: string;
  readonly headerBytes: number;
  readonly tcp: (fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly udp: (fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly readTcp: typeof readTcp | typeof readTcp6;
  readonly readUdp: typeof readUdp | typeof readUdp6;
  readonly error: (message: Message, quote: Uint8Array, fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly readError: (frame: Uint8Array) => Told;
}

type Message = readonly [type: number, code: number, rest: number];

const FOUR: Family = {
  client: CLIENT,
  proxy: PROXY,
  backends: BACKENDS,
  router: "192.168.0.77",
  headerBytes: 20,
  tcp: buildTcp,
  udp: buildUdp,
  readTcp,
  readUdp,
  error: ([type, code, rest], payload, fields) =>
    buildIcmp({ type, code, rest: [rest >>> 16, rest & 0xffff], ...fields, payload }),
  readError: (frame) => {
    const { payload, rest, ...error } = readIcmp(frame);
    return { ...error, rest: rest[0] * 65_536 + rest[1], quote: payload };
  },
};

const SIX: Family = {
  client: CLIENT6,
  proxy: PROXY6,
  backends: BACKENDS6,
  router: "2001:db8::77",
  headerBytes: 40,
  tcp: buildTcp6,
  udp: buildUdp6,
  readTcp: readTcp6,
  readUdp: readUdp6,
  error: ([type, code, rest], payload, fields) =>
    buildIcmp6({
      ...{ type, code, rest: [...word16(rest >>> 16), ...word16(rest)] },
      ...fields,
      payload,
    }),
  readError: (frame) => {
    const { payload, rest, ...error } = readIcmp6(frame);
    const bytes = Uint8Array.from(rest);
    return {
      ...error,
      rest: read16(bytes, 0) * 65_536 + read16(bytes, 2),
      quote: Uint8Array.from(payload),
    };
  },
};

interface Way {
  readonly name: string;
  readonly near: Family;
  readonly far: Family;
  /** Port unreachable, unreachable host and time exceeded: as they come from B, and go to A. */
  readonly noPort: readonly [Message, Message];
  readonly noHost: readonly [Message, Message];
  readonly tooFar: readonly [Message, Message];
  /** What is too long for a way behind the proxy. */
  readonly tooLong: readonly [Message, Message];
}

const WAYS: readonly Way[] = [
  {
    name: "IPv6 to IPv4",
    near: SIX,
    far: FOUR,
    noPort: [[3, 3, 0], [1, 4, 0]],
    noHost: [[3, 1, 0], [1, 0, 0]],
    tooFar: [[11, 0, 0], [3, 0, 0]],
    tooLong: [[3, 4, 1380], [2, 0, 1400]],
  },
  {
    name: "IPv4 to IPv6",
    near: FOUR,
    far: SIX,
    noPort: [[1, 4, 0], [3, 3, 0]],
    noHost: [[1, 3, 0], [3, 1, 0]],
    tooFar: [[3, 0, 0], [11, 0, 0]],
    tooLong: [[2, 0, 1400], [3, 4, 1380]],
  },
];

function settled(backends: readonly string[], options: WorldOptions = {}): World {
  return settledAcross(backends, { retries: 0, ...options });
}

/** An IP packet's addresses as text, the ports behind its header, and the rest. */
function readQuote(quote: Uint8Array, { headerBytes }: Family) {
  const isFour = headerBytes === 20;
  const [src, dst] = isFour
    ? [quote.subarray(12, 16).join("."), quote.subarray(16, 20).join(".")]
    : [address6Text(quote.subarray(8, 24)), address6Text(quote.subarray(24, 40))];
  assert.equal(quote[0]! >> 4, isFour ? 4 : 6);
  if (isFour) assert.equal(naiveChecksum(quote.subarray(0, 20)), 0);
  const l4 = quote.subarray(headerBytes);
  return { src, dst, srcPort: read16(l4, 0), dstPort: read16(l4, 2), l4 };
}

for (const { name, near, far, noPort, noHost, tooFar, tooLong } of WAYS) {
  const quoteOf = (frame: Uint8Array) => frame.slice(14);

  Deno.test(`Errors across: a backend's port unreachable reaches the client about its own datagram, ${name}`, () => {
    const world = settled(far.backends);
    const payload = bytesOf("question");
    const sent = near.udp({ payload });
    const asked = only(world.send(sent));
    const { dst } = far.readUdp(asked);
    const told = near.readError(only(world.send(far.error(noPort[0], quoteOf(asked), from(dst)))));
    const { src, dstMac, type, code, rest, quote } = told;
    assert.deepEqual([src, told.dst, dstMac], [near.proxy, near.client, macOf(near.client)]);
    assert.deepEqual([type, code, rest], noPort[1]);
    const { l4, ...tuple } = readQuote(quote, near);
    assert.deepEqual(tuple, {
      ...{ src: near.client, dst: near.proxy, srcPort: 40_000, dstPort: 2000 },
    });
    assert.deepEqual([...l4], [...quoteOf(sent).subarray(near.headerBytes)], "as it was sent");
    assert.deepEqual(world.drops(), {});
  });

  const open = (world: World) => {
    const syn = far.readTcp(only(world.send(near.tcp({ flags: "S", ack: 0 }))));
    const back = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
    only(world.send(far.tcp({ ...back, flags: "SA", seq: 9000, ack: syn.seq + 1 })));
    only(world.send(near.tcp({ flags: "A", seq: 1001, ack: 9001 })));
    return { syn, back };
  };

  Deno.test(`Errors across: routers behind the proxy tell the client, ${name}`, () => {
    for (const [message, now] of [noHost, tooFar, tooLong]) {
      const world = settled(far.backends);
      open(world);
      const data = { flags: "A", seq: 1001, ack: 9001, payload: new Uint8Array(1400) };
      const segment = only(world.send(near.tcp(data)));
      const error = far.error(message, quoteOf(segment), from(far.router));
      const told = near.readError(only(world.send(error)));
      assert.deepEqual([told.src, told.dst], [near.proxy, near.client]);
      assert.deepEqual([told.type, told.code, told.rest], now);
      const { l4, ...tuple } = readQuote(told.quote, near);
      assert.deepEqual(tuple, {
        ...{ src: near.client, dst: near.proxy, srcPort: 40_000, dstPort: 2000 },
      });
      const as = quoteOf(near.tcp(data)).subarray(near.headerBytes);
      assert.deepEqual([...l4], [...as.subarray(0, l4.length)], "as it was sent");
      assert.deepEqual(world.drops(), {});
    }
  });

  Deno.test(`Errors across: routers before the client tell the backend, ${name}`, () => {
    // The message that comes is of the client's family, and the pairs tell the other way round.
    for (const [now, message] of [noHost, tooFar, tooLong]) {
      if (message === noHost[1]) continue; // there the host's code is the network's
      const world = settled(far.backends);
      const { syn, back } = open(world);
      const data = { flags: "A", seq: 9001, ack: 1001, payload: new Uint8Array(1400) };
      const segment = only(world.send(far.tcp({ ...back, ...data })));
      const error = near.error(message, quoteOf(segment), from(near.router));
      const told = far.readError(only(world.send(error)));
      assert.deepEqual([told.src, told.dst], [far.proxy, syn.dst]);
      assert.deepEqual([told.type, told.code, told.rest], now);
      const { l4, ...tuple } = readQuote(told.quote, far);
      assert.deepEqual(tuple, {
        ...{ src: syn.dst, dst: far.proxy, srcPort: 2000, dstPort: syn.srcPort },
      });
      const as = quoteOf(far.tcp({ ...back, ...data })).subarray(far.headerBytes);
      assert.deepEqual([...l4], [...as.subarray(0, l4.length)], "as it was sent");
      assert.deepEqual(world.drops(), {});
    }
  });

  Deno.test(`Errors across: what is believed of them is the same, ${name}`, () => {
    const world = settled(far.backends);
    const { syn } = open(world);
    const data = { flags: "A", seq: 1001, ack: 9001, payload: new Uint8Array(100) };
    const segment = only(world.send(near.tcp(data)));
    const ttl = far === FOUR ? { ttl: 1 } : { hopLimit: 1 };
    const late = quoteOf(far.tcp({ ...from(far.proxy), dst: syn.dst, ...data, seq: 900 }));
    late.set(word16(syn.srcPort), far.headerBytes);
    const meant: Message = far === FOUR ? [3, 14, 0] : [1, 5, 0];
    const cases: [Uint8Array<ArrayBuffer>, string][] = [
      [far.error(noHost[0], quoteOf(segment), { ...from(far.router), ...ttl }), "ttl-expired"],
      [far.error(meant, quoteOf(segment), from(far.router)), "no-counterpart"],
      [far.error(noHost[0], late, from(far.router)), "out-of-window"],
    ];
    for (const [frame, reason] of cases) {
      const before = world.drops()[reason] ?? 0;
      assert.deepEqual(packetsOf(world.send(frame)), [], reason);
      assert.equal(world.drops()[reason], before + 1, JSON.stringify(world.drops()));
    }
  });

  Deno.test(`Errors across: a SYN that is refused by one goes to another backend, ${name}`, () => {
    const world = settled(far.backends, { retries: 1 });
    const first = only(world.send(near.tcp({ flags: "S", ack: 0 })));
    const { dst } = far.readTcp(first);
    const again = only(world.send(far.error(noHost[0], quoteOf(first), from(far.router))));
    const second = far.readTcp(again).dst;
    assert.ok(far.backends.includes(second) && second !== dst);
    assert.deepEqual(world.drops(), { retried: 1 });
  });

  Deno.test(`Errors across: an echo's are about an echo, ${name}`, () => {
    const world = settled(far.backends);
    const payload = bytesOf("ping");
    const sent = near === FOUR
      ? buildIcmp({ type: 8, rest: [0x4a49, 1], payload })
      : buildIcmp6({ type: 128, rest: [0x4a, 0x49, 0, 1], payload });
    const asked = only(world.send(sent));
    const told = near.readError(
      only(world.send(far.error(tooFar[0], quoteOf(asked), from(far.router)))),
    );
    assert.deepEqual([told.type, told.code], tooFar[1].slice(0, 2));
    const { l4 } = readQuote(told.quote, near);
    assert.deepEqual([...l4], [...quoteOf(sent).subarray(near.headerBytes)]);
  });

  Deno.test(`Families across: a datagram in fragments goes there and back, ${name}`, () => {
    const world = settled(far.backends);
    const payload = Uint8Array.from({ length: 5000 }, (_, i) => i);
    const pieces = (family: Family, fields: Fields) =>
      family === FOUR
        ? cut(buildUdp({ ...fields, payload, fragment: 0 }), 1480)
        : cut6(buildUdp6({ ...fields, payload }), 1448);
    const wholeOf = (frames: Uint8Array[], family: Family) =>
      family === FOUR ? readUdp(whole(join(frames))) : readUdp6(join6(frames));
    const limits = (frames: Uint8Array[], family: Family) =>
      frames.every(({ length }) => length <= 14 + (family === FOUR ? 1472 : 1280));
    const there = packetsOf(world.send(...pieces(near, {})));
    const asked = wholeOf(there, far);
    assert.deepEqual([...Array.from(asked.payload)], [...payload]);
    assert.ok(limits(there, far));
    const back = { ...from(asked.dst), srcPort: asked.dstPort, dstPort: asked.srcPort };
    const here = packetsOf(world.send(...pieces(far, back)));
    assert.deepEqual([...Array.from(wholeOf(here, near).payload)], [...payload]);
    assert.ok(limits(here, near));
    assert.deepEqual(world.drops(), {});
  });
}

Deno.test("Families across: what is too long for IPv6's way is told of with 20 bytes less", () => {
  const world = settled(BACKENDS6);
  const tell = (lengthBytes: number) =>
    only(world.send(buildUdp({ payload: new Uint8Array(lengthBytes - 28), fragment: 0x4000 })));
  readUdp6(tell(1480));
  const { type, code, rest } = readIcmp(tell(1481));
  assert.deepEqual([type, code, ...rest], [3, 4, 0, 1480]);
  assert.deepEqual(world.drops(), { "mtu-exceeded": 1 });
});

Deno.test("Families across: what is too long for IPv4's way is told of with 20 bytes more", () => {
  const options = { twoSided: true, mtus: [9000, 1400] as const };
  const world = settled(["10.0.0.1"], { ...options, clampMss: false });
  const tell = (lengthBytes: number) =>
    only(world.send(buildUdp6({ payload: new Uint8Array(lengthBytes - 48) })));
  assert.equal(readUdp(tell(1420)).dst, "10.0.0.1");
  const { type, code, rest } = readIcmp6(tell(1421));
  assert.deepEqual([type, code, ...rest], [2, 0, 0, 0, ...word16(1420)]);
  assert.deepEqual(world.drops(), { "mtu-exceeded": 1 });
});

Deno.test("Errors across: who waited in vain for a backend over IPv6 is told over IPv4, with its own packet", () => {
  const options = { ipv6: true, translateFamilies: true, policy: EVERYTHING, retries: 0 };
  const world = new World({ ...options, backends: BACKENDS6 });
  world.answer(CLIENT);
  const isAsked = () =>
    neighborsOf(world.advance(100)).some(({ target }) => target === BACKENDS6[0]);
  for (let ms = 0; !isAsked(); ms += 100) assert.ok(ms < 5000, "the proxy asks for its backends");
  const syn = buildTcp({ flags: "S", ttl: 9, payload: bytesOf("abc") });
  assert.deepEqual(packetsOf(world.send(syn)), []);
  const { src, dst, type, code, payload } = readIcmp(only(world.advance(3500)));
  assert.deepEqual({ src, dst, type, code }, { src: PROXY, dst: CLIENT, type: 3, code: 1 });
  assert.deepEqual([...payload.subarray(20)], [...syn.subarray(34)]);
  assert.equal(world.drops()["arp-unanswered"], 1);
});
