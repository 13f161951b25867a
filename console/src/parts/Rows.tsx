// A table of what a list holds. The rows that are in view are in the document, however many there are.

import { Button } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useRef } from "react";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ReactNode;
  number?: boolean;
}

interface Given<Row> {
  label: string;
  rows: Row[];
  columns: Column<Row>[];
  id: (row: Row) => string;
  more?: (() => void) | undefined;
  total?: number | undefined;
}

const ROW = 27;
const FEW = 200;

export function Rows<Row>({ label, rows, columns, id, more, total }: Given<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const many = rows.length > FEW;
  const virtual = useVirtualizer({
    count: many ? rows.length : 0,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 20,
  });
  const seen = virtual.getVirtualItems();
  const shown = many ? seen.map(({ index }) => rows[index] as Row) : rows;
  const above = many ? (seen[0]?.start ?? 0) : 0;
  const below = many ? virtual.getTotalSize() - (seen.at(-1)?.end ?? 0) : 0;
  return (
    <>
      <div
        ref={box}
        className="scroll"
        style={many ? { maxHeight: "70vh", overflowY: "auto" } : undefined}
        tabIndex={0}
        role="region"
        aria-label={label}
      >
        <table className="rows">
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column.title} scope="col" className={column.number ? "number" : undefined}>
                  {column.title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {above > 0 && <tr style={{ height: above }} />}
            {shown.map((row) => (
              <tr key={id(row)}>
                {columns.map((column) => (
                  <td key={column.title} className={column.number ? "number" : undefined}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
            {below > 0 && <tr style={{ height: below }} />}
          </tbody>
        </table>
      </div>
      {more && (
        <Button variant="subtle" onClick={more}>
          Show more{total ? ` (${rows.length} of ${total})` : ""}
        </Button>
      )}
    </>
  );
}
