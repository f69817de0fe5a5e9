"""`domovoi up`: server and node as two processes, kept running; says where to go and with which code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.panel import Panel

from deploy.command import models, parts
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.command.configuration import Configuration

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
# A part that dies again and again is started again after 0.5, 1, 2 … 30 s; a quiet minute forgives it.
RESTART_FIRST_S = 0.5
RESTART_LONGEST_S = 30.0
FORGIVEN_AFTER_S = 60.0

console = Console()


def run(configuration: Configuration, *, open_browser: bool) -> int:
    """Run everything until Ctrl+C. Returns the exit code. Raises StartupError."""
    prepare_data_folder(configuration.data)
    # Before the server starts, so that the first account finds the node paired, however soon it is made.
    parts.enrol_node(configuration)
    return asyncio.run(_run(configuration, open_browser=open_browser))


def prepare_data_folder(data: Path) -> None:
    """Make the data folder, readable by its owner alone, and prove that it can be written to."""
    probe = data / ".writable"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartupError(
            f"The data folder {data} can't be written to ({error.strerror}). "
            "Give yourself permission, or choose another with --data or DOMOVOI_DATA."
        ) from error


async def _run(configuration: Configuration, *, open_browser: bool) -> int:
    stopped = asyncio.Event()
    _on_stop_signal(stopped)
    server = _Part("server", configuration)
    node = _Part("node", configuration)
    try:
        await server.start()
        await _until_ready(server, f"{configuration.local_url}/healthz")
        await asyncio.to_thread(models.ensure_default, configuration)
        await node.start()
        address = _announce(configuration)
        if open_browser and _has_display():
            webbrowser.open(address)
        return await _keep_running([server, node], stopped)
    finally:
        await asyncio.gather(server.stop(), node.stop())


async def _keep_running(running: list[_Part], stopped: asyncio.Event) -> int:
    """Start again what dies, until told to stop or until a part says that starting again won't help."""
    watchers = [asyncio.create_task(part.keep_running()) for part in running]
    stop = asyncio.create_task(stopped.wait())
    done, pending = await asyncio.wait([stop, *watchers], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if stop in done:
        console.print("Stopping. Everything is saved.")
        return 0
    return parts.EXIT_STARTUP


def _announce(configuration: Configuration) -> str:
    """Print where to go; return the address to open."""
    code_file = configuration.data / "setup-code"
    if not code_file.exists():
        console.print(Panel(f"[bold]{configuration.local_url}[/bold]", title="Domovoi is up", expand=False))
        return configuration.local_url
    code = code_file.read_text("utf-8").strip()
    address = f"{configuration.local_url}/welcome?setup={quote(code)}"
    console.print(
        Panel(
            f"Open [bold]{address}[/bold]\nand make the first account. Setup code: [bold]{code}[/bold]",
            title="Domovoi is up",
            expand=False,
        ),
        soft_wrap=True,
    )
    return address


async def _until_ready(part: _Part, url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline:
            if part.exit_code is not None:
                raise StartupError(f"The {part.name} ended at its start; its reason stands above.")
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(0.05)
    raise StartupError(f"The {part.name} did not get ready within {READY_WITHIN_S:.0f} s; its log stands above.")


class _Part:
    """One part as a child process that shares this terminal."""

    def __init__(self, name: str, configuration: Configuration) -> None:
        self.name = name
        self._arguments = [
            *("--data", str(configuration.data)),
            *("--port", str(configuration.port)),
            *("--node-port", str(configuration.node_port)),
        ]
        if name == "node":
            # Here the two belong together, whatever server the PC may have been paired with.
            self._arguments += ["--server-url", configuration.local_url]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        # A session of its own, so that Ctrl+C reaches this process alone and parts stop in order.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.command", self.name, *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | {parts.SUPERVISED: "1"},
            start_new_session=os.name == "posix",
        )

    async def keep_running(self) -> None:
        """Return only when the part says that starting it again won't help."""
        delay = RESTART_FIRST_S
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            if code == parts.EXIT_STARTUP:
                return
            delay = RESTART_FIRST_S if time.monotonic() - started > FORGIVEN_AFTER_S else delay
            console.print(f"The {self.name} ended unexpectedly (exit code {code}); starting it again in {delay:g} s.")
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_LONGEST_S)
            await self.start()

    async def stop(self) -> None:
        """Ask the part to end by ending its input, and end it if it does not."""
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _on_stop_signal(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # Windows: the event loop takes no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))


def _has_display() -> bool:
    return sys.platform in {"win32", "darwin"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
