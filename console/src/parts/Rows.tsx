// A table of what a list holds. The rows that are in view are in the document, however many there are.

import { Button, Checkbox, Popover } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { counted } from "../words/numbers";
import { useKept } from "./kept";
import { type Key, type Order, sorted, turned, waiting } from "./sorting";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ReactNode;
  number?: boolean;
  /** The field by which it can be sorted: here, and by the engine when the list is not here as a whole. */
  field?: Extract<keyof Row, string>;
  /** By which it can be sorted here, when that is no field. */
  key?: (row: Row) => Key;
}

interface Given<Row> {
  label: string;
  rows: Row[];
  columns: Column<Row>[];
  id: (row: Row) => string;
  more?: (() => void) | undefined;
  /** How the engine sorts the list. */
  by?: By;
  total?: number | undefined;
  /** They come newest first by themselves: new ones wait until somebody wants to see them. */
  live?: boolean;
  chosen?: ReadonlySet<string>;
  choose?: (chosen: ReadonlySet<string>) => void;
}

/** The field by which the engine sorts, with - before it from the highest. */
export interface By {
  sort: string | undefined;
  set: (sort: string | undefined) => void;
}

const ROW = 27;
const FEW = 200;
const NEAR = 40; // rows before the end at which the next page is asked for
const MANY_COLUMNS = 6;

export function Rows<Row>(given: Given<Row>) {
  const { label, id, more, total, chosen, choose } = given;
  const box = useRef<HTMLDivElement>(null);
  const [own, setOwn] = useState<Order | null>(null);
  const [hidden, setHidden] = useHidden(label);
  const [here, held, show] = useHeld(given.rows, id, given.live ?? false);
  const columns = given.columns.filter(({ title }) => !hidden.has(title));
  const by = more || given.by?.sort ? given.by : undefined; // a list that is here as a whole is sorted here
  const order = by?.sort ? orderOf(by.sort, columns) : own;
  const turn = ({ title, field }: Column<Row>) => {
    const next = turned(order, title);
    if (by) by.set(next && field ? `${next.down ? "-" : ""}${field}` : undefined);
    setOwn(by && field ? null : next);
  };
  const key = order === own && order && keyOf(columns.find(({ title }) => title === order.title));
  const rows = useMemo(() => (key ? sorted(here, key, order.down) : here), [here, key, order]);
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
  const last = seen.at(-1)?.index ?? 0;
  const ask = useRef(more);
  ask.current = more;
  useEffect(() => {
    if (many && last >= rows.length - NEAR) ask.current?.();
  }, [many, last, rows.length]);
  return (
    <>
      {held > 0 && (
        <Button variant="light" className="held" onClick={show}>
          {held} new
        </Button>
      )}
      <div
        ref={box}
        className="scroll"
        style={many ? { maxHeight: "70vh", overflowY: "auto" } : undefined}
        tabIndex={0}
        role="region"
        aria-label={label}
      >
        <table className="rows" aria-rowcount={many ? rows.length + 1 : undefined}>
          <thead>
            <tr>
              {choose && (
                <th scope="col" className="tick">
                  <Checkbox
                    aria-label={`Choose all of ${label}`}
                    checked={rows.length > 0 && rows.every((row) => chosen?.has(id(row)))}
                    onChange={(event) => choose(new Set(event.currentTarget.checked ? rows.map(id) : []))}
                  />
                </th>
              )}
              {columns.map((column) => (
                <Title
                  key={column.title}
                  column={column}
                  order={order}
                  turn={() => turn(column)}
                  some={more && !(by && column.field) ? "the rows that are here" : "all rows"}
                />
              ))}
              {given.columns.length > MANY_COLUMNS && (
                <th scope="col" className="tick">
                  <Choice titles={given.columns.map(({ title }) => title)} hidden={hidden} set={setHidden} />
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {above > 0 && <tr style={{ height: above }} />}
            {shown.map((row) => (
              <tr key={id(row)} aria-selected={chosen?.has(id(row))}>
                {choose && (
                  <td className="tick">
                    <Checkbox
                      aria-label={`Choose ${id(row)}`}
                      checked={chosen?.has(id(row)) ?? false}
                      onChange={(event) => choose(changed(chosen, id(row), event.currentTarget.checked))}
                    />
                  </td>
                )}
                {columns.map((column) => (
                  <td key={column.title} className={column.number ? "number" : undefined}>
                    {column.cell(row)}
                  </td>
                ))}
                {given.columns.length > MANY_COLUMNS && <td />}
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

function keyOf<Row>(column: Column<Row> | undefined): ((row: Row) => Key) | undefined {
  const field = column?.field;
  return column?.key ?? (field && ((row) => row[field] as Key));
}

function orderOf<Row>(sort: string, columns: Column<Row>[]): Order | null {
  const column = columns.find(({ field }) => field === sort.replace(/^-/, ""));
  return column ? { title: column.title, down: sort.startsWith("-") } : null;
}

function changed(chosen: ReadonlySet<string> | undefined, id: string, wanted: boolean): ReadonlySet<string> {
  const now = new Set(chosen);
  if (wanted) now.add(id);
  else now.delete(id);
  return now;
}

interface Heading<Row> {
  column: Column<Row>;
  order: Order | null;
  turn: () => void;
  some: string;
}

function Title<Row>({ column, order, turn, some }: Heading<Row>) {
  const by = order?.title === column.title ? (order.down ? "descending" : "ascending") : undefined;
  return (
    <th scope="col" className={column.number ? "number" : undefined} aria-sort={by}>
      {column.key || column.field ? (
        <button type="button" className="sort" onClick={turn} title={`Sort ${some} by this`}>
          {column.title}
          <span aria-hidden="true">{by ? (order?.down ? " ↓" : " ↑") : ""}</span>
        </button>
      ) : (
        column.title
      )}
    </th>
  );
}

/** Which columns are not shown; this browser keeps it. */
function useHidden(label: string): [ReadonlySet<string>, (hidden: ReadonlySet<string>) => void] {
  const [text, keep] = useKept(`columns.${label}`);
  const hidden = useMemo(() => new Set(text ? text.split("\n") : []), [text]);
  return [hidden, (now) => keep([...now].join("\n"))];
}

interface Choosing {
  titles: string[];
  hidden: ReadonlySet<string>;
  set: (hidden: ReadonlySet<string>) => void;
}

function Choice({ titles, hidden, set }: Choosing) {
  return (
    <Popover position="bottom-end" trapFocus returnFocus>
      <Popover.Target>
        <Button variant="subtle" aria-label="Choose columns" title="Choose columns" className="columns-button">
          ⋯
        </Button>
      </Popover.Target>
      <Popover.Dropdown className="choices" aria-label="Columns">
        {titles.map((title, n) => (
          <Checkbox
            key={title}
            label={title}
            checked={!hidden.has(title)}
            disabled={n === 0 || (!hidden.has(title) && titles.length - hidden.size < 3)}
            onChange={(event) => set(changed(hidden, title, !event.currentTarget.checked))}
          />
        ))}
      </Popover.Dropdown>
    </Popover>
  );
}

/** The rows that are shown of a list that grows at its head, how many wait, and what shows them. */
function useHeld<Row>(rows: Row[], id: (row: Row) => string, live: boolean): [Row[], number, () => void] {
  const [seen, setSeen] = useState<ReadonlySet<string>>(() => new Set(rows.map(id)));
  const [here, held] = live ? waiting(rows, id, seen) : [rows, 0];
  return [here, held, () => setSeen(new Set(rows.map(id)))];
}

/** What can be done with the rows that are chosen. */
export function Chosen({ many, what, children }: { many: number; what: string; children: ReactNode }) {
  if (!many) return null;
  return (
    <div className="filters" role="group" aria-label="With those that are chosen">
      <span>{counted(many, what)} chosen</span>
      {children}
    </div>
  );
}
