// A job that is not saved yet: from a plain beginning, or from one of the catalog.

import "../../parts/tabs.css";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useRead } from "../../api/queries";
import { ForAdmins, Head, Read } from "../../parts/Page";
import { JobEditor } from "./JobEditor";
import { NEW_JOB, yamlOf } from "./text";

export function NewJob() {
  const { from } = useSearch({ strict: false }) as { from?: string };
  const navigate = useNavigate();
  const read = useRead("catalog_get", { slug: from ?? "", type: "job", detail: "detailed" }, { enabled: !!from });
  const editor = (text: string) => (
    <JobEditor
      key={from}
      name=""
      text={text}
      present={null}
      saved={(name) => void navigate({ to: "/jobs/$name", params: { name } })}
    />
  );
  return (
    <>
      <Head title="New job" state={from && <span className="quiet">from job:{from} of the catalog</span>} />
      <ForAdmins what="Writing jobs">
        {from ? <Read of={read}>{(item) => editor(item.yaml ?? yamlOf(item.document ?? {}))}</Read> : editor(NEW_JOB)}
      </ForAdmins>
    </>
  );
}
