// Untrusted text as code: what turns the reading direction or has no width is written out, so that nothing reads as what
// it is not. Pure.

/** Controls but tab and line ends, marks of direction, and what has no width. */
export const UNSEEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffc\u{e0000}-\u{e0fff}]/gu;

/** `\u202e` of a character, or of both halves of one. */
export const escaped = (one: string): string =>
  one
    .split("")
    .map((half) => `\\u${half.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");

/** A text with what cannot be seen in it written out. */
export const visible = (text: string): string => text.replace(UNSEEN, escaped);

/** A value as JSON, on one line or with so many blanks for each level. */
export const coded = (value: unknown, blanks?: number): string => visible(JSON.stringify(value, null, blanks) ?? "");
