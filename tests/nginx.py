"""The nginx of `deploy/nginx/domovoi.conf` on a free port, with a certificate made for the test."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[1]
LISTENS_WITHIN_S = 10.0
CONFIGURATION = ROOT / "deploy" / "nginx" / "domovoi.conf"
MAIN = """\
{user} daemon off; pid {folder}/pid; error_log {folder}/error.log warn; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/domovoi.conf;
}}
"""


def nginx_path() -> str | None:
    """Return the installed nginx, if there is one."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Nginx:
    """An nginx; `port` is where it speaks TLS, `plain_port` where it sends people to TLS."""

    folder: Path
    port: int
    plain_port: int
    name: str = "localhost"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"https://{self.name}:{self.port}"

    @property
    def certificate(self) -> Path:
        """The certificate to trust, PEM."""
        return self.folder / "fullchain.pem"

    def start(self) -> None:
        """Start and wait until it listens."""
        self.process = subprocess.Popen(self._command())
        deadline = time.monotonic() + LISTENS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"nginx does not listen: {(self.folder / 'error.log').read_text()}") from error
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, with the connections it has."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run `nginx -t`."""
        return subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)

    def _command(self) -> list[str]:
        path = nginx_path()
        assert path is not None
        folder = str(self.folder)
        return [path, "-p", folder, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def prepare(
    folder: Path,
    *,
    port: int,
    plain_port: int,
    server_port: int,
    name: str = "localhost",
    address: str = "127.0.0.1",
) -> Nginx:
    """Render the deployed configuration for these, changing nothing else, and make its certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    _certificate(folder, name)
    text = CONFIGURATION.read_text("utf-8")
    text = re.sub(r"listen \[::\]:\d+[^;]*;\n", "", text)
    for old, new in (
        ("127.0.0.1:8460", f"127.0.0.1:{server_port}"),
        ("listen 80;", f"listen {address}:{plain_port};"),
        ("listen 443 ssl", f"listen {address}:{port} ssl"),
        ("/etc/letsencrypt/live/home.example/", f"{folder}/"),
        ("server_name home.example;", f"server_name {name};"),
    ):
        assert old in text, f"{CONFIGURATION.name} no longer has {old!r}"
        text = text.replace(old, new)
    (folder / "domovoi.conf").write_text(text, "utf-8")
    # Started as root, its workers would become nobody, who may not write into a test's folder.
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user), "utf-8")
    return Nginx(folder, port, plain_port, name)


def _certificate(folder: Path, host: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
