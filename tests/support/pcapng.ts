/** Whole pcapng files, written by the code that writes them block by block. */
import type { PcapRecord } from "../../src/device/capture/pcap.ts";
import { INBOUND, interfaceBlock, sectionBlock } from "../../src/device/capture/pcapng_blocks.ts";
import { packetBlock } from "./pcapng_blocks.ts";

/** A capture of that many interfaces; of each record the number of its own. */
export function writePcapng(
  interfaces: number,
  records: Iterable<readonly [record: PcapRecord, from: number]>,
): Uint8Array<ArrayBuffer> {
  return joined(
    sectionBlock("tests", null),
    ...Array.from(
      { length: interfaces },
      (_, i) => interfaceBlock({ name: `tap${i}`, description: "", snapBytes: 0 }),
    ),
    ...Array.from(records, ([{ timeUs, frame, lengthBytes }, from]) =>
      packetBlock({
        interface: from,
        timeNs: BigInt(timeUs) * 1000n,
        frame,
        lengthBytes,
        direction: INBOUND,
        id: null,
        comment: null,
      })),
  );
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
