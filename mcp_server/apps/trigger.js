// The form of a trigger, made from its parameter schema; faults are shown at the field that they are about.
const scalar = (schema) => [].concat(schema.type || []).find((type) => type !== "null") || "";

function field(name, schema, required, initial) {
  const type = scalar(schema), id = `field-${name}`;
  const common = { id, name, "aria-describedby": `${id}-note` };
  let control, read;
  if (Array.isArray(schema.enum)) {
    const options = schema.enum.map((value, index) => make("option", { value: index, selected: value === initial }, String(value)));
    control = make("select", common, ...(required ? [] : [make("option", { value: "", selected: initial === undefined }, "")]), ...options);
    read = () => (control.value === "" ? undefined : schema.enum[Number(control.value)]);
  } else if (type === "boolean") {
    control = make("input", { ...common, type: "checkbox", checked: initial === true });
    read = () => (control.checked || required || initial !== undefined ? control.checked : undefined);
  } else if (type === "integer" || type === "number") {
    control = make("input", { ...common, type: "number", step: type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, value: initial });
    read = () => (control.value === "" ? undefined : Number(control.value));
  } else if (type === "string") {
    control = make("input", { ...common, type: "text", maxlength: schema.maxLength, value: initial });
    read = () => (control.value === "" && !required ? undefined : control.value);
  } else {
    control = make("textarea", { ...common, rows: 3, placeholder: "JSON" }, initial === undefined ? "" : JSON.stringify(initial));
    read = () => (control.value.trim() === "" ? undefined : JSON.parse(control.value));
  }
  const note = make("span", { id: `${id}-note`, class: "quiet" }, schema.description || "");
  const fault = make("span", { class: "fault", "data-fault": `/${name}` });
  return { name, read, fault, element: make("div", {}, make("label", { for: id }, name + (required ? " *" : "")), control, note, " ", fault) };
}

function shown(trigger) {
  const definition = trigger.definition || {}, schema = definition.parameter_schema || {}, defaults = definition.default_params || {};
  const required = (schema.required || []).filter((name) => !(name in defaults));
  const fields = Object.entries(schema.properties || {}).map(([name, one]) =>
    field(name, one, required.includes(name), name in defaults ? defaults[name] : one.default));
  // One key for this form: pressing twice, or again after a lost answer, runs it once. Edited parameters make a new one.
  let key = "", sent = "";
  // No form element: a sandbox without allow-forms swallows its submit event.
  const run = async () => {
    if (button.disabled) return;
    const args = {};
    for (const one of fields) {
      one.fault.textContent = "";
      try {
        const value = one.read();
        if (value !== undefined) args[one.name] = value;
      } catch {
        one.fault.textContent = "is not JSON";
        return;
      }
    }
    if (JSON.stringify(args) !== sent) {
      sent = JSON.stringify(args);
      key = `form-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    }
    button.disabled = true;
    tell("Running…");
    try {
      const answer = trigger.tool_name
        ? await host.call(trigger.tool_name, { ...args, _idempotency_key: key })
        : await host.call("trigger_invoke", { slug: trigger.slug, params: args, idempotency_key: key });
      const faults = ((answer.structuredContent || {}).error || {}).errors || [];
      for (const one of fields) {
        const found = faults.find((fault) => fault.pointer === `/${one.name}` || fault.pointer.startsWith(`/${one.name}/`));
        if (found) one.fault.textContent = found.message;
      }
      tell(said(answer), answer.isError);
    } catch (error) {
      tell(error.message, true);
    } finally {
      button.disabled = false;
    }
  };
  const button = make("button", { type: "button", id: "run", disabled: trigger.invokable === false, click: run }, "Run now");
  const enter = (event) => { if (event.key === "Enter" && event.target.tagName === "INPUT") run(); };
  show(
    make("h1", {}, trigger.display_name || trigger.slug),
    make("p", { class: "quiet" },
      [trigger.description, `revision ${trigger.revision}`, trigger.active === false && "inactive"].filter(Boolean).join(" · ")),
    make("div", { keydown: enter }, ...fields.map((one) => one.element), button));
}

host.on("tool-result", (answer) => {
  const trigger = answer.structuredContent;
  if (answer.isError || !trigger || !trigger.definition) show(make("pre", {}, said(answer)));
  else shown(trigger);
});
host.start().catch((error) => tell(error.message, true));
