/** The flags as the command line gives them: text, by name, and how to ask for one. */

/** The values of one flag in the order given. */
export type Values = readonly string[];
/** `true`: a flag without a value is given. */
export type Flags = Readonly<Record<string, Values | true | undefined>>;

/** What is wrong with a flag. */
export class FlagError extends Error {
  constructor(readonly flag: string, readonly reason: string) {
    super(`--${flag}: ${reason}`);
  }
}

/** How a flag that must be given is written. */
const SHAPE: Readonly<Record<string, string>> = {
  net: "--net=DEVICE, as in --net=tap100",
  "dst-addrs": "--dst-addrs=ADDR[,ADDR…], as in --dst-addrs=192.168.0.1,192.168.0.2",
  "ipv4-b": "--ipv4-b=ADDR/LEN, as in --ipv4-b=10.0.0.1/24",
  "ipv6": "--ipv6=ADDR/LEN, as in --ipv6=2001:db8::64/64",
  "ipv6-b": "--ipv6-b=ADDR/LEN, as in --ipv6-b=2001:db8:b::64/64",
  pcap: "--pcap=FILE, as in --pcap=in.pcap",
};

/** The flag's value; `fallback` is its text when it is not given, null: it must be given. */
export function read<T>(
  flags: Flags,
  name: string,
  fallback: string | null,
  parse: (text: string) => T,
): T {
  const values = valuesOf(flags, name);
  if (values.length > 1) {
    throw new FlagError(name, `Cannot use "${values[1]}" as second value: expected one`);
  }
  const text = values[0] ?? fallback;
  if (text === null) throw required(name);
  return named(name, () => parse(text));
}

/** Says how a flag that is missing is written. */
export function required(name: string): FlagError {
  return new FlagError(name, `Required: expected ${SHAPE[name]}`);
}

export function readOptional<T>(flags: Flags, name: string, parse: (text: string) => T): T | null {
  return isGiven(flags, name) ? read(flags, name, null, parse) : null;
}

/** The values of a flag that may be given several times. */
export function readAll<T>(flags: Flags, name: string, parse: (text: string) => T): readonly T[] {
  return valuesOf(flags, name).map((text) => named(name, () => parse(text)));
}

export function isGiven(flags: Flags, name: string): boolean {
  return flags[camelCase(name)] !== undefined;
}

/** Runs what reads a flag; the flag's name goes in front of what is wrong. */
export function named<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) {
      throw new FlagError(name, error.message);
    }
    throw error;
  }
}

export function valuesOf(flags: Flags, name: string): Values {
  const values = flags[camelCase(name)];
  return values === undefined || values === true ? [] : values;
}

/** commander's name for a flag's value. */
export function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
