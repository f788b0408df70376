"""Builds the image with buildah and plays docs/deploy/compose.yaml with it; for machines without a container daemon.

``make image-check``, as root, with the packages buildah and debootstrap. Images cannot be pulled everywhere, so a
Debian with its own Python stands in for the base image; the Dockerfile is run as it is. Each service then runs in the
image's file tree as compose says: its user, read-only root, no capabilities, volumes, configs, health checks, order.
Not played: networks (all share one), limits, restarts.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docs" / "deploy" / "compose.yaml"
OWNER = 10001
PATIENCE_S = 120.0
BASE_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
TOOLS = ("cc", "gcc", "g++", "make", "ld")
STUDY = (
    "workspace create study -t numpy_breast_cancer",
    "doctor user -d director:50050 --certificates certs/user/ada",
    "envoy list",
    "experiment submit study/plan.yaml --watch -s admission.collaborators=[cleveland,hungary] "
    "-s admission.min_collaborators=2",
    "status",
)


def say(text: str) -> None:
    """Says what is done."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*words: str, **options: Any) -> str:  # noqa: ANN401 (passed on)
    """Runs a command that must succeed, and gives what it printed."""
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **options)
    printed: str = done.stdout
    return printed.strip()


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds the image, and gives its file tree.

    Attributes:
        place: Where everything is kept; a second run goes on with it.
    """

    place: Path

    def buildah(self, *words: str) -> str:
        """Runs buildah with a store of our own, which needs no daemon and no kernel's help."""
        store = ("--root", str(self.place / "store"), "--runroot", str(self.place / "run"), "--storage-driver", "vfs")
        return run("buildah", *store, *words, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})

    def base(self, name: str) -> None:
        """Makes what stands in for the base image, under its name."""
        if name in self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
            return
        tree = self.place / "debian"
        if not (tree / "usr/bin/python3").exists():
            run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(tree))
        (tree / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
        python = tree / "usr/local/bin/python"
        python.unlink(missing_ok=True)
        python.symlink_to("/usr/bin/python3")
        authorities = Path("etc/ssl/certs/ca-certificates.crt")  # of the registry that this machine is set up for
        shutil.copy(Path("/", authorities), tree / authorities)
        (tree / "etc/pip.conf").write_text(f"[global]\ncert = /{authorities}\n")
        container = self.buildah("from", "scratch")
        self.buildah("add", "-q", container, f"{tree}/", "/")
        self.buildah("commit", "-q", "--rm", container, name)

    def image(self, tag: str, arguments: Mapping[str, str]) -> Path:
        """Runs the Dockerfile, and mounts the result."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        self.buildah("bud", "--pull-never", "--format", "docker", *given, "-t", tag, str(ROOT))
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", tag)))


@dataclass(slots=True)
class Player:
    """Plays the services.

    Attributes:
        compose: The compose file.
        tree: The image's files.
        place: Where volumes, configs and logs go.
    """

    compose: dict[str, Any]
    tree: Path
    place: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def start(self, name: str) -> None:
        """Starts a service after those that it depends on, and waits for what others wait for."""
        if name in self.done or name in self.daemons:
            return
        service = self.compose["services"][name]
        wanted = service.get("depends_on", {})
        for other in wanted:
            self.start(other)
        if service.get("restart") == "on-failure:5":
            say(f"{name}: runs")
            self.play(name)
            self.done.add(name)
            return
        say(f"{name}: starts")
        log = (self.place / f"{name}.log").open("wb")
        self.daemons[name] = subprocess.Popen(self.words(name), stdout=log, stderr=subprocess.STDOUT)
        self.await_health(name)

    def await_health(self, name: str) -> None:
        """Runs a service's health check until it passes."""
        test = self.compose["services"][name]["healthcheck"]["test"][1:]
        end = time.monotonic() + PATIENCE_S
        while subprocess.run(self.words(name, ["env", *test]), capture_output=True, check=False).returncode:
            if time.monotonic() > end or self.daemons[name].poll() is not None:
                sys.stdout.write((self.place / f"{name}.log").read_text())
                raise SystemExit(f"{name} is not healthy")
            time.sleep(1)
        say(f"{name}: healthy")

    def play(self, name: str, command: Sequence[str] | None = None) -> None:
        """Runs a service that ends."""
        subprocess.run(self.words(name, None, command), check=True, timeout=PATIENCE_S)

    def words(
        self, name: str, entrypoint: Sequence[str] | None = None, command: Sequence[str] | None = None
    ) -> list[str]:
        """Gives the command line that runs a service in a file tree of its own."""
        service = self.compose["services"][name]
        begin = entrypoint or service.get("entrypoint", ["fx"])
        rest = [] if entrypoint else (command if command is not None else service["command"])
        words = [str(word).replace("$$", "$") for word in (*begin, *rest)]
        environment = {"PATH": "/opt/openfl_like/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/federation",
                       "PYTHONDONTWRITEBYTECODE": "1", **service.get("environment", {})}  # fmt: skip
        given = [f"{key}={value}" for key, value in environment.items()]
        confined = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups", "--no-new-privs",
                    "--bounding-set=-all", "--inh-caps=-all"]  # fmt: skip
        inside = ["env", "-i", "-C", "/federation", *given, *words]
        mounts = "\n".join(self.mounts(name, service))
        script = f"set -e\n{mounts}\nexec chroot {self.tree} {shlex.join([*confined, *inside])}"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def mounts(self, name: str, service: Mapping[str, Any]) -> list[str]:
        """Gives the commands that lay out a service's file tree; the image's own is read-only."""
        tree = self.tree
        lines = [f"mount --bind {tree} {tree}", f"mount -o remount,bind,ro {tree}"]
        lines += [
            f"mount -t proc proc {tree}/proc",
            f"mount --rbind /dev {tree}/dev",
            f"mount -t tmpfs none {tree}/tmp",  # noqa: S108 (in a namespace of its own)
        ]
        hosts = self.place / "hosts"
        hosts.write_text("127.0.0.1 localhost " + " ".join(self.compose["services"]) + "\n")
        lines.append(f"mount --bind {hosts} {tree}/etc/hosts")
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            folder = self.place / "volumes" / source
            if not folder.exists():
                folder.mkdir(parents=True, mode=0o700)
                os.chown(folder, OWNER, OWNER)
            lines.append(f"mount --bind {folder} {tree}{target}")
            if mode == ["ro"]:
                lines.append(f"mount -o remount,bind,ro {tree}{target}")
        return [*lines, *self.configs(name, service)]

    def configs(self, name: str, service: Mapping[str, Any]) -> list[str]:
        """Gives the commands that put a service's configs where it looks for them."""
        lines = []
        for config in service.get("configs", []):
            folder = self.place / "configs" / name
            folder.mkdir(parents=True, exist_ok=True)
            target = Path(config["target"])
            (folder / target.name).write_text(self.compose["configs"][config["source"]]["content"])
            lines.append(f"mount --bind {folder} {self.tree}{target.parent}")
        return lines

    def stop(self) -> None:
        """Stops the daemons as compose would, and says how long that took."""
        for name, daemon in reversed(self.daemons.items()):
            begin = time.monotonic()
            os.kill(daemon.pid, signal.SIGTERM)
            code = daemon.wait(15)
            say(f"{name}: stopped after {time.monotonic() - begin:.1f} s with exit code {code}")


def play(tree: Path, place: Path) -> None:
    """Plays the whole compose file and an experiment of its user."""
    run("ip", "link", "set", "lo", "up")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    compose = yaml.safe_load(COMPOSE.read_text())
    player = Player(compose, tree, place)
    try:
        for name, service in compose["services"].items():
            if "profiles" not in service:
                player.start(name)
        for command in STUDY:
            say(f"user: fx {command}")
            player.play("user", command.split())
    finally:
        player.stop()


def look(tree: Path) -> None:
    """Looks at the image's files."""
    size = run("du", "-sm", str(tree)).split()[0]
    ours = run("du", "-sm", str(tree / "opt/openfl_like")).split()[0]
    found = [tool for tool in TOOLS if shutil.which(tool, path=f"{tree}/usr/bin:{tree}/usr/local/bin")]
    say(f"image: {size} MB with the stand-in for its base, {ours} MB of it ours; compilers: {found or 'none'}")
    if found:
        raise SystemExit("there is a compiler in the image")


def main() -> None:
    """Builds, looks and plays."""
    parser = argparse.ArgumentParser(description="Build the image and play docs/deploy/compose.yaml with it.")
    parser.add_argument("--place", type=Path, default=Path("/var/tmp/openfl_like-image"), help="Where all is kept.")  # noqa: S108 (root's, and large)
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    place = arguments.place.resolve()
    if arguments.play is not None:
        play(arguments.play, place / "played")
        return
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    python = next(line.partition("=")[2] for line in lines if line.startswith("ARG PYTHON="))
    builder = Builder(place)
    builder.base(f"docker.io/library/python:{python}")
    tree = builder.image("openfl_like:0.2.0", {"EXTRAS": "sklearn"})
    (tree / "etc/openfl_like").mkdir(exist_ok=True)  # where compose mounts configs it makes what is missing
    look(tree)
    again = [sys.executable, str(Path(__file__).resolve()), "--place", str(place), "--play", str(tree)]
    subprocess.run(["unshare", "--net", *again], check=True)  # noqa: S607 (the system's own tool)
    say("all services were healthy, the experiment FINISHED")


if __name__ == "__main__":
    main()
