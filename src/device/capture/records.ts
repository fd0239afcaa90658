/** The records of capture files, pcap or pcapng, each with the link that it was captured on. */
import { type PcapRecord, readPcap } from "./pcap.ts";
import { isPcapng, readPcapng } from "./pcapng.ts";

/**
 * The records of one file for each of `links` links, in order of time; or of one pcapng file that
 * has them all, in its own order, with an interface for each link. Throws SyntaxError for what
 * can't be read, after the records before that point; it begins with the file's name, if `names`
 * has one.
 */
export function readCaptures(
  files: readonly Uint8Array[],
  links: number,
  names: readonly string[] = [],
): Generator<readonly [record: PcapRecord, link: number]> {
  if (files.length === links) {
    return mergeByTime(files.map((file, i) => {
      const records = named(names[i], () => recordsOf(file));
      return eachNamed(names[i], records);
    }));
  }
  const [file] = files;
  if (!isPcapng(file!)) {
    throw new SyntaxError(
      "Cannot read both sides from a pcap file: expected a pcapng file, or one for each side",
    );
  }
  return eachNamed(names[0], ofLinks(file!, links));
}

/** Puts the file's name in front of what is wrong with it. */
function named<T>(name: string | undefined, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SyntaxError) || name === undefined) throw error;
    throw new SyntaxError(`${name}: ${error.message}`);
  }
}

function* eachNamed<T>(name: string | undefined, records: Generator<T>): Generator<T> {
  for (;;) {
    const { done, value } = named(name, () => records.next());
    if (done === true) return;
    yield value;
  }
}

function* ofLinks(
  file: Uint8Array,
  links: number,
): Generator<readonly [record: PcapRecord, link: number]> {
  for (const [record, number] of readPcapng(file)) {
    if (number >= links) throw strange(number, `expected 0 to ${links - 1}`);
    yield [record, number];
  }
}

/** Of a file that has one interface. */
function recordsOf(file: Uint8Array): Generator<PcapRecord> {
  return isPcapng(file) ? ofOneInterface(file) : readPcap(file);
}

function* ofOneInterface(file: Uint8Array): Generator<PcapRecord> {
  for (const [record, number] of readPcapng(file)) {
    if (number > 0) throw strange(number, "expected one interface a file");
    yield record;
  }
}

function strange(number: number, expected: string): SyntaxError {
  return new SyntaxError(`Cannot use packet of interface ${number} of capture: ${expected}`);
}

/**
 * The records of several captures in order of time, each with the index of its capture. Throws what
 * reading them throws.
 */
export function* mergeByTime(
  captures: readonly Iterator<PcapRecord>[],
): Generator<readonly [record: PcapRecord, capture: number]> {
  const heads = captures.map((): PcapRecord | null | undefined => undefined); // null: at its end
  for (;;) {
    let first = -1;
    for (const [i, capture] of captures.entries()) {
      if (heads[i] === undefined) {
        const { done, value } = capture.next();
        heads[i] = done === true ? null : value;
      }
      const head = heads[i] ?? null;
      if (head !== null && (first < 0 || head.timeUs < heads[first]!.timeUs)) first = i;
    }
    if (first < 0) return;
    yield [heads[first]!, first];
    heads[first] = undefined;
  }
}
