import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const executablePath = "/usr/bin/chromium";
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** True where Debian's Chromium is installed; tests that need it skip and say so where it is not. */
export const hasChromium = existsSync(executablePath);

/** Debian's Chromium, headless, with nothing that would talk to the outside. */
export function openChromium(): Promise<Browser> {
  return chromium.launch({ executablePath, args });
}
