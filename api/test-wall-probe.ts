import type { Page } from "playwright-core";

/** Questions to the page that need its layout. The functions given to `evaluate` run in the browser; these are its globals they use. */
type PageElement = {
  className: string;
  textContent: string | null;
  parentElement: PageElement | null;
  scrollWidth: number;
  clientWidth: number;
  scrollHeight: number;
  clientHeight: number;
  getBoundingClientRect: () => { right: number };
};
declare const document: { documentElement: PageElement; querySelectorAll: (selector: string) => Iterable<PageElement> };
declare const getComputedStyle: (element: PageElement) => { color: string; backgroundColor: string };
declare const innerWidth: number;

/** The smallest contrast of text against the ground behind it (WCAG 2.2, 1.4.6: relative luminance). */
export function leastContrast(page: Page, selector: string): Promise<number> {
  return page.evaluate((wanted) => {
    const light = (color: string) => {
      const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).map((c) => {
        const v = Number(c) / 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element: PageElement | null): string => {
      if (!element) return "rgb(0, 0, 0)";
      const { backgroundColor } = getComputedStyle(element);
      return backgroundColor === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : backgroundColor;
    };
    const ratios = [...document.querySelectorAll(wanted)].map((element) => {
      const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
      return ((pair[0] ?? 0) + 0.05) / ((pair[1] ?? 0) + 0.05);
    });
    return Math.min(...ratios);
  }, selector);
}

/** Elements whose text is wider than they are, or that lie beyond the window's edge; cards that are cut off below. */
export function overflowing(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const wide = [...document.querySelectorAll(".figure, .tile, .factory, .line, h1, .band, #alarms")].filter(
      (e) => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1,
    );
    if (document.documentElement.scrollWidth > innerWidth) wide.push(document.documentElement);
    const cards = [...document.querySelectorAll(".factory")];
    wide.push(...cards.filter((card) => card.scrollHeight > card.clientHeight + 1));
    return wide.map((e) => `${e.className}: ${e.textContent?.slice(0, 40)}`);
  });
}

/** Colour of the text of the first element found. */
export function colourOf(page: Page, selector: string): Promise<string> {
  return page.evaluate((wanted) => {
    const [first] = document.querySelectorAll(wanted);
    return first ? getComputedStyle(first).color : "";
  }, selector);
}
