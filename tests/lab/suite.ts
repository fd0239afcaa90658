/**
 * Declares tests that need a lab. Without the permissions they are ignored; where the machine can't
 * make a lab they are ignored with the reason in their names, but fail when CI=true.
 */
import { Lab } from "./lab.ts";

/** Declares one test, as `Deno.test(name, body)`. */
export type DeclareTest = (name: string, body: () => Promise<void>, needs?: Needs) => void;

/** What a test needs beyond a lab. */
export interface Needs {
  /** Other users than its own, which the lab of a plain user does not have. */
  readonly otherUsers?: boolean;
  /** Why something else that it needs can't be had; "" where it can. */
  readonly obstacle?: string;
}

/**
 * Looks once at what this machine allows, and gives what declares the tests of one file.
 *
 * @param programs what the tests need besides `ip`
 */
export async function labTests(...programs: string[]): Promise<DeclareTest> {
  if (!await isPermitted()) return (name, fn) => Deno.test({ name, ignore: true, fn });
  const obstacle = await Lab.obstacle(programs);
  return (name, fn, { otherUsers = false, obstacle: other = "" } = {}) => {
    const lacks = obstacle || other ||
      (otherUsers && Deno.uid() !== 0 ? "only root has other users" : "");
    if (lacks === "") return Deno.test({ name, fn });
    const skip = Deno.env.get("CI") !== "true";
    Deno.test({ name: `${name} (skipped: ${lacks})`, ignore: skip, fn: () => fail(lacks) });
  };
}

function fail(lacks: string): never {
  throw new Error(`Cannot skip a lab test where CI=true: ${lacks}`);
}

async function isPermitted(): Promise<boolean> {
  const needed: Deno.PermissionDescriptor[] = [
    { name: "run" },
    { name: "read" },
    { name: "write" },
    { name: "env" },
    { name: "sys" },
  ];
  const states = await Promise.all(needed.map((one) => Deno.permissions.query(one)));
  return states.every(({ state }) => state === "granted");
}
