// The document of a library job, on its page in the catalog.

import { useRead } from "../../api/queries";
import { Read, Section } from "../../parts/Page";
import { coded, visible } from "../../words/code";

export function JobText({ slug }: { slug: string }) {
  const read = useRead("catalog_get", { slug, type: "job", detail: "detailed" });
  return (
    <Section title="Document">
      <Read of={read}>
        {(item) => (
          <pre className="text" tabIndex={0}>
            {item.yaml ? visible(item.yaml) : coded(item.document, 2)}
          </pre>
        )}
      </Read>
    </Section>
  );
}
