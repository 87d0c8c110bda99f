"""The release's own store starts as its pod starts it, on a real Valkey."""

import os
import subprocess
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from service.embedded import find_binary
from tests.helm.rendering import LEAST, containers, only, render3
from tests.ports import free_port
from tests.waiting import wait_until

PASSWORD = "0123456789abcdef"


def started(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


async def test_it_takes_its_password_from_no_argument_and_keeps_what_it_is_told(tmp_path: Path) -> None:
    made = render3(LEAST)
    (script,) = containers(only("StatefulSet", made)["spec"]["template"])[0]["command"][2:]
    config, port = tmp_path / "valkey.conf", free_port()
    text = only("ConfigMap", made)["data"]["valkey.conf"].replace("dir /data", f"dir {tmp_path}")
    config.write_text(f"{text}port {port}\nbind 127.0.0.1\n")
    (tmp_path / "valkey-server").symlink_to(find_binary())
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VALKEY_PASSWORD": PASSWORD}
    command = ["/bin/sh", "-c", script.replace("/etc/valkey/valkey.conf", str(config))]
    with started(command, environment) as process:
        try:
            async with Redis(port=port, password=PASSWORD, decode_responses=True) as client:

                async def answers() -> bool:
                    try:
                        return bool(await client.ping())
                    except RedisError:
                        return False

                await wait_until(answers, 20)
                settings = await client.config_get("append*", "maxmemory*")
                arguments = (Path("/proc") / str(process.pid) / "cmdline").read_bytes()
            async with Redis(port=port) as stranger:
                with pytest.raises(AuthenticationError):
                    await stranger.ping()
        finally:
            process.terminate()
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    assert PASSWORD.encode() not in arguments
