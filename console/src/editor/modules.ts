// The modules that a step may use, and the parameters of one: from the palette and the catalog of the engine.

import { useMemo } from "react";
import type { Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import type { Module } from "./gestures";

const MOST = 200;

/** Ports are called in and out where the palette does not say otherwise. */
export function moduleOf(row: Schemas["Module"]): Module {
  return {
    use: row.use,
    part: row.part,
    does: row.does ?? "",
    in: row.in ?? (["transform", "sink"].includes(row.part) ? ["in"] : []),
    out: row.out ?? (["source", "transform"].includes(row.part) ? ["out"] : []),
  };
}

export function usePalette() {
  const list = useList("palette_get", { limit: MOST });
  const modules = useMemo(() => list.rows.map(moduleOf), [list.rows]);
  const byUse = useMemo(() => new Map(modules.map((one) => [one.use, one])), [modules]);
  return { modules, byUse };
}

export type JsonSchema = Record<string, unknown> & { properties?: Record<string, Record<string, unknown>> };

/** The schema of what `with` takes: that of a blueprint, or the wizard of a workflow. Not asked of what is unknown. */
export function useSchema(use: string | null, modules: Map<string, Module>): JsonSchema | null {
  const [, type = "", slug = "", version = ""] = /^(blueprint|workflow):(.+)@(.+)$/.exec(use ?? "") ?? [];
  const read = useRead(
    "catalog_get",
    { slug, type: type as Schemas["ItemType"], version, detail: "detailed" },
    { enabled: [...modules.keys()].some((one) => one.startsWith(`${type}:${slug}@`)) },
  );
  return useMemo(() => {
    const item = read.data;
    if (!item || item.slug !== slug || String(item.version) !== version) return null;
    if (type === "blueprint") return (item.document?.parameters as JsonSchema | undefined) ?? { properties: {} };
    return schemaOf(item.wizard);
  }, [read.data, slug, type, version]);
}

export function schemaOf(wizard: Schemas["CatalogQuestion"][]): JsonSchema {
  return {
    type: "object",
    properties: Object.fromEntries(
      wizard.map((one) => [
        one.field,
        {
          type: one.type === "path" ? "string" : one.type,
          ...(one.title ? { title: one.title } : {}),
          ...(one.description ? { description: one.description } : {}),
          ...(one.default == null ? {} : { default: one.default }),
          ...(one.choices?.length ? { enum: one.choices } : {}),
        },
      ]),
    ),
    required: wizard.filter((one) => one.required).map((one) => one.field),
  };
}
