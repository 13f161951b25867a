// What can be done with a job as a whole: deploy it, copy it, stop it, delete it.

import { Button, Menu, NumberInput, Select, TextInput } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { call, type Result, type Schemas } from "../../api/client";
import { useAgain, useList } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Findings } from "../../parts/Findings";
import { useAdmin, useTenant } from "../../parts/session";

type Job = Schemas["Job"];
type Doing = "deploy" | "clone" | "undeploy" | "discard" | "delete" | null;

export function Actions({ job }: { job: Job }) {
  const admin = useAdmin();
  const navigate = useNavigate();
  const again = useAgain();
  const [doing, setDoing] = useState<Doing>(null);
  const close = () => setDoing(null);
  const { name } = job;
  const single = job.managed_by === null;
  const runs = job.workloads.length > 0;
  const done = () => {
    close();
    void again("job_", "workload_");
  };
  return (
    <>
      <Button variant="subtle" component={Link} to={`/logs?of=${encodeURIComponent(name)}`}>
        Logs
      </Button>
      {admin && !single && <Button onClick={() => setDoing("clone")}>Clone it to edit</Button>}
      {admin && single && (
        <Menu position="bottom-end" withinPortal={false}>
          <Menu.Target>
            <Button variant="subtle">More</Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setDoing("clone")}>Clone this job</Menu.Item>
            {runs && <Menu.Item onClick={() => setDoing("undeploy")}>Stop it on every worker</Menu.Item>}
            {job.draft && <Menu.Item onClick={() => setDoing("discard")}>Throw its draft away</Menu.Item>}
            <Menu.Item disabled={runs} onClick={() => setDoing("delete")}>
              {runs ? "Delete it (stop it first)" : "Delete it with all its versions"}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      {admin && single && job.versions.length > 0 && (
        <Button variant={job.draft ? "light" : "filled"} onClick={() => setDoing("deploy")}>
          Deploy
        </Button>
      )}
      {doing === "deploy" && <Deploy job={job} close={close} done={done} />}
      {doing === "clone" && <Clone job={job} close={close} />}
      {doing === "undeploy" && (
        <Confirm operation="job_undeploy" args={{ name }} verb={`Stop ${name}`} close={close} done={done} />
      )}
      {doing === "discard" && (
        <Confirm
          operation="job_delete"
          args={{ name, draft_only: true }}
          verb="Throw its draft away"
          close={close}
          done={() => (job.versions.length ? done() : void navigate({ to: "/jobs" }))}
        />
      )}
      {doing === "delete" && (
        <Confirm
          operation="job_delete"
          args={{ name }}
          verb={`Delete ${name}`}
          typed={name}
          close={close}
          done={() => {
            void again("job_list");
            void navigate({ to: "/jobs" });
          }}
        />
      )}
    </>
  );
}

function Deploy({ job, close, done }: { job: Job; close: () => void; done: () => void }) {
  const tenant = useTenant();
  const groups = useList("worker_group_list", {});
  const [group, setGroup] = useState("default");
  const [version, setVersion] = useState(String(job.versions[0]?.version ?? ""));
  const [replicas, setReplicas] = useState<string | number>(Math.max(1, job.workloads.length));
  const [environment, setEnvironment] = useState("");
  const [closed, setClosed] = useState<Result<"job_deploy">["warnings"]>([]);
  if (closed.length)
    return (
      <Dialog title={`${job.name} is deployed`} verb="Go on" submit={async () => done()} close={done}>
        <Findings items={closed} tone="warning" title="Closed" />
      </Dialog>
    );
  return (
    <Dialog
      title={`Deploy ${job.name}`}
      verb="Deploy it"
      close={close}
      submit={async () => {
        const made = await call(
          "job_deploy",
          { name: job.name, worker_group: group, version: Number(version), replicas: Number(replicas), environment },
          { tenant },
        );
        if (made.warnings.length) setClosed(made.warnings);
        else done();
      }}
    >
      <Select
        label="Version"
        data={job.versions.map((one) => String(one.version))}
        value={version}
        allowDeselect={false}
        onChange={(chosen) => chosen && setVersion(chosen)}
      />
      <Select
        label="Worker group"
        data={groups.rows.length ? groups.rows.map((one) => one.name) : ["default"]}
        value={group}
        allowDeselect={false}
        onChange={(chosen) => chosen && setGroup(chosen)}
      />
      <NumberInput label="Replicas" min={1} value={replicas} onChange={setReplicas} />
      <TextInput
        label="Environment"
        description="Whose context values the document sees; none when left out."
        value={environment}
        onChange={(event) => setEnvironment(event.currentTarget.value)}
      />
      {job.draft && <p className="quiet">The draft is not deployed: stage it first.</p>}
    </Dialog>
  );
}

function Clone({ job, close }: { job: Job; close: () => void }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const again = useAgain();
  const [name, setName] = useState(`${job.name}-copy`);
  const [shared, setShared] = useState<string[]>([]);
  const edit = () => {
    close();
    return navigate({ to: "/jobs/$name", params: { name } });
  };
  if (shared.length)
    return (
      <Dialog title={`${name} is made`} verb={`Edit ${name}`} submit={edit} close={close}>
        <p>Before it is deployed, look at what both would share:</p>
        {shared.map((text) => (
          <div key={text} className="note warning">
            {text}
          </div>
        ))}
      </Dialog>
    );
  return (
    <Dialog
      title={`Clone ${job.name}`}
      verb="Clone it"
      ready={!!name}
      close={close}
      submit={async () => {
        const made = await call("job_clone", { name: job.name, new_name: name }, { tenant });
        void again("job_list");
        if (made.warnings.length) setShared(made.warnings);
        else await edit();
      }}
    >
      <p>
        A draft under a new name, which belongs to nobody.
        {job.managed_by && ` Deployment ${job.managed_by} goes on with its own job.`}
      </p>
      <TextInput
        label="Name of the copy"
        required
        data-autofocus
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
    </Dialog>
  );
}
