/** Whole capture files, written by the code that writes them record by record. */
import { pcapHeader, type PcapRecord, pcapRecord } from "../../src/device/capture/pcap.ts";

/** A whole capture file. */
export function writePcap(records: Iterable<PcapRecord>): Uint8Array<ArrayBuffer> {
  const parts = [pcapHeader(), ...Array.from(records, pcapRecord)];
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
