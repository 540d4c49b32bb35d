// What was measured, printed in the end as a table for README.md beside this file.

import { machineName } from "./machine.mjs";

const figures = [];

/** Keeps a figure, and prints it at once. */
export function figure(name, value) {
  figures.push([name, value]);
  console.log(`# ${name}: ${value}`);
}

export function print() {
  const rows = figures.map(([name, value]) => `| ${name} | ${value} |`);
  console.log(["", `| emulated (${machineName}) | |`, "| --- | --- |", ...rows, ""].join("\n"));
}
