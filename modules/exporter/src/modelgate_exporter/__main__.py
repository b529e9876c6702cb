"""`modelgate-export SOURCE OUT`, and `modelgate-export watch`."""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import CannotExport

EPILOG = """\
SOURCE is a model of the registry (models:/NAME@ALIAS, models:/NAME/3, models:/NAME/Production), a
run's model (runs:/RUN_ID/model), a folder with an MLmodel, or a pickle. `modelgate-export watch`
converts what the registry gets, for as long as it runs: see its --help. A pickle runs code when it
is read: a model of MLflow is read by a process without network and credentials, a bare pickle and
what --here reads by this one; open only your own so."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; the exit status is 1 where that cannot be done."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:1] == ["watch"]:
            return watch(arguments[1:])
        return once(arguments)
    except (CannotExport, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def once(arguments: list[str]) -> int:
    """One model, into a folder or to where the gateway looks for it."""
    parser = argparse.ArgumentParser(
        prog="modelgate-export",
        description="Turn a fitted scikit-learn pipeline into a modelgate bundle.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a fitted pipeline, see below")
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="[SAMPLE] OUT",
        help="folder of the bundle; before it, for a pickle, a CSV of rows as the pipeline takes them",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="put the bundle of a registered version to where the gateway looks for it",
    )
    parser.add_argument(
        "--converted",
        metavar="ADDRESS",
        help="where that is (default: MODELGATE_CONVERTED, else modelgate/converted "
        "in the store that has the version's artifacts)",
    )
    parser.add_argument(
        "--here",
        action="store_true",
        help="read a model of MLflow in this process, with the packages that are here",
    )
    parser.add_argument(
        "--name", help="what requests call it (default: the registry's name, or the folder's)"
    )
    parser.add_argument("--version", help="(default: the registry's, or 1)")
    parser.add_argument("--description", help="one line, shown in /docs")
    parser.add_argument(
        "--examples", type=int, default=20, help="golden examples of a pickle (default: 20)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-5, help="of a pickle's answers (default: 1e-5)"
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="COLUMN",
        help="read this CSV column as text though it looks like numbers; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle that is there")
    given = parser.parse_args(arguments)
    expected = {0} if given.publish else {1, 2}
    if len(given.paths) not in expected:
        parser.error("expected SOURCE OUT, SOURCE SAMPLE OUT for a pickle, or SOURCE --publish")
    source = given.source
    is_registered = source.startswith("models:/")
    if given.publish and not is_registered:
        parser.error("--publish is for a version of the registry: models:/NAME/3")
    if (
        not is_registered
        and ":/" not in source
        and Path(source).is_file()
        and Path(source).name != "MLmodel"
    ):
        return _pickle(given)
    if len(given.paths) == 2:
        parser.error("a model of MLflow has its own example; a CSV goes with a pickle")
    return _saved(given)


def _pickle(given: argparse.Namespace) -> int:
    import pandas as pd

    from .export import export
    from .pickles import read
    from .sample import sample

    pipeline = read(Path(given.source))
    *csv, out = given.paths
    if csv:
        frame = pd.read_csv(csv[0], dtype=dict.fromkeys(given.text, str))
    else:
        frame, _, origin = sample(None, pipeline)
        _say(f"there is no sample: {origin}")
    done = export(
        pipeline,
        frame,
        out,
        name=given.name,
        version=given.version or "1",
        description=given.description,
        examples=given.examples,
        tolerance=given.tolerance,
        overwrite=given.overwrite,
        quiet=True,
    )
    return _wrote(str(done), done.folder)


def _wrote(what: str, folder: Path) -> int:
    print(f"wrote {what}\ntry it with: modelgate check {folder}")
    return 0


def _saved(given: argparse.Namespace) -> int:
    """A model as MLflow saved it."""
    from . import converted, folder, jobs
    from .environments import CannotInstall, Environments, Wanted
    from .saved import Saved
    from .stores import Folder, open_store
    from .tracking import Registry, Version

    source, registry, version = given.source, None, None
    if not Path(source).exists():
        if ":/" not in source:
            raise FileNotFoundError(
                f"{source} is neither a folder, a file, nor an address of MLflow"
            )
        registry = Registry()
    if registry and source.startswith("models:/"):
        version = registry.find(source)
        _say(f"{source} is version {version.version} of {version.name}")
        source = registry.artifacts(version)
    elif registry and source.startswith("runs:/"):
        run, _, path = source.removeprefix("runs:/").strip("/").partition("/")
        source = f"{registry.run_artifacts(run)}/{path}".rstrip("/")
    at = Path(source).parent if Path(source).name == "MLmodel" else Path(source)
    store = Folder(at) if at.exists() else open_store(source, registry)
    out = None if given.publish else Path(given.paths[0])
    plain = converted.label(version.name) if version else (out or at).resolve().name
    name, number = given.name or plain, given.version or (version.version if version else "1")
    folder.checked(name, number, given.description, {})
    if out:
        folder.available(out, given.overwrite)
    with tempfile.TemporaryDirectory(prefix="modelgate-") as work, jobs.folder(Path(work)) as job:
        Path(work).chmod(0o755)
        _say(f"downloading {store.address}")
        jobs.download(store, job / "model", jobs.Limits().model_bytes)
        saved = Saved.open(job / "model")
        digest = hashlib.sha256((job / "model" / "MLmodel").read_bytes()).hexdigest()
        if given.here or sys.platform != "linux":
            from .convert import bundle

            about = bundle(job / "model", job / "bundle", name, number, given.description)
            made = job / "bundle"
        else:
            saved.flavor()  # says what is missing
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelgate"
            try:
                python = Environments(cache / "environments", say=_say).python(Wanted.by(saved))
            except CannotInstall as error:
                raise CannotExport(str(error)) from None
            asked = {"name": name, "version": number, "description": given.description}
            report = jobs.run(job, python, asked, jobs.Limits(required=False), _say)
            if report.bundle is None:
                raise CannotExport(report.reason)
            about, made = report.about, report.bundle
        manifest, files = converted.verified(made, name, number)
        if out:
            folder.write(out, {"bundle.toml": manifest, **files}, given.overwrite)
            return _wrote(f"{out}: {about.get('compared')}; from {about.get('rows')}", out)
        assert registry is not None and isinstance(version, Version)
        place = converted.Place.of(registry, version, source, digest, given.converted)
        print(f"published as {place.publish(made, about)}")
    return 0


def watch(arguments: list[str]) -> int:
    """The converter, until it is told to end."""
    from . import jobs, status
    from .environments import Environments
    from .tracking import Registry
    from .watch import Wants, Watcher, say

    parser = argparse.ArgumentParser(
        prog="modelgate-export watch",
        description="Convert every new version of the registry that has an alias or a stage. "
        "MLFLOW_TRACKING_URI and the variables of S3 say where the registry and its artifacts are.",
    )

    def option(name: str, default: Any, help_: str, kind: Any = str, **more: Any) -> None:
        variable = "MODELGATE_CONVERTER_" + name.upper().replace("-", "_")
        value = os.environ.get(variable)
        if value is not None:
            default = (
                [part for part in value.split(",") if part] if more.get("action") else kind(value)
            )
        parser.add_argument(
            f"--{name}", default=default, type=kind, help=f"{help_} [{variable}]", **more
        )

    option(
        "model", None, "names of models; a pattern, may be repeated (default: *)", action="append"
    )
    option("alias", None, "aliases; a pattern, may be repeated (default: *)", action="append")
    option(
        "stage",
        None,
        "stages; a pattern, may be repeated (default: production, staging)",
        action="append",
    )
    parser.add_argument(
        "--latest", action="store_true", help="the newest version of each model, too"
    )
    option("poll", 5.0, "seconds between looks (default: 5)", float)
    option(
        "listen", "127.0.0.1:9180", "where the page and the metrics are (default: 127.0.0.1:9180)"
    )
    option(
        "work",
        str(Path(tempfile.gettempdir()) / "modelgate-converter"),
        "folder for environments and jobs (default: in the temporary folder)",
    )
    parser.add_argument(
        "--converted",
        metavar="ADDRESS",
        help="where bundles go (default: MODELGATE_CONVERTED, else modelgate/converted in "
        "the store that has the version's artifacts)",
    )
    option("memory", 4096, "MiB for a conversion (default: 4096)", int)
    option("seconds", 600, "for a conversion, and for its processor time (default: 600)", int)
    option("install-seconds", 900, "for the installation of packages (default: 900)", int)
    option("environments", 8, "kept at most (default: 8)", int)
    option("disk", 8192, "MiB of environments kept at most (default: 8192)", int)
    option(
        "user",
        61000 + os.getpid() % 1000,
        "number of the user who converts, where this one is root",
        int,
    )
    parser.add_argument(
        "--builds",
        action="store_true",
        help="install packages without wheels, too; they run code with network then",
    )
    parser.add_argument(
        "--tag", action="store_true", help="write state and reason as tags of the version"
    )
    parser.add_argument(
        "--unconfined", action="store_true", help="convert also where the network cannot be cut off"
    )
    parser.add_argument("--once", action="store_true", help="look once, then end")
    given = parser.parse_args(arguments)
    work = Path(given.work)
    work.mkdir(parents=True, exist_ok=True)
    jobs.guard()
    environments = Environments(
        work / "environments",
        given.environments,
        given.disk << 20,
        given.install_seconds,
        given.builds,
        say,
    )
    limits = jobs.Limits(
        memory=given.memory << 20,
        cpu_seconds=given.seconds,
        seconds=given.seconds,
        user=given.user or None,
        required=not given.unconfined,
    )
    wants = Wants(
        tuple(given.model or ["*"]),
        tuple(given.alias or ["*"]),
        tuple(given.stage or ["production", "staging"]),
        given.latest,
    )
    watcher = Watcher(
        Registry(),
        environments,
        work / "jobs",
        wants=wants,
        limits=limits,
        root=given.converted,
        tag=given.tag,
    )
    if given.once:
        watcher.look()
        return 0
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()
        # Ends what is on its way as well; what is claimed is given back.
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    server = status.serve(watcher, given.listen)
    say(f"following {watcher.registry.address}; the page is at http://{given.listen}")
    try:
        watcher.run(given.poll, ended)
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.shutdown()
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
