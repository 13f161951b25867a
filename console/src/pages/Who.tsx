// Who is signed in, and what belongs to this browser alone: the look, and signing out.

import { Button, Menu, useMantineColorScheme } from "@mantine/core";
import { post } from "../api/client";
import { useKept } from "../parts/kept";
import { useSession } from "../parts/session";
import { forgetTyped } from "../parts/typed";

const LOOKS = { auto: "As the system", light: "Light", dark: "Dark" } as const;

const TIMES = { "": "Of this browser", utc: "UTC" } as const;

async function signOut() {
  await post("/api/console/sign-out", {});
  forgetTyped();
  location.assign("/console/");
}

export function Who() {
  const { identity } = useSession();
  const [times, setTimes] = useKept("times");
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Menu position="bottom-end" width={200} withinPortal={false}>
      <Menu.Target>
        <Button variant="subtle" className="who" title={`${identity.username}, role ${identity.role}`}>
          {identity.username}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Signed in as {identity.role}</Menu.Label>
        {Object.entries(LOOKS).map(([look, word]) => (
          <Menu.Item
            key={look}
            aria-current={look === colorScheme}
            onClick={() => setColorScheme(look as keyof typeof LOOKS)}
          >
            {word}
          </Menu.Item>
        ))}
        <Menu.Label>Times</Menu.Label>
        {Object.entries(TIMES).map(([zone, word]) => (
          <Menu.Item key={zone} aria-current={zone === times} onClick={() => setTimes(zone)}>
            {word}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={() => void signOut()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
