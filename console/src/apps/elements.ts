// Elements of a page without a framework; text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "rect", "text", "path", "title"]);

type Child = Node | string | null | undefined | false;
type Attribute = string | number | boolean | null | undefined | (() => void);

export function make(
  name: string,
  attributes: Record<string, Attribute> = {},
  ...children: Child[]
): HTMLElement | SVGElement {
  const made = DRAWN.has(name)
    ? (document.createElementNS(SVG, name) as SVGElement)
    : (document.createElement(name) as HTMLElement);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child): child is Node | string => !!child));
  return made;
}

export function show(...children: Child[]): void {
  document.getElementById("main")?.replaceChildren(...children.filter((child): child is Node | string => !!child));
}

/** Say how it goes, in the line below. */
export function tell(text: string, fault = false): void {
  const status = document.getElementById("status");
  if (!status) return;
  status.className = fault ? "fault" : "quiet";
  status.textContent = text;
}
