// What is wrong with the text, in its order; each fault leads to its place.

import { UnstyledButton } from "@mantine/core";
import { type Checked, placeOf, type Remark } from "./checking";

interface Given {
  report: Pick<Checked, "errors" | "warnings" | "errors_left_out"> | null;
  text: string;
  /** Go to an offset of the text; `pointer` says what stands there. */
  go: (offset: number, pointer: string) => void;
}

/** The offset of a line and column, both from 1. */
export function offsetOf(text: string, line: number, column: number): number {
  let at = 0;
  for (let n = 1; n < line; n++) {
    const next = text.indexOf("\n", at);
    if (next < 0) return text.length;
    at = next + 1;
  }
  return Math.min(at + column - 1, text.length);
}

export function Faults({ report, text, go }: Given) {
  if (!report) return null;
  const rows: [string, Remark][] = [
    ...report.errors.map((one): [string, Remark] => ["failed", one]),
    ...report.warnings.map((one): [string, Remark] => ["warning", one]),
  ];
  if (!rows.length) return null;
  return (
    <ul className="faults" aria-label="Faults">
      {rows.map(([tone, one]) => {
        const place = placeOf(one);
        return (
          <li key={one.pointer + one.message}>
            <UnstyledButton
              onClick={() => go(place ? offsetOf(text, place.line, place.column) : 0, one.pointer)}
              title={one.pointer || "the whole document"}
            >
              <code className={`state ${tone}`}>{place ? `line ${place.line}` : "document"}</code> {one.message}{" "}
              <span className="quiet">{one.hint}</span>
            </UnstyledButton>
          </li>
        );
      })}
      {report.errors_left_out > 0 && <li className="quiet">{report.errors_left_out} more faults.</li>}
    </ul>
  );
}
